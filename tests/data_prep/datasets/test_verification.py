"""verify_videos and check_splits: what is found in clips and in splits, and how the programs end."""

import csv
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.registry import find_dataset, list_clips
from data_prep.datasets.split_report import count_table, find_leaks, validation_line
from data_prep.datasets.verification import format_faults, summary, verify, videos_below
from data_prep.video.frames import read_frames
from data_prep.video.scan import same_contents, scan_clips

REPOSITORY = Path(__file__).resolve().parents[3]


def run(program, *arguments, cwd=REPOSITORY):
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    command = [sys.executable, "-m", f"data_prep.{program}", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def check_splits(capsys, run_program):
    """Runs the program and returns its status or its error, and the lines that it prints."""

    def check(**values):
        try:
            result = run_program("data_prep.check_splits", *(f"--{name}={value}" for name, value in values.items()))
        except InputError as error:
            result = str(error)
        return result, capsys.readouterr().out.splitlines()

    return check


def set_avi_rate(path, scale, rate):
    data = bytearray(path.read_bytes())
    struct.pack_into("<II", data, data.find(b"strh") + 28, scale, rate)
    struct.pack_into("<I", data, data.find(b"avih") + 8, 0)
    path.write_bytes(data)


@pytest.fixture
def faulty(tmp_path, tiny_clip, write_video, cut, drifting_picture):
    """A folder with every fault, and sound clips."""
    folder = tmp_path / "clips"
    for seed, name in enumerate(("run/a #1(b)!&.avi", "run/line\nbreak.mp4", "wave/sound.mkv", "wave/12.avi")):
        tiny_clip(folder / name, seed, num_frames=10 if "line" in name else 20)
    tiny_clip(folder / "wave/v_shooting_25_06.mpg", 10, num_frames=12)
    (folder / "run/v_shooting_24_01.mpg").write_bytes(b"\0" * 3000)
    (folder / "run/empty.mov").touch()
    cut(write_video(folder / "run/cut.avi", 60, drifting_picture), 0.9)
    set_avi_rate(tiny_clip(folder / "run/zero.avi", 11, num_frames=20), 0, 0)
    set_avi_rate(tiny_clip(folder / "run/slow.avi", 12, num_frames=20), 25, 1)
    shutil.copy(folder / "wave/12.avi", folder / "run/copy.avi")
    return folder


FAULTS = {
    "run/copy.avi": "ok",  # the first of the two
    "wave/12.avi": "duplicate",
    "wave/v_shooting_25_06.mpg": "short",
    "run/v_shooting_24_01.mpg": "unreadable",
    "run/empty.mov": "unreadable",
    "run/cut.avi": "truncated",
    "run/zero.avi": "zero-fps",
    "run/slow.avi": "ok",  # a frame every 25 s
    "run/a #1(b)!&.avi": "ok",
    "run/line\nbreak.mp4": "short",
    "wave/sound.mkv": "ok",
}


@pytest.mark.slow
def test_every_fault_is_found_with_its_reason(faulty, tmp_path):
    found = run("verify_videos", str(faulty), "--output=table.csv", cwd=tmp_path)
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert {path: row["verdict"] for path, row in rows.items()} == FAULTS
    assert rows["run/v_shooting_24_01.mpg"]["reason"] == (
        "not a video file, or one whose header is cut off or damaged (known: broken in the copies in circulation)"
    )
    assert rows["wave/v_shooting_25_06.mpg"]["reason"] == (
        "12 frames, fewer than 16 (known: has 12 frames in the copies in circulation)"
    )
    assert rows["wave/12.avi"]["reason"] == "has the frames of run/copy.avi"
    assert rows["run/cut.avi"]["reason"].startswith("cut short: ") and rows["run/cut.avi"]["frames"] != "60"
    assert rows["run/slow.avi"]["fps"] == "0.04"
    assert rows["run/zero.avi"]["reason"] == "the file gives no possible frame rate"
    sound = rows["wave/sound.mkv"]
    assert [sound[name] for name in ("frames", "fps", "width", "height")] == ["20", "25", "32", "32"]

    assert found.returncode == 1
    assert found.stderr == "error: 7 of 11 clips are at fault\n"
    printed = found.stdout.splitlines()
    assert len(printed) == 8
    assert any(line.split()[:2] == ["unreadable", "run/v_shooting_24_01.mpg"] for line in printed)
    assert any(
        line.split(maxsplit=1) == ["short", r"run/line\nbreak.mp4        10 frames, fewer than 16"] for line in printed
    )
    assert printed[-1] == (
        "11 clips: 4 sound, 1 truncated, 2 unreadable, 2 short, 1 zero-fps, 1 duplicate; "
        f"{tmp_path / 'table.csv'} has them all"
    )


@pytest.mark.slow
def test_sound_clips_end_with_status_0(tiny_clip, tmp_path):
    tiny_clip(tmp_path / "clips/run/a.avi", 1, num_frames=16)
    found = run("verify_videos", "clips", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == f"1 clips: 1 sound; {tmp_path / 'videos.csv'} has them all\n"
    assert list(verify(tmp_path / "clips", ["run/a.avi"], min_frames=17)[0].faults) == ["short"]


@pytest.mark.slow
def test_wrong_arguments(tmp_path, check_splits):
    say = "error: give either one folder of clips, or --data_dir=DIR and --dataset\n"
    assert run("verify_videos", cwd=tmp_path).stderr == say
    assert check_splits() == ("--data_dir: must name the data set's folder", [])
    with pytest.raises(InputError, match="nowhere: no such folder"):
        videos_below(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no video files in it"):
        videos_below(tmp_path)
    with open(os.fsencode(tmp_path) + b"/a\xff.avi", "wb"), pytest.raises(InputError, match="not UTF-8; rename it"):
        videos_below(tmp_path)


def test_a_data_sets_missing_clips_are_verdicts_too(make_ucf11, tmp_path):
    found = list_clips("ucf11", make_ucf11(tmp_path), allow_missing=True)
    missing = [clip.path for clip in found.missing]
    verdicts = verify(found.data_dir, [clip.path for clip in found.clips], min_frames=2, missing=missing)
    assert summary(verdicts) == "1600 clips: 45 sound, 1 unreadable, 1554 missing"
    assert "missing     biking/v_biking_01/v_biking_01_02.mpg" in format_faults(verdicts)
    assert len(videos_below(tmp_path)) == 46


def test_real_clips(shared):
    biking, waving = scan_clips(shared("data/clips"), ["v_biking_01_01.mpg", "person15_handwaving.avi"])
    assert (biking.num_frames, waving.num_frames) == (151, 581)
    assert biking.fps == pytest.approx(29.97, abs=0.01) and waving.fps == pytest.approx(25)
    assert not (biking.cut_short or waving.cut_short or biking.unreadable or waving.unreadable)


def remux(source, target):
    """The same compressed frames in another container."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)


def test_the_same_frames_in_another_file(tiny_clip, write_video, tmp_path):
    """One first frame alone makes no copy; another container does not hide one."""
    tiny_clip(tmp_path / "a.mp4", 1, num_frames=5)
    remux(tmp_path / "a.mp4", tmp_path / "b.mkv")
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "b.mkv").read_bytes()
    frame = next(read_frames(tmp_path / "a.mp4", size=None, chunk=1, colour="rgb24"))[0]
    write_video(tmp_path / "still.mp4", 5, lambda index: frame)
    write_video(tmp_path / "still_moves.mp4", 5, lambda index: frame if index < 3 else frame[::-1])
    tiny_clip(tmp_path / "other.avi", 2)
    (tmp_path / "bad.avi").touch()
    (tmp_path / "bad_too.avi").touch()
    names = ["other.avi", "still.mp4", "b.mkv", "bad.avi", "still_moves.mp4", "a.mp4", "bad_too.avi"]
    assert same_contents(tmp_path, names) == [["a.mp4", "b.mkv"]]
    scans = {scan.path: scan.content for scan in scan_clips(tmp_path, names)}
    assert scans["a.mp4"] == scans["b.mkv"] != scans["still.mp4"] != scans["still_moves.mp4"]
    assert scans["bad.avi"] == ""


def test_the_size_counts(write_video, tmp_path):
    """16 × 24 black pixels are as many as 24 × 16."""
    write_video(tmp_path / "wide.avi", 3, lambda index: np.zeros((16, 24, 3), np.uint8))
    write_video(tmp_path / "high.avi", 3, lambda index: np.zeros((24, 16, 3), np.uint8))
    assert same_contents(tmp_path, ["wide.avi", "high.avi"]) == []


@pytest.fixture
def leaking(tmp_path, tiny_clip):
    """Two clips of each side, of which one is on both."""
    for seed, name in enumerate(("run/a.avi", "wave/b.avi", "run/c.avi")):
        tiny_clip(tmp_path / "leak" / name, seed)
    shutil.copy(tmp_path / "leak/run/a.avi", tmp_path / "leak/wave/d.avi")
    rows = [
        "run/a.avi,run,ann,train",
        "wave/b.avi,wave,ann,train",
        "run/c.avi,run,ben,test",
        "wave/d.avi,wave,ben,test",
    ]
    (tmp_path / "leak/index.csv").write_text("\n".join(["path,label,group,split", *rows]) + "\n")
    return tmp_path / "leak"


def test_a_leak_of_content_is_refused(leaking, check_splits):
    result, printed = check_splits(data_dir=str(leaking))
    leak = "the same frames in two parts: run/a.avi (train), wave/d.avi (test)"
    assert result == f"1 leaks between the parts of the split; the first: {leak}"
    assert printed[:6] == [
        "class   train  test",
        "run         1     1",
        "wave        1     1",
        "all         2     2",
        "groups      1     1",
        f"2 classes; split {list_clips('folder', leaking).split_id}",
    ]
    result, printed = check_splits(data_dir=str(leaking), contents=False)
    assert result == 0 and printed[-1] == "no clip of one part is in another (groups compared)"


def test_a_group_on_both_sides_is_refused(leaking, check_splits):
    index = leaking / "index.csv"
    index.write_text(index.read_text().replace("ben,test", "ann,test", 1))
    result, _ = check_splits(data_dir=str(leaking))
    assert result.startswith("groups in two parts of the split: ann (test and train)")


def test_missing_clips_are_named_and_counted(leaking, check_splits):
    (leaking / "run/c.avi").unlink()
    result, _ = check_splits(data_dir=str(leaking))
    assert result == f"{leaking}: 1 of 4 clips are missing: run/c.avi; --allow_missing continues without them"
    result, printed = check_splits(data_dir=str(leaking), allow_missing=True, contents=False)
    assert result == 0
    assert printed[:5] == [
        "1 of 4 clips are MISSING on disk; continuing with 3",
        "class   train  test  missing",
        "run         1     0        1",
        "wave        1     1        0",
        "all         2     1        1",
    ]


@pytest.mark.slow
def test_in_the_official_lists_leaks_are_reported(miniature, tmp_path):
    folder = tmp_path / "hmdb51"
    shutil.copytree(miniature("hmdb51"), folder)
    clips = list_clips("hmdb51", folder, allow_missing=True).clips
    one = next(clip.path for clip in clips if clip.split == "train")
    two = next(clip.path for clip in clips if clip.split == "test" and clip.labels == ("wave",))
    shutil.copy(folder / one, folder / two)
    found = run("check_splits", "--dataset=hmdb51", f"--data_dir={folder}", "--allow_missing")
    assert found.returncode == 0, found.stderr
    printed = found.stdout.splitlines()
    assert printed[0] == "4947 of 5100 clips are MISSING on disk; continuing with 153"
    assert printed[2].split() == ["brush_hair", "2", "1", "97"]
    assert f"the same frames in two parts: {one} (train), {two} (test)" in printed
    assert printed[-1] == "1 leaks, which the official lists have; the split may be used as it is"


def test_no_name_steers_the_terminal(tmp_path, caplog, write_video):
    """Neither a line's end nor an escape sequence in a name reaches it."""
    write_video(tmp_path / "clip.mp4", 3)
    for name in ("train/a\x1b[2J/1\n2.mp4", "test/b\nc/\u202e3.mp4", "train/d\r/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(tmp_path / "clip.mp4", tmp_path / name)
    (tmp_path / "clip.mp4").unlink()
    found = list_clips("folder", tmp_path)
    said = [*count_table(found).splitlines(), *find_leaks(found), *caplog.messages]
    assert [line for line in said if not line.isprintable()] == []
    names = r"test/b\nc/\u202e3.mp4 (test), train/a\x1b[2J/1\n2.mp4 (train)"
    assert any(line.endswith(names) for line in said)


@pytest.mark.parametrize(("dataset", "counts"), [("ucf11", "33 13"), ("hmdb51", "102 51"), ("ucf101", "202 101")])
@pytest.mark.slow
def test_the_miniatures_have_no_leaks(miniature, dataset, counts):
    found = list_clips(dataset, miniature(dataset), allow_missing=True)
    assert find_leaks(found) == []
    table = [line.split() for line in count_table(found).splitlines()]
    assert ["all", *counts.split(), str(len(found.missing))] in table
    assert find_dataset(dataset).official_split == (dataset != "ucf11")


@pytest.mark.slow
def test_what_validation_will_be(miniature):
    line = validation_line(list_clips("ucf101", miniature("ucf101"), allow_missing=True))
    assert line == "training will hold out 101 of the 202 train clips as validation (1 whole groups)"
    line = validation_line(list_clips("hollywood2", miniature("hollywood2"), allow_missing=True))
    assert line.endswith("of the 48 train clips as validation (class by class, as groups are unknown)")
