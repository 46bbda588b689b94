import logging
from collections import Counter

import pytest

from attention_ar.errors import InputError
from data_prep.common import folders
from data_prep.datasets.clip_list import Clip
from data_prep.datasets.registry import DATASETS, list_clips


@pytest.fixture
def folder(tmp_path):
    """Ten clips of `run` and four of `jump`; listing does not open them."""
    for name, count in (("run", 10), ("jump", 4)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index}.mp4").touch()
    return tmp_path


def write_index(folder, *lines):
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_class_folders(folder, caplog):
    (folder / "run" / "take two").mkdir()
    (folder / "run" / "take two" / "ö#(!&.AVI").touch()
    for not_a_clip in ("run/notes.txt", "run/._1.mp4", "run/mp4", "stray.mp4"):
        (folder / not_a_clip).touch()
    with caplog.at_level(logging.WARNING):
        found = list_clips("folder", folder)
    assert "groups are unknown" in caplog.text
    assert found.class_names == ("jump", "run") and not found.multi_label
    assert found.data_dir == str(folder)
    assert found.clips[0] in (Clip("jump/0.mp4", ("jump",), "", "train"), Clip("jump/0.mp4", ("jump",), "", "test"))
    assert [clip.path for clip in found.clips] == sorted(clip.path for clip in found.clips)
    assert found.clips[-1].path == "run/take two/ö#(!&.AVI"
    assert Counter((clip.labels[0], clip.split) for clip in found.clips) == {
        ("run", "test"): 3,
        ("run", "train"): 8,
        ("jump", "test"): 1,
        ("jump", "train"): 3,
    }


def test_the_seed_makes_the_split(folder):
    first, again, other = (list_clips("folder", folder, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.splits != other.splits and first.split_id != other.split_id


def test_both_sides_get_a_clip_of_every_class_that_has_two(tmp_path):
    for name, count in (("a", 2), ("b", 2), ("c", 1)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index}.avi").touch()
    splits = Counter((clip.labels[0], clip.split) for clip in list_clips("folder", tmp_path).clips)
    assert splits == {("a", "train"): 1, ("a", "test"): 1, ("b", "train"): 1, ("b", "test"): 1, ("c", "train"): 1}


def test_index(folder, caplog):
    write_index(
        folder,
        "path,label,group,split",
        "run/0.mp4,run,ann,train",
        '"./jump/1.mp4",jump | run,bob,test',
        "",
        "run/2.mp4,run,cem,validation",
    )
    found = list_clips("folder", folder)
    assert found.clips == (
        Clip("run/0.mp4", ("run",), "ann", "train"),
        Clip("jump/1.mp4", ("jump", "run"), "bob", "test"),
        Clip("run/2.mp4", ("run",), "cem", "validation"),
    )
    assert found.multi_label and found.class_names == ("jump", "run")
    assert "unknown" not in caplog.text


def test_index_with_groups_and_no_split_tests_on_whole_groups(folder):
    write_index(folder, "path,label,group", *(f"run/{i}.mp4,run,person{i // 2}" for i in range(10)))
    found = list_clips("folder", folder)
    sides = {(clip.group, clip.split) for clip in found.clips}
    assert len(sides) == 5  # no group has two
    assert found.splits.count("test") in (2, 4)  # 3 would be 30 %


@pytest.mark.parametrize(("columns", "end"), [("label,path", ""), ("label,path,group,split", ",,")])
def test_index_of_paths_and_labels_alone(folder, caplog, columns, end):
    write_index(folder, columns, *(f"run,run/{i}.mp4{end}" for i in range(10)))
    with caplog.at_level(logging.WARNING):
        assert list_clips("folder", folder).splits.count("test") == 3
    assert "groups are unknown" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["label,split", "run,train"], "no column path"),
        (["path:label", "run/0.mp4:run"], "no column path; the first line must be path,label.* names 'path:label'"),
        (["path,label,spilt", "run/0.mp4,run,train"], "unknown column 'spilt'"),
        (["path,label,label", "run/0.mp4,run,run"], "two columns label"),
        (["path,label"], "no clips in it"),
        (["path,label", "run/0.mp4"], "line 2: must have 2 fields"),
        (["path,label", "run/0.mp4,run,x"], "line 2: must have 2 fields"),
        (["path,label", "run/0.mp4,"], "line 2: run/0.mp4 has an empty label"),
        (["path,label", "run/0.mp4,run|"], "line 2: run/0.mp4 has an empty label"),
        (["path,label", ",run"], "line 2: the path is empty"),
        (["path,label", "run/0.mp4,run", "run/0.mp4,run", "./run/0.mp4,run"], "named more than once: run/0.mp4;"),
        (
            ["path,label", "run/x.mp4,run", "run/0.mp4,run", "y.mp4,run"],
            "2 of 3 clips are missing: run/x.mp4, y.mp4; --all",
        ),
        (["path,label", "../secret.mp4,run"], "line 2: '../secret.mp4' leaves the folder"),
        (["path,label", "run/../../a.mp4,run"], "leaves the folder"),
        (["path,label", "/etc/passwd,run"], "leaves the folder"),
        (["path,label,split", "run/0.mp4,run,trian"], "line 2: split 'trian' is unknown"),
        (["path,label,split", "run/0.mp4,run,train", "run/1.mp4,run,"], "line 3: split '' is unknown"),
        (["path,label", "run/0.mp4,r\0un"], "line 2: holds a zero byte"),
        (["path,label", 'run/0.mp4,"run'], "line 2: not readable as a table"),
        (["path,label", "C:\\clips\\0.mp4,run"], "line 2: .* leaves the folder"),
        (["path,label", "..\\secret.mp4,run"], "line 2: .* leaves the folder"),
        (
            ["path,label,group,split", "run/0.mp4,run,ann,train", "run/1.mp4,run,ann,test", "run/2.mp4,run,bob,test"],
            r"two parts of the split: ann \(test and train\)",
        ),
    ],
)
def test_a_wrong_index_is_one_clear_line(folder, lines, message):
    write_index(folder, *lines)
    with pytest.raises(InputError, match=message) as caught:
        list_clips("folder", folder)
    assert "\n" not in str(caught.value)


