import numpy as np

from experiments.pictures.level_shares import COLOURS, describe, legend, level_strip


def test_a_strip_has_the_steps_from_left_to_right_and_the_first_level_below():
    strip = level_strip([[1.0, 0.0], [0.25, 0.75]], (8, 4))
    first, second = COLOURS[0].tolist(), COLOURS[1].tolist()
    assert strip.shape == (8, 4, 3)
    assert strip[:, 0].tolist() == strip[:, 1].tolist() == [first] * 8
    assert strip[:, 3].tolist() == [second] * 6 + [first] * 2


def test_words():
    assert legend(["inception_5b", "inception_4e"]) == "inception_5b (blue), inception_4e (orange)"
    assert describe(["a", "b"], np.array([0.624, 0.376])) == "a 62 %, b 38 %"
