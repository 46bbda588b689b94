"""Segments of known blocks, and their files."""

import csv
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from attention_ar.errors import InputError
from experiments.prediction.clip_stream import BlockPrediction, ClipPrediction
from experiments.prediction.segments import (
    Segment,
    SegmentRule,
    SegmentsFile,
    check_segments_path,
    smoothed,
    subtitles,
    time_edges,
)

SPANS = [(0.5 * n, 0.5 * n + 2.0) for n in range(10)]  # Blocks of two seconds, every half second.


def one_hot(labels, sure=0.8):
    """Probabilities of three classes, `sure` for the label."""
    return np.where(np.eye(3)[labels] > 0, sure, (1 - sure) / 2)


def found(labels, **rule):
    segments = SegmentRule(**rule).segments(SPANS[: len(labels)], one_hot(labels), False)
    return [(s.begin, s.end, s.label) for s in segments]


def test_a_block_stands_for_the_time_around_its_middle():
    np.testing.assert_allclose(time_edges(SPANS[:3]), [0, 1.25, 1.75, 3])
    np.testing.assert_allclose(time_edges([(0, 2)]), [0, 2])
    np.testing.assert_allclose(time_edges([(0, 2), (10, 12)]), [0, 6, 12])


def test_adjacent_blocks_of_a_class_become_one_segment():
    assert found([0, 0, 0, 1, 1, 2, 2, 2, 2, 2]) == [(0, 2.25, 0), (2.25, 3.25, 1), (3.25, 6.5, 2)]
    assert found([1]) == [(0, 2, 1)]
    assert SegmentRule().segments([], np.zeros((0, 3)), False) == []
    (segment,) = SegmentRule().segments(SPANS[:2], np.array([[0.7, 0.2, 0.1], [0.9, 0.1, 0.0]]), False, until=2.7)
    assert segment == Segment(0.0, 2.7, 0, pytest.approx(0.8))


def test_a_boundary_is_within_a_stride_of_the_truth():
    """A block has the class that most of its frames have: those of two seconds, at whatever time the class changes."""
    for change in np.arange(1.1, 5.3, 0.13):
        labels = [int(np.mean(np.arange(begin, end, 0.04) >= change) > 0.5) for begin, end in SPANS]
        segments = found(labels)
        assert [label for *_, label in segments] == [0, 1]
        assert segments[0][1] == pytest.approx(change, abs=0.5)


def test_short_segments_join_the_neighbour_that_is_more_probable_there():
    labels, rule = [0, 0, 0, 1, 2, 2, 2, 2, 2, 2], SegmentRule(min_seconds=1.0)
    probabilities = one_hot(labels)
    probabilities[3] = [0.1, 0.6, 0.3]
    segments = rule.segments(SPANS, probabilities, False)
    assert [(s.begin, s.end, s.label) for s in segments] == [(0, 2.25, 0), (2.25, 6.5, 2)]
    probabilities[3] = [0.3, 0.6, 0.1]
    segments = rule.segments(SPANS, probabilities, False)
    assert [(s.begin, s.end, s.label) for s in segments] == [(0, 2.75, 0), (2.75, 6.5, 2)]
    assert segments[0].confidence == pytest.approx((3 * 0.8 + 0.3) / 4)
    flickering = found([0, 1, 0, 1, 0, 1, 0, 1, 0, 1], min_seconds=100.0)
    assert len(flickering) == 1 and flickering[0][:2] == (0, 6.5)


def test_many_short_segments_take_no_time_to_speak_of():
    random = np.random.default_rng(0)
    count = 5_000
    spans = [(0.1 * n, 0.1 * n + 1) for n in range(count)]
    segments = SegmentRule(min_seconds=1.0).segments(spans, random.dirichlet(np.ones(4), count), False)
    assert all(s.end - s.begin >= 1.0 - 1e-9 for s in segments)
    assert all(a.end == b.begin and a.label != b.label for a, b in itertools.pairwise(segments))


def test_smoothing_is_a_running_mean():
    random = np.random.default_rng(1)
    p = random.random((9, 2))
    np.testing.assert_array_equal(smoothed(p, 1), p)
    for width, before, after in ((2, 0, 1), (3, 1, 1), (4, 1, 2), (30, 14, 15)):
        expected = [p[max(0, n - before) : n + after + 1].mean(axis=0) for n in range(9)]
        np.testing.assert_allclose(smoothed(p, width), expected)
    assert found([0, 0, 1, 0, 0, 2, 2, 2, 2, 2], smooth_blocks=3) == [(0, 3.25, 0), (3.25, 6.5, 2)]


