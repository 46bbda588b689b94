"""Mirrored clips in a list: which, under which labels, and what is refused."""

import pytest

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import Clip, ClipList
from data_prep.datasets.mirrors import describe_mirrors, parse_mirror_labels, with_mirrored

CLIPS = ClipList(
    dataset="folder",
    data_dir="/clips",
    clips=(
        Clip("left/a.mp4", ("left",), "anna", "train"),
        Clip("right/b.mp4", ("right",), "ben", "validation"),
        Clip("up/c.mp4", ("up",), "", "train"),
        Clip("left/d.mp4", ("left",), "dora", "test"),
    ),
    class_names=("left", "right", "up"),
    multi_label=False,
    split_id="folder-index-0",
)


def test_training_clips_come_a_second_time_with_their_groups_and_swapped_labels():
    found = with_mirrored(CLIPS, parse_mirror_labels("right:left"))
    assert found.clips[:4] == CLIPS.clips
    assert [(clip.name, clip.path, clip.labels, clip.group, clip.split) for clip in found.clips[4:]] == [
        ("left/a.mp4#mirrored", "left/a.mp4", ("right",), "anna", "train"),
        ("up/c.mp4#mirrored", "up/c.mp4", ("up",), "", "train"),
    ]
    assert [clip.labels for clip in with_mirrored(CLIPS).clips[4:]] == [("left",), ("up",)]
    assert (found.class_names, found.split_id) == (CLIPS.class_names, CLIPS.split_id)


def test_labels_that_swap():
    assert parse_mirror_labels("") == {}
    assert parse_mirror_labels("a:b, c d:e") == {"a": "b", "b": "a", "c d": "e", "e": "c d"}
    assert describe_mirrors({}) == "training clips"
    assert describe_mirrors(parse_mirror_labels("c:b,a:d")) == "training clips; a:d; b:c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("left", "mirror_labels=left: 'left' is no pair; must be as in left:right"),
        ("left:", "'left:' is no pair"),
        ("left:right,", "'' is no pair"),
        ("a:b:c", "'a:b:c' is no pair"),
        ("left:left", "names left twice"),
        ("left:right,left:up", "names left twice; a class becomes one other"),
        ("left:rigth", "mirror_labels: no class rigth; the classes are left, right, up"),
    ],
)
def test_labels_that_are_refused(text, message):
    with pytest.raises(InputError) as error:
        with_mirrored(CLIPS, parse_mirror_labels(text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_to_mirror_and_names_that_are_taken():
    only_test = ClipList("folder", "/clips", CLIPS.clips[3:], ("left",), False, "")
    with pytest.raises(InputError, match="no clip is in the training part"):
        with_mirrored(only_test)
    taken = ClipList("folder", "/clips", (Clip("up/c#mirrored", ("up",), "", "train"),), ("up",), False, "")
    with pytest.raises(InputError, match="up/c#mirrored: ends in #mirrored, which marks mirrored clips; rename it"):
        with_mirrored(taken)
