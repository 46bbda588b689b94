"""Rates, and which frames a lower rate takes, of times that are written out."""

from fractions import Fraction

import numpy as np
import pytest

from data_prep.video.frame_times import Clock, FrameTimes, Sampling, TimesInTheMaking, plan_sampling, take

MS = Fraction(1, 1000)


def times(*ticks, tick=MS, said_fps=None):
    return FrameTimes(np.array(ticks, np.int64), tick, said_fps)


@pytest.mark.parametrize(
    ("ticks", "tick", "fps"),
    [
        ([0, 1, 2, 3], Fraction(1, 25), 25.0),
        ([0, 33, 67, 100, 133], MS, 4 / 0.133),
        ([0, 1001, 2002], Fraction(1, 30000), 30000 / 1001),
        ([0, 5000, 10000], MS, 0.2),
        ([0, 60_000, 120_000, 180_000], MS, 1 / 60),
        ([0, 100, 1000], MS, 2.0),  # (n − 1) / (last − first), also where the rate varies
    ],
)
def test_the_rate_is_what_the_times_say(ticks, tick, fps):
    found = times(*ticks, tick=tick, said_fps=50.0)
    assert found.fps == pytest.approx(fps, rel=1e-15) and found.rate_known


def test_without_times_the_container_says_the_rate():
    for ticks in ((), (0,), (0, 0, 0), (0, 10**12), (0, 1)):  # none, one, all the same, decades apart, a microsecond
        found = times(*ticks, tick=Fraction(1, 10**6) if ticks == (0, 1) else MS, said_fps=12.0)
        assert (found.fps, found.rate_known, found.varies) == (12.0, True, False)
    assert (times(0).fps, times(0).rate_known) == (25.0, False)


@pytest.mark.parametrize(
    ("ticks", "varies"),
    [
        ([0, 40, 80, 120, 160], False),
        ([0, 33, 67, 100, 133], False),  # rounded to milliseconds
        ([0, 3, 7, 10, 13, 17], False),  # likewise, at 300 frames per second
        ([0, 40, 80, 130, 170, 210], False),  # just a quarter longer
        ([0, 40, 80, 131, 171, 211], True),
        ([0, 40, 80, 109, 149, 189], True),  # more than a quarter shorter
        ([0, 40, 80, 160, 200, 240], True),  # one frame was dropped
        ([0, 33, 67, 100, 200, 300, 400], True),
        ([0, 40], False),
        ([0, 40, 40, 80, 120], True),
    ],
)
def test_what_varies_by_more_than_a_quarter(ticks, varies):
    assert times(*ticks).varies == varies
    assert bool(times(*ticks).describe_variation()) == varies


def test_a_dropped_frame_counts_where_a_frame_is_one_tick():
    assert times(0, 1, 2, 4, 5, tick=Fraction(1, 25)).varies
    assert not times(0, 1, 2, 3, 4, tick=Fraction(1, 25)).varies


def test_the_note_names_the_slowest_and_the_fastest_moment():
    note = times(0, 40, 80, 280, 480).describe_variation()
    assert note == "its frame rate varies, from 5 to 25 frames per second"


def test_a_constant_rate_keeps_every_kth_frame():
    """As ever: k = round(25 / 6) = 4, though 12.5 would be nearest to the third time of 6 frames per second."""
    found = times(*range(0, 1200, 40))
    np.testing.assert_array_equal(found.rows(6), [0, 4, 8, 12, 16, 20, 24, 28])
    np.testing.assert_array_equal(found.rows(None), np.arange(30))
    np.testing.assert_array_equal(found.rows(60), np.arange(30))
    assert plan_sampling(25.0, 6) == Sampling(every=4) and Sampling(every=4).rate(25.0) == 6.25
    assert Sampling(every=4).num_rows(30, 25.0) == 8


