"""Fig. 7: one clip at several rates."""

import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.paper_figures.figure7_rates import at_rates, parse_rates
from experiments.paper_figures.registry import draw_figure


def test_rates(run):
    assert parse_rates("6,29.97") == [6, 29.97]
    for text in ("30", "6,x", "0,30", "inf,3", ""):
        with pytest.raises(InputError, match="must be two or more numbers"):
            parse_rates(text)
    slow, fast = at_rates([run], "5,10")
    video = run.file.names.index("run/clip 4 (#1).avi")
    assert (slow.skip(video), fast.skip(video), run.has_rate(video)) == (2, 1, True)
    assert not run.at_fps(30).has_rate(video)
    np.testing.assert_array_equal(slow.look(video).frames, [0, 2, 4, 6])
    assert at_rates([slow, fast], None) == [slow, fast]
    with pytest.raises(InputError, match="trained at 10, 10 fps"):
        at_rates([run, run], None)
    with pytest.raises(InputError, match="2 runs are shown at the rates that they were trained with"):
        at_rates([slow, fast], "6,30")


def test_figure_7_has_a_panel_for_each_rate(small_run, clips, tmp_path, pixels):
    (path,), _ = draw_figure("7", [small_run], data_dir=clips, output=tmp_path, rates="5,10", num_columns=2)
    assert pixels(path).shape[0] == 32 + 2 * (28 + 2 * 124 + 18) + 14 + 36
    with pytest.raises(InputError, match="asks for more frames than the 10 per second that are stored"):
        draw_figure("7", [small_run], data_dir=clips, output=tmp_path)