def test_an_index_that_is_no_text(folder):
    (folder / "index.csv").write_bytes(b"path,label\nrun/0.mp4,\xff\xfe\n")
    with pytest.raises(InputError, match='line 2: not UTF-8 text \\(byte 0xff\\); save it as "CSV UTF-8"'):
        list_clips("folder", folder)


def test_byte_order_mark_of_a_spreadsheet(folder):
    (folder / "index.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\nrun/0.mp4,run\r\nrun/1.mp4,run\r\n")
    assert len(list_clips("folder", folder).clips) == 2


def test_folders_that_hold_no_data_set(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        list_clips("folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no clips; it should hold one folder per class"):
        list_clips("folder", tmp_path / "empty")


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found_in(root):
    return {clip.path: (clip.labels[0], clip.split) for clip in list_clips("folder", root).clips}


@pytest.mark.parametrize(
    "words", [("train", "val", "test"), ("Training", "VALID", "Testing"), ("TRAIN", "Validation", "Test")]
)
@pytest.mark.parametrize("layout", ["{split}/{label}/1.mp4", "{label}/{split}/1.mp4", "{split}/{label}/p1/1.mp4"])
def test_folders_named_after_a_split_are_one(tmp_path, caplog, words, layout):
    names = {
        layout.format(split=word, label=label): (label, split)
        for word, split in zip(words, ("train", "validation", "test"), strict=True)
        for label in ("run", "wave")
    }
    with caplog.at_level(logging.WARNING):
        assert found_in(touch(tmp_path, *names)) == names
    assert f"the folders {', '.join(sorted(words))} are read as the split: " in caplog.text
    assert list_clips("folder", tmp_path).class_names == ("run", "wave")


@pytest.mark.parametrize("top", ["clips", "clips/clips"])
def test_a_split_above_the_classes_within_the_folder_of_an_archive(tmp_path, top):
    touch(tmp_path, f"{top}/train/run/1.mp4", f"{top}/test/run/2.mp4")
    assert found_in(tmp_path) == {"train/run/1.mp4": ("run", "train"), "test/run/2.mp4": ("run", "test")}


def test_an_index_in_capitals_within_the_folder_of_an_archive(tmp_path):
    touch(tmp_path, "clips/run/1.mp4", "clips/run/2.mp4")
    (tmp_path / "clips" / "Index.CSV").write_text("path,label,split\nrun/2.mp4,wave,test\n")
    assert found_in(tmp_path) == {"run/2.mp4": ("wave", "test")}


def test_a_training_part_alone_is_one(tmp_path):
    assert found_in(touch(tmp_path, "train/run/1.mp4", "train/wave/1.mp4")) == {
        "train/run/1.mp4": ("run", "train"),
        "train/wave/1.mp4": ("wave", "train"),
    }


@pytest.mark.parametrize(
    ("names", "readings"),
    [
        (
            ["test/1.mp4", "jump/1.mp4", "run/1.mp4"],
            "the folder test may be a class beside jump, run, or the test part of a split, and then the other clips ",
        ),
        (["Train/run/1.mp4", "run/1.mp4"], "the folder Train may be a class beside run, or the train part of a split"),
        (
            ["train/1.mp4", "test/2.mp4"],
            "the folder test holds the clip test/2.mp4 directly, so it may be a class, or the test part of a split ",
        ),
        (["train/run/1.mp4", "val/2.mp4"], "the folder val holds the clip val/2.mp4 directly"),
        (["train/1.jpg", "train/2.jpg", "test/1.jpg", "test/2.jpg"], "holds the clip .* directly"),
        (
            ["run/test/1.mp4", "run/p2/1.mp4", "wave/1.mp4"],
            "the folder run/test may be the test part of the class run, or a folder of its clips like any other, ",
        ),
    ],
)
def test_folders_that_can_be_read_in_two_ways_are_refused_with_both(tmp_path, names, readings):
    with pytest.raises(InputError, match=readings) as caught:
        list_clips("folder", touch(tmp_path, *names))
    assert "rename it, or write an index.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_left_out_is_said_once(tmp_path, caplog):
    touch(tmp_path, "run/1.mp4", "run/notes.txt", "run/._1.mp4", "wave/1.mp4", "fall/a.mxf", "stray.mp4", "README")
    with caplog.at_level(logging.WARNING):
        assert set(found_in(tmp_path)) == {"run/1.mp4", "wave/1.mp4"}
    assert (
        "2 files are not clips and are ignored: fall/a.mxf, run/notes.txt; fall holds no clip and is not" in caplog.text
    )
    assert "1 clips are ignored because they are not in a class folder: stray.mp4" in caplog.text
    assert "._1" not in caplog.text and "README" not in caplog.text


def test_links_to_folders_are_followed_and_never_in_circles(tmp_path):
    root, elsewhere = tmp_path / "clips", touch(tmp_path, "elsewhere/c.mp4", "more/d.mp4") / "elsewhere"
    touch(root, "run/p1/a.mp4", "wave/p1/b.mp4")
    (root / "wave" / "p2").symlink_to(elsewhere)
    (root / "jump").symlink_to(tmp_path / "more")
    (root / "run" / "again").symlink_to(root)
    (elsewhere / "self").symlink_to(elsewhere)
    (root / "gone").symlink_to(tmp_path / "nowhere")
    (root / "a loop").symlink_to("a loop")
    assert found_in(root).keys() == {"run/p1/a.mp4", "wave/p1/b.mp4", "wave/p2/c.mp4", "jump/d.mp4"}


def test_one_folder_under_two_names_is_taken_twice(tmp_path):
    touch(tmp_path, "run/p1/a.mp4")
    (tmp_path / "walk").symlink_to(tmp_path / "run")
    assert set(found_in(tmp_path)) == {"run/p1/a.mp4", "walk/p1/a.mp4"}


def test_links_that_lead_everywhere_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MOST_REPEATED", 100)
    for a in range(6):
        touch(tmp_path, f"{a}/clip.mp4")
        for b in range(6):
            (tmp_path / f"{a}" / f"to {b}").symlink_to(tmp_path / f"{b}")
    with pytest.raises(
        InputError, match="links lead to the same folders more than 100 times; remove those that lead back"
    ):
        list_clips("folder", tmp_path)


def test_folders_of_pictures_are_clips(tmp_path, caplog):
    frames = [f"{clip}/{n:06d}.jpg" for clip in ("run/one", "run/two", "wave/three") for n in range(3)]
    touch(tmp_path, *frames, "wave/four.mp4", "wave/four.1.jpg")
    (tmp_path / "run/two/000001.jpg").unlink()
    touch(tmp_path, "run/two/000005.jpg")
    with caplog.at_level(logging.WARNING):
        found = list_clips("folder", tmp_path, image_fps=30)
    assert [clip.path for clip in found.clips] == ["run/one", "run/two", "wave/four.mp4", "wave/three"]
    assert found.image_fps == 30 and list_clips("folder", tmp_path).image_fps == 25
    assert "3 clips are folders of pictures, read at 30 per second; --image_fps changes that" in caplog.text
    assert "pictures are missing in 1 clips" in caplog.text and "run/two between 000002.jpg and 000005" in caplog.text


def test_an_index_may_name_folders_of_pictures(tmp_path):
    touch(tmp_path, "a/1.png", "a/2.png", "b.mp4")
    write_index(tmp_path, "path,label,split", "a,run,train", "b.mp4,wave,test")
    assert found_in(tmp_path) == {"a": ("run", "train"), "b.mp4": ("wave", "test")}


def test_a_mac_and_other_systems_write_one_name(tmp_path, caplog):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, f"{nfd}/1.mp4", "run/2.mp4")
    write_index(tmp_path, "path,label,group,split", f"{nfc}/1.mp4,{nfd},{nfd},train", "run/2.mp4,run,b,test")
    (clip, _) = list_clips("folder", tmp_path).clips
    assert (clip.path, clip.labels, clip.group) == (f"{nfd}/1.mp4", (nfc,), nfc)
    (tmp_path / "index.csv").unlink()
    touch(tmp_path, f"{nfc}/3.mp4")
    with caplog.at_level(logging.WARNING):
        assert list_clips("folder", tmp_path).class_names == (nfc, "run")
    assert f"{nfc} is written in 2 Unicode forms, which are read as one class" in caplog.text


