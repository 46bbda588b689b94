"""Estimates and the five lines that follow from them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep.datasets.clip_list import Clip, ClipList
from experiments.first_steps.closing import advise, closing_lines, summary
from experiments.first_steps.estimate import COMPARED, Estimate, expectation, wilson_interval
from experiments.first_steps.looking import Look
from experiments.first_steps.settings import choose_settings
from experiments.runs.calibration import Temperature


def look(counts: dict, groups: int = 0, seconds: float = 2.0, has_test: bool = True) -> Look:
    """Training clips of these counts, spread over so many groups, and one test clip."""
    names = [(name, n) for name, count in counts.items() for n in range(count)]
    clips = [Clip(f"{c}/{n}.mp4", (c,), f"g{n % groups}" if groups else "", "train") for c, n in names]
    clips += [Clip("x.mp4", (next(iter(counts)),), "t" * bool(groups), "test")] * has_test
    num_frames = np.full(len(clips), int(25 * seconds))
    listed = ClipList("folder", "/clips", tuple(clips), tuple(sorted(counts)), False, "")
    return Look(listed, clips, num_frames, np.full(len(clips), 25.0), "", f"{len(clips)} clips: all sound")


def found(taken: dict, low=0.6, mean=0.75, high=0.9) -> Estimate:
    tested = Counter()
    for (label, _), count in taken.items():
        tested[label] += count
    models = {
        name: expectation(title, [value] * 4, [10] * 4, 7, False)
        for name, title, value in zip(COMPARED, ("soft attention", "pool", "floor"), (mean, 0.7, 0.4), strict=True)
    }
    models["soft_attention"] = type(models["soft_attention"])("soft attention", mean, low, high, 7)
    return Estimate(
        "accuracy", models, sum(tested.values()), sorted(tested), Counter(taken), tested, Path("fold"), Temperature()
    )


TAKEN = {("a", "a"): 18, ("a", "b"): 2, ("b", "b"): 13, ("b", "a"): 7}


def settings(of: Look):
    return choose_settings(of.num_frames, of.fps, of.in_training, len(set(of.units)))


def test_wilson_by_hand():
    low, high = wilson_interval(1.0, 24)
    assert high == pytest.approx(1) and low == pytest.approx(24 / (24 + 1.959964**2))
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_the_interval_is_the_wider_one_on_each_side():
    same = expectation("m", [1.0, 1.0, 1.0], [8, 8, 8], 3, True)  # The folds agree: Student's t has no width.
    assert (same.mean, same.low, same.high) == (1.0, pytest.approx(0.862, abs=1e-3), 1.0)
    apart = expectation("m", [0.2, 1.0], [50, 50], 3, True)
    assert (apart.low, apart.high) == (0.0, 1.0)
    uneven = expectation("m", [1.0, 0.5], [10, 30], 3, True)
    assert uneven.mean == pytest.approx(25 / 40)
    assert expectation("m", [0.5, 0.7], [10, 30], 3, False).mean == pytest.approx(0.6)
    assert expectation("m", [0.4] * 5, [200] * 5, 3, True).describe() == "40 % (37 to 43 %)"


def test_the_five_lines():
    of, estimate = look({"a": 20, "b": 20}, groups=6), found(TAKEN)
    test = {"score_name": "accuracy", "accuracy": 0.8, "num_videos": 10}
    lines = closing_lines(of, settings(of), estimate, test, Path("run/report.html"), Path("run"), False)
    assert lines[0] == (
        "What to expect: 75 % (60 to 90 %) of new clips right; pool 70 % (70 to 70 %), floor 40 % (40 to 40 %); "
        "always the commonest class 50 %. Test part: 80 % of 10 clips, within that interval."
    )
    assert lines[1] == "What it confuses: b taken for a (7 of 20 clips), a taken for b (2 of 20 clips)"
    assert lines[2] == "Report: run/report.html, of the test clips"
    assert lines[3].endswith(" -m experiments.predict --workdir=run CLIP")
    assert lines[4] == "What would help most: more clips of other people and places, first of b"
    text = summary(of, settings(of), estimate, "GoogLeNet", ["a note"], lines)
    assert "| soft attention | 75.0 | 60.0 to 90.0 | 7 |" in text
    assert "| stride | 10 | a third of T; 120 blocks of training clips |" in text
    assert "* a note\n" in text and all(f"* {line}\n" in text for line in lines)


@pytest.mark.parametrize(
    ("accuracy", "count", "said"),
    [
        (0.95, 10, "Test part: 95 % of 10 clips (66 to 99 %), outside that interval, but so few clips may differ"),
        (1.0, 400, "Test part: 100 % of 400 clips (99 to 100 %), outside that interval: the test clips are easier"),
        (0.3, 400, "(26 to 35 %), outside that interval: the test clips are harder than the training clips"),
    ],
)
def test_a_test_part_that_disagrees(accuracy, count, said):
    of, test = look({"a": 20, "b": 20}), {"score_name": "accuracy", "accuracy": accuracy, "num_videos": count}
    first, *_ = closing_lines(of, settings(of), found(TAKEN), test, Path("r"), Path("run"), False)
    assert said in first
    assert first.endswith("Groups are unknown: all of this is too high if clips share a person or a place.")


def test_without_a_test_part_and_without_confusions():
    of = look({"a": 20, "b": 20}, groups=6, has_test=False)
    lines = closing_lines(of, settings(of), found({("a", "a"): 9}), None, Path("r.html"), Path("run"), False)
    assert "Test part" not in lines[0]
    assert lines[1] == "What it confuses: nothing: every clip was right when it was held out"
    assert lines[2] == "Report: r.html, of clips that the first fold held out, for there is no test part"


@pytest.mark.parametrize(
    ("of", "near_copies", "taken", "said"),
    [
        (look({"a": 20, "b": 20}), True, TAKEN, "groups. Many held-out clips are near copies of training clips"),
        (look({"a": 20, "b": 4}), False, TAKEN, "more clips of b, which has 4; 10 of a class are a beginning"),
        (look({"a": 20, "b": 20}, groups=3), False, TAKEN, "clips of more people or places: there are 3 groups"),
        (
            look({"a": 20, "b": 20}),
            False,
            {("a", "a"): 20, ("b", "b"): 9, ("b", "a"): 11},
            "more clips of b, of which 45 % were right",
        ),
        (look({"a": 20, "b": 20}, seconds=9.0), False, TAKEN, "a lower rate: a block spans 2.4 s of clips of 9.0 s"),
    ],
)
def test_what_would_help_most(of, near_copies, taken, said):
    assert advise(of, settings(of), found(taken), near_copies).startswith(said)