def nearest(ticks, fps):
    """The oracle: for each time, the first of the nearest frames."""
    count = int(Fraction(ticks[-1], 1000) * Fraction(fps)) + 1
    wanted = [Fraction(n, fps) * 1000 for n in range(count)]
    return [min(range(len(ticks)), key=lambda frame: abs(ticks[frame] - time)) for time in wanted]


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        # 30 frames per second for 0.5 s, then 10: 0, 167, 333, 500, 667, 833 and 1000 ms.
        ([*range(0, 500, 33), *range(600, 1100, 100)], [0, 5, 10, 15, 17, 18, 20]),
        # The screen stands still for a second: the pictures before and after it are taken several times.
        ([0, 50, 100, 1100, 1150, 1200, 1250, 1300], [0, 2, 2, 2, 3, 3, 3, 4]),
        # 250 ms are midway between two frames: the earlier one.
        ([0, 50, 100, 150, 200, 300, 330, 350], [0, 3, 6]),
    ],
)
def test_a_varying_rate_takes_the_frames_nearest_to_the_times(ticks, expected):
    found = times(*ticks)
    assert found.varies
    np.testing.assert_array_equal(found.rows(6), expected)
    if ticks[-1] != 350:
        assert nearest(ticks, 6) == expected
    assert found.sampling(6) == Sampling(fps=6)
    assert Sampling(fps=6).rate(found.fps) == 6


def test_any_varying_rate():
    random = np.random.default_rng(0)
    for fps in (1, 4, 6):
        for _ in range(20):
            ticks = [0, *np.cumsum(random.choice([10, 33, 50, 120], 40)).tolist()]
            np.testing.assert_array_equal(times(*ticks).rows(fps), nearest(ticks, fps))


def test_a_clip_that_is_never_faster_keeps_all_its_frames():
    np.testing.assert_array_equal(times(0, 500, 1500, 1900).rows(6), [0, 1, 2, 3])
    np.testing.assert_array_equal(times(0, 500, 1500, 1900).rows(2.5), [0, 1, 1, 2, 2])


def rows_of(ticks, sampling, **options):
    return [list(rows) for _, rows in take(enumerate(ticks), MS, sampling, **options)]


def test_frames_are_told_apart_as_they_come():
    """Every k-th at once; the nearest when the next one is there."""
    seen = []

    def coming(ticks):
        for item in enumerate(ticks):
            seen.append(item)
            yield item

    found = take(coming([0, 40, 80, 120]), MS, Sampling(every=2))
    assert [(next(found), len(seen)) for _ in range(4)] == [
        ((0, range(0, 1)), 1),
        ((1, range(1, 1)), 2),
        ((2, range(1, 2)), 3),
        ((3, range(2, 2)), 4),
    ]
    seen.clear()
    found = take(coming([0, 40, 240, 280]), MS, Sampling(fps=5))
    assert [(next(found), len(seen)) for _ in range(4)] == [
        ((0, range(0, 1)), 2),
        ((1, range(1, 1)), 3),
        ((2, range(1, 2)), 4),
        ((3, range(2, 2)), 4),
    ]


def test_a_stream_is_sampled_by_its_times_from_where_its_rate_varies():
    constant = list(range(0, 2000, 40))
    assert rows_of(constant, Sampling(every=4), fps_if_uneven=6) == rows_of(constant, Sampling(every=4))
    uneven = [0, 50, 100, 200, 250, 300, 350, 400, 500, 600, 700]  # at 6 frames per second: 0, 167, 333, 500, 667
    expected = rows_of(uneven, Sampling(fps=6))
    assert rows_of(uneven, Sampling(every=4), fps_if_uneven=6) == expected
    assert [frame for frame, rows in enumerate(expected) if rows] == [0, 3, 6, 8, 10]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([7, 8, 9, 10], [0, 1, 2, 3]),
        ([0, 3, 6, 9, 0, 3, 6], [0, 3, 6, 9, 12, 15, 18]),  # joined end to end
        ([0, 3, 6, 1_000_000, 1_000_003], [0, 3, 6, 9, 12]),  # the clock was set anew
        ([0, 90_000, 180_000], [0, 90_000, 180_000]),  # a frame for a long time each
        ([None, None, None], [0, 4, 8]),
        ([0, 5, None, 15], [0, 5, 10, 15]),
        ([0, 0, 5, 5], [0, 0, 5, 5]),
    ],
)
def test_times_never_fall(stamps, expected):
    clock = Clock(gap=4, leap=1000)
    assert [clock(stamp) for stamp in stamps] == expected


def test_a_leap_after_the_first_frame():
    clock = Clock(gap=4, leap=1000, trusted=True)
    assert [clock(stamp) for stamp in (0, 90_000, 90_004)] == [0, 4, 8]


def test_times_that_no_clock_has():
    clock, times = Clock(gap=4, leap=1000), TimesInTheMaking()
    for stamp in (-(2**63), 2**63 - 1, 0, 2**63 - 1):
        times.add(clock(stamp))
    found = times.whole(MS, 25.0)
    assert found.fps == 25 and not found.varies