def test_what_is_not_probable_enough_is_no_class():
    probabilities = one_hot([0, 0, 0, 0, 1, 1, 2, 2, 2, 2])
    probabilities[4:6] = [0.3, 0.4, 0.3]
    segments = SegmentRule(reject_below=0.5).segments(SPANS, probabilities, False)
    assert [s.label for s in segments] == [0, None, 2]
    assert segments[1] == Segment(2.75, 3.75, None, None)
    # A short part without a class joins one with a class, and one with a class never one without if it can be helped.
    segments = SegmentRule(reject_below=0.5, min_seconds=1.5).segments(SPANS, probabilities, False)
    assert [s.label for s in segments] == [0, 2]


def test_several_labels_may_be_there_at_a_time():
    probabilities = np.zeros((10, 2))
    probabilities[0:6, 0], probabilities[4:10, 1], probabilities[8, 0] = 0.9, 0.7, 0.6
    segments = SegmentRule().segments(SPANS, probabilities, True)
    assert [(s.begin, s.end, s.label) for s in segments] == [(0, 3.75, 0), (2.75, 6.5, 1), (4.75, 5.25, 0)]
    assert [s.label for s in SegmentRule(reject_below=0.8).segments(SPANS, probabilities, True)] == [0]
    assert [s.label for s in SegmentRule(min_seconds=1.0).segments(SPANS, probabilities, True)] == [0, 1]


def test_subtitles_are_subrip():
    rows = [
        {"start": 0.0, "end": 61.5, "class": "a <b>{x}", "confidence": 0.912},
        {"start": 61.5, "end": 62.0, "class": "none of these", "confidence": None},
        {"start": 3723.25, "end": 3724.0, "class": "wave", "confidence": 0.5},
    ]
    assert subtitles(rows) == (
        "1\n00:00:00,000 --> 00:01:01,500\na ‹b›(x) 0.91\n\n2\n01:02:03,250 --> 01:02:04,000\nwave 0.50\n"
    )


def test_other_files_are_refused():
    for path, clips, message in (
        ("out.txt", ["a"], "segments=out.txt: must end in .csv, .json or .srt"),
        ("out", ["a"], "must end in"),
        ("out.srt", ["a", "b"], "subtitles are of one video, not of 2 clips; name a .csv or .json"),
    ):
        with pytest.raises(InputError, match=message):
            check_segments_path(path, clips)
    for path in ("a.CSV", "b.json", "c.srt"):
        check_segments_path(path, ["a"])


@pytest.fixture
def predictor():
    model = SimpleNamespace(class_names=["jump", "run", "wave"], multi_label=False)
    return SimpleNamespace(model=model, calibrated=lambda probabilities: probabilities)


def fill(file, name, labels):
    """Gives a file the blocks of a clip."""
    stream = SimpleNamespace(name=name)
    file.begin(stream)
    for number, (span, p) in enumerate(zip(SPANS, one_hot(labels), strict=False)):
        file.block(stream, BlockPrediction(number, number, span, p, p, None, True))
    file.clip(stream, ClipPrediction(p, len(labels), 40, SPANS[len(labels) - 1][1], False, "", False))


def test_files_hold_all_clips(predictor, tmp_path):
    rule = SegmentRule()
    for name in ("new/out.csv", "out.json"):
        with SegmentsFile(predictor, tmp_path / name, rule) as file:
            fill(file, "a.mp4", [0, 0, 1])
            fill(file, 'b "2", é.mp4', [2])
    with open(tmp_path / "new" / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"path": "a.mp4", "start": "0.0", "end": "1.75", "class": "jump", "confidence": "0.8"}
    assert [(row["path"], row["class"]) for row in rows[1:]] == [("a.mp4", "run"), ('b "2", é.mp4', "wave")]
    read = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [{name: str(value) for name, value in row.items()} for row in read] == rows


def test_an_interrupted_program_leaves_the_clips_before(predictor, tmp_path):
    with pytest.raises(KeyboardInterrupt), SegmentsFile(predictor, tmp_path / "out.srt", SegmentRule()) as file:
        fill(file, "a.mp4", [0, 0, 1])
        raise KeyboardInterrupt
    assert (tmp_path / "out.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:01,750\njump 0.80\n")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"the folder .*/file cannot be made"):
        SegmentsFile(predictor, tmp_path / "file" / "out.csv", SegmentRule())
