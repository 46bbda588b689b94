"""Attention mass, area and pointing game on cases worked out by hand."""

import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.localisation import attention_mass_in_box, box_area, pointing_chance, pointing_game

L = np.array([[0.5, 0.25, 0.25, 0.0], [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 1.0, 0.0]])
CELLS = np.array([[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.25], [0.25, 0.0, 0.5, 0.0]])


def test_mass_by_hand():
    # 0.5 + 0.25/2; 0.3 + 0.4/4; 1/2
    np.testing.assert_allclose(attention_mass_in_box(L, CELLS), [0.625, 0.4, 0.5])


def test_area_by_hand():
    np.testing.assert_allclose(box_area(CELLS), [1.5 / 4, 1.25 / 4, 0.75 / 4])


def test_pointing_by_hand():
    # The strongest cells are covered by 1, 1/4 and 1/2: half is a hit.
    assert pointing_game(L, CELLS).tolist() == [True, False, True]


def test_chance_in_the_pointing_game_is_that_of_a_random_cell():
    assert pointing_chance(CELLS).tolist() == [0.5, 0.25, 0.25]
    every_cell = np.stack([pointing_game(np.tile(one, (3, 1)), CELLS) for one in np.eye(4)])
    np.testing.assert_allclose(pointing_chance(CELLS), every_cell.mean(0))


def test_of_equally_strong_cells_the_first_counts():
    uniform = np.full((1, 4), 0.25)
    assert pointing_game(uniform, np.array([[1.0, 0.0, 0.0, 0.0]])).all()
    assert not pointing_game(uniform, np.array([[0.0, 1.0, 1.0, 1.0]])).any()


def test_uniform_attention_has_the_area_as_mass():
    cells = np.random.default_rng(0).uniform(0, 1, (30, 49))
    np.testing.assert_allclose(attention_mass_in_box(np.full((30, 49), 1 / 49), cells), box_area(cells), rtol=1e-12)


def test_the_whole_frame_and_nothing():
    l = np.random.default_rng(1).dirichlet(np.ones(49), 30)
    np.testing.assert_allclose(attention_mass_in_box(l, np.ones((30, 49))), np.ones(30))
    assert pointing_game(l, np.ones((30, 49))).all()
    assert not attention_mass_in_box(l, np.zeros((30, 49))).any()
    assert not pointing_game(l, np.zeros((30, 49))).any()


def test_several_blocks_at_once():
    random = np.random.default_rng(2)
    l, cells = random.dirichlet(np.ones(49), (4, 30)), random.uniform(0, 1, (4, 30, 49))
    for measure in (attention_mass_in_box, pointing_game):
        each = [measure(*pair) for pair in zip(l, cells, strict=True)]
        np.testing.assert_allclose(measure(l, cells), each)


@pytest.mark.parametrize("measure", [attention_mass_in_box, pointing_game])
def test_shapes_that_differ_are_refused_and_not_stretched(measure):
    with pytest.raises(InputError, match=r"\(30, 49\).*\(1, 49\)"):
        measure(np.full((30, 49), 1 / 49), np.ones((1, 49)))
