import logging
from collections import Counter

import pytest

from attention_ar.errors import InputError
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


def test_index_of_paths_and_labels_alone(folder, caplog):
    write_index(folder, "label,path", *(f"run,run/{i}.mp4" for i in range(10)))
    with caplog.at_level(logging.WARNING):
        assert list_clips("folder", folder).splits.count("test") == 3
    assert "groups are unknown" in caplog.text


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["label,split", "run,train"], "no column path"),
        (["path;label", "run/0.mp4;run"], "no column path"),
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
        (["path,label,split", "run/0.mp4,run,"], "line 2: split '' is unknown"),
        (["path,label", "run/0.mp4,r\0un"], "line 2: holds a zero byte"),
        (["path,label", 'run/0.mp4,"run'], "not readable as comma-separated UTF-8 text"),
        (
            ["path,label,group,split", "run/0.mp4,run,ann,train", "run/1.mp4,run,ann,test", "run/2.mp4,run,bob,test"],
            r"two sides of the split: ann \(test and train\)",
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
    with pytest.raises(InputError, match="not readable as comma-separated UTF-8 text"):
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