def test_class_names_that_look_alike_are_said(tmp_path, caplog):
    touch(
        tmp_path, *(f"{name}/1.mp4" for name in ("Run", "run", "jump", "high jump", "high_jump", "w\u0430ve", "wave"))
    )
    with caplog.at_level(logging.WARNING):
        list_clips("folder", tmp_path)
    assert "the classes 'Run' and 'run' look alike" in caplog.text
    assert "the classes 'high jump' and 'high_jump' look alike" in caplog.text
    assert "the classes 'wave' and 'w\u0430ve' look alike" in caplog.text
    assert caplog.text.count("look alike") == 3


def test_classes_that_cannot_be_learnt_are_said_once(tmp_path, caplog):
    touch(tmp_path, "train/run/1.mp4", "test/run/2.mp4", "test/wave/3.mp4")
    with caplog.at_level(logging.WARNING):
        list_clips("folder", tmp_path)
    assert caplog.text.count("classes without a clip to train on, which no model can learn: wave") == 1
    assert "one class only" not in caplog.text
    (tmp_path / "test/wave/3.mp4").unlink()
    with caplog.at_level(logging.WARNING):
        list_clips("folder", tmp_path)
    assert caplog.text.count("one class only, run: there is nothing to classify") == 1


def test_names_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    name = bytes(tmp_path / "run") + b"/\xff.mp4"
    try:
        open(name, "w").close()
    except OSError:
        pytest.skip("the file system does not take such a name")
    with pytest.raises(InputError, match="not UTF-8"):
        list_clips("folder", tmp_path)


def test_unknown_data_set_and_split(folder):
    assert "folder" in DATASETS
    with pytest.raises(InputError, match="dataset=ucf1l: no such data set; there are"):
        list_clips("ucf1l", folder)
    with pytest.raises(InputError, match="split=2: a folder has one split"):
        list_clips("folder", folder, split="2")


def test_real_indices(shared):
    weizmann = list_clips("folder", shared("data/weizmann"))
    assert weizmann.class_names == ("bend", "jack", "wave1", "wave2")
    assert Counter(weizmann.splits) == {"train": 48, "test": 24}
    fight = list_clips("folder", shared("data/fight"))
    assert Counter(fight.splits) == {"train": 200, "test": 100}
