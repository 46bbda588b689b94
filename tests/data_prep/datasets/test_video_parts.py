"""Labelled parts of long videos in an index.csv."""

import logging
import shutil

import pytest

from attention_ar.errors import InputError
from data_prep.datasets.clip_list import Clip
from data_prep.datasets.registry import list_clips
from data_prep.datasets.split_report import find_leaks
from data_prep.video.parts import WHOLE, Part, name_of_part, video_of


@pytest.fixture
def folder(tmp_path):
    """Three empty videos; listing does not open them."""
    for name in ("a.mp4", "b.mp4", "long/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def listed(folder, *lines, **options):
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list_clips("folder", folder, **options)


def test_names_of_parts(tmp_path):
    for part, name in (
        (Part(12.5, 20), "a.mp4#t=12.5,20"),
        (Part(0, 3723.125), "a.mp4#t=0,3723.125"),
        (Part(7), "a.mp4#t=7"),
        (WHOLE, "a.mp4"),
    ):
        assert name_of_part("a.mp4", part) == name
        assert video_of(tmp_path, name) == ("a.mp4", part)
    assert video_of(tmp_path, "x#t=1,2/b#t=3,4") == ("x#t=1,2/b", Part(3, 4))
    for name in ("a#1.mp4", "a.mp4#t=", "a.mp4#t=x,2", "#t=1,2"):
        assert video_of(tmp_path, name) == (name, WHOLE)
    (tmp_path / "a#t=1,2").mkdir()  # A folder of pictures may be called so.
    assert video_of(tmp_path, "a#t=1,2") == ("a#t=1,2", WHOLE)


def test_parts_of_a_video_come_together_and_share_a_group(folder):
    found = listed(
        folder,
        "path,label,start,end,split",
        "a.mp4,run,20,30,train",
        "b.mp4,jump,,,test",
        "a.mp4,jump,0.5,12.25,train",
        "long/c.mp4,run,7,,test",
        "long/c.mp4,jump,,7,test",
    )
    assert found.clips == (
        Clip("a.mp4#t=0.5,12.25", ("jump",), "a.mp4", "train"),
        Clip("a.mp4#t=20,30", ("run",), "a.mp4", "train"),
        Clip("b.mp4", ("jump",), "", "test"),
        Clip("long/c.mp4#t=0,7", ("jump",), "long/c.mp4", "test"),
        Clip("long/c.mp4#t=7", ("run",), "long/c.mp4", "test"),
    )
    assert found.missing == ()


def test_a_random_split_holds_out_whole_videos_and_keeps_groups_that_are_given(folder):
    rows = [f"{video},{'run' if n % 2 else 'jump'},{n},{n + 1}" for video in ("a.mp4", "b.mp4") for n in range(6)]
    found = listed(folder, "path,label,start,end", *rows)
    assert {(clip.group, clip.split) for clip in found.clips} in (
        {("a.mp4", "train"), ("b.mp4", "test")},
        {("a.mp4", "test"), ("b.mp4", "train")},
    )
    found = listed(folder, "path,label,start,end,group", *(f"{row},g{n % 4}" for n, row in enumerate(rows)))
    assert set(found.groups) == {"g0", "g1", "g2", "g3"}


def test_parts_of_one_video_alone_have_no_groups(folder, caplog):
    with caplog.at_level(logging.WARNING):
        found = listed(folder, "path,label,start,end", *(f"a.mp4,run,{n},{n + 1}" for n in range(10)))
    assert set(found.groups) == {""} and found.splits.count("test") == 3
    assert "groups are unknown" in caplog.text


def test_a_video_in_two_parts_of_the_split_is_said(folder, caplog):
    lines = ("path,label,start,end,split", "a.mp4,run,0,5,train", "a.mp4,run,5,9,test", "b.mp4,run,1,2,train")
    with caplog.at_level(logging.WARNING):
        found = listed(folder, *lines)
    assert found.groups == ["", "", "b.mp4"]
    assert "parts of one video are in several parts of the split (a.mp4)" in caplog.text
    assert find_leaks(found, contents=False) == []


def test_parts_with_one_label_may_overlap_which_is_said(folder, caplog):
    with caplog.at_level(logging.WARNING):
        found = listed(folder, "path,label,start,end", "a.mp4,run,0,5", "a.mp4,run,4,9", "b.mp4,run,,")
    assert len(found.clips) == 3
    assert "a.mp4: the parts 0 to 5 s" in caplog.text and "overlap; their common frames count twice" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label,start,end", "a.mp4,run,9,5"], "line 2: ends at 5 s and starts at 9 s; the end must come after"),
        (["path,label,start,end", "a.mp4,run,5,5"], "line 2: ends at 5 s and starts at 5 s"),
        (["path,label,end", "a.mp4,run,0"], "line 2: ends at 0 s and starts at 0 s"),
        (["path,label,start,end", "a.mp4,run,-1,5"], "line 2: start is '-1'; must be a number of seconds"),
        (["path,label,start,end", "a.mp4,run,1:02,5"], "line 2: start is '1:02'; must be a number of seconds"),
        (["path,label,start,end", "a.mp4,run,0,inf"], "line 2: end is 'inf'"),
        (["path,label,start,end", "a.mp4,run,0,nan"], "line 2: end is 'nan'"),
        (
            ["path,label,start,end", "a.mp4,run,0,5", "b.mp4,run,0,5", "a.mp4,jump,4.5,9"],
            r"a.mp4: the parts 0 to 5 s \(.*line 2\) and 4.5 to 9 s \(.*line 4\) overlap and have different labels, r",
        ),
        (["path,label,start,end", "a.mp4,run,,", "a.mp4,jump,4,9"], "the parts 0 s to the end .* overlap"),
        (
            ["path,label,start,end,split", "a.mp4,run,0,5,train", "a.mp4,run,4,9,test"],
            "overlap, and one is train, the other test; a time must be in one part",
        ),
        (["path,label,start,end", "a.mp4,run,1,2", "a.mp4,run,1.0,2.000"], "named more than once: a.mp4#t=1,2"),
        (["path,label", "a.mp4#t=1,run"], "line 2: a.mp4#t=1: a part of a video has its seconds in the columns"),
        (["path,label,start,end", "d.mp4,run,1,2"], "not one of the 1 clips is there: d.mp4#t=1,2"),
    ],
)
def test_wrong_times_are_one_clear_line(folder, lines, message):
    with pytest.raises(InputError, match=message) as caught:
        listed(folder, *lines)
    assert "\n" not in str(caught.value)


def test_decimal_commas_are_read_where_semicolons_separate(folder):
    found = listed(folder, "path;label;start;end", "a.mp4;run;0,5;12,25")
    assert found.clips[0].path == "a.mp4#t=0.5,12.25"


def test_videos_are_verified_and_compared_once(folder, tmp_path, write_video, drifting_picture, run_program, capsys):
    write_video(folder / "a.mp4", 50, drifting_picture)
    shutil.copy(folder / "a.mp4", folder / "b.mp4")
    lines = ("path,label,start,end,split", "a.mp4,run,0,1,train", "a.mp4,jump,1,2,train", "b.mp4,run,0,1,test")
    found = listed(folder, *lines)
    assert find_leaks(found) == ["the same frames in two parts: a.mp4 (train), b.mp4 (test)"]
    with pytest.raises(InputError, match="1 of 2 clips are at fault"):
        run_program("data_prep.verify_videos", f"--data_dir={folder}", f"--output={tmp_path / 'videos.csv'}")
    assert "has the frames of a.mp4" in capsys.readouterr().out
