"""What a long job prints where there is no terminal."""

import pytest

from data_prep.common import progress


def printed(monkeypatch, capsys, seconds, total, done, counts):
    """Returns the lines that a job prints which begins at the first of `seconds` and advances at the others."""
    clock = iter(seconds)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress(total, done, "frame") as shown:
        for count in counts:
            shown.advance(count)
    return capsys.readouterr().err.splitlines()


def test_a_line_every_4_seconds_in_the_first_minute_and_then_every_30(monkeypatch, capsys):
    lines = printed(monkeypatch, capsys, [0, 4, 5, 9, 10, 60, 89, 91], 1000, 0, [100] * 7)
    assert [line.split(",")[0] for line in lines] == [f"{count} of 1000 frames" for count in (200, 400, 500, 700)]
    lines = printed(monkeypatch, capsys, [0, 31, 62, 62.5], 1000, 0, [100] * 3)
    assert [line.split(",")[0] for line in lines] == ["100 of 1000 frames", "200 of 1000 frames"]


@pytest.mark.parametrize(
    ("total", "done", "counts", "line"),
    [
        (1000, 200, [100, 100], "400 of 1000 frames, 5.0 frames/s, 02:00 left"),  # 200 frames in 40 seconds
        (1000, 0, [100, 100], "200 of 1000 frames, 5.0 frames/s, 02:40 left"),
        (300, 200, [100, 100], "400 of 300 frames, 5.0 frames/s, 00:00 left"),  # An estimate that was too small.
    ],
)
def test_what_was_done_before_does_not_count_for_the_rate(monkeypatch, capsys, total, done, counts, line):
    assert printed(monkeypatch, capsys, [0, 3, 40], total, done, counts) == [line]


def test_a_job_that_has_done_nothing_yet_says_nothing(monkeypatch, capsys):
    assert printed(monkeypatch, capsys, [0, 40], 1000, 200, [0]) == []
