"""UCF-11, HMDB-51, Hollywood2 and UCF-101 as they are distributed: lists, counts, the whole way to a trained model."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.registry import list_clips
from data_prep.datasets.splits import hold_out_validation
from data_prep.datasets.ucf11 import official_clips
from data_prep.features.extraction import extract
from data_prep.features.opening import open_features
from experiments.runs.config import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    ReleasedConfig,
    RunConfig,
    TrainingConfig,
)
from experiments.runs.training import train

OFFICIAL = {  # (data set, split): train, test, classes
    ("ucf11", ""): (975, 625, 11),
    ("hmdb51", "1"): (3570, 1530, 51),
    ("hmdb51", "2"): (3570, 1530, 51),
    ("hmdb51", "3"): (3570, 1530, 51),
    ("hollywood2", ""): (823, 884, 12),
    ("ucf101", "1"): (9537, 3783, 101),
    ("ucf101", "2"): (9586, 3734, 101),
    ("ucf101", "3"): (9624, 3696, 101),
}
ON_DISK = {  # train, test of the miniatures, split 1
    "ucf11": (34, 11 + 1),  # groups 1, 2, 3 and v_shooting_25_06, which is test as v_shooting_24_01 is
    "hmdb51": (102, 51),
    "hollywood2": (48, 22),
    "ucf101": (202, 101),
}


@pytest.mark.parametrize(("dataset", "split"), OFFICIAL)
@pytest.mark.slow
def test_official_numbers(miniature, dataset, split):
    found = list_clips(dataset, miniature(dataset), split=split, allow_missing=True)
    listed = [*found.clips, *found.missing]
    train, test, classes = OFFICIAL[dataset, split]
    assert Counter(clip.split for clip in listed) == {"train": train, "test": test}
    assert len(found.class_names) == classes and list(found.class_names) == sorted(found.class_names)
    assert len({clip.path for clip in listed}) == train + test
    if dataset == "hmdb51":
        assert set(Counter((clip.labels, clip.split) for clip in listed).values()) == {70, 30}


def test_ucf11_has_the_published_names_and_the_groups_decide(shared):
    published = shared("data/ucf11/clips.txt").read_text().split()
    official = official_clips()
    assert sorted(published) == sorted(f"{c}/{name[:-3]}/{name}.mpg" for name, (c, _) in official.items())
    test = {name for name, (_, group) in official.items() if group in (8, 12, 14, 17, 18, 21, 22, 23, 24, 25)}
    assert len(test) == 625 and "v_biking_08_01" in test and "v_biking_07_02" not in test


def test_hollywood2_has_the_published_labels(miniature):
    found = list_clips("hollywood2", miniature("hollywood2"), allow_missing=True)
    listed = [*found.clips, *found.missing]
    assert found.multi_label
    assert Counter(len(clip.labels) for clip in listed) == {1: 1548, 2: 152, 3: 7}
    by_class = Counter((label, clip.split) for clip in listed for label in clip.labels)
    assert (by_class["AnswerPhone", "train"], by_class["AnswerPhone", "test"]) == (66, 64)
    assert (by_class["SitUp", "train"], by_class["SitDown", "test"]) == (24, 108)
    assert found.class_names.index("SitDown") < found.class_names.index("SitUp")


@pytest.mark.slow
def test_groups(miniature):
    groups = {}
    for dataset in ("ucf11", "hmdb51", "ucf101"):
        found = list_clips(dataset, miniature(dataset), allow_missing=True)
        groups[dataset] = {Path(clip.path).stem: clip.group for clip in [*found.clips, *found.missing]}
    assert groups["ucf11"]["v_biking_07_02"] == "07"
    assert groups["ucf101"]["v_YoYo_g08_c01"] == "g08"
    hmdb = groups["hmdb51"]
    assert hmdb["April_09_brush_hair_u_nm_np1_ba_goo_0"] == "brush_hair/April_09"
    assert hmdb["prelinger_LetsBeGo1953_wave_u_cm_np10_ba_med_2"] == "wave/prelinger_LetsBeGo1953"  # ten people
    assert len(set(hmdb.values())) == 2023


@pytest.mark.parametrize("dataset", ["ucf11", "hmdb51", "ucf101"])
@pytest.mark.parametrize("split", ["1", "2", "3"])
def test_validation_is_held_out_by_group(miniature, dataset, split):
    found = list_clips(dataset, miniature(dataset), split="" if dataset == "ucf11" else split, allow_missing=True)
    listed = [*found.clips, *found.missing]
    labels = np.array([[name in clip.labels for name in found.class_names] for clip in listed])
    groups, splits = [clip.group for clip in listed], [clip.split for clip in listed]
    held = hold_out_validation(labels, groups, splits)
    sides = {}
    for group, side in zip(groups, held, strict=True):
        sides.setdefault(group, set()).add(side)
    assert all(len(of_group) == 1 for of_group in sides.values())
    assert [side == "test" for side in held] == [side == "test" for side in splits]
    assert 0.1 < held.count("validation") / splits.count("train") < 0.2


def tiny_run(features, model) -> RunConfig:
    values = dict(features=str(features), num_steps=2, fps=25.0, model=model, hidden_dim=4, num_layers=1)
    values |= dict(batch_size=64, epochs=1)
    parts = (DataConfig, ModelConfig, ReleasedConfig, ObjectiveConfig, TrainingConfig)
    return RunConfig(*(p(**{f.name: values[f.name] for f in dataclasses.fields(p) if f.name in values}) for p in parts))


@pytest.mark.slow
@pytest.mark.parametrize("dataset", list(ON_DISK))
def test_from_the_directory_to_one_epoch(miniature, fake_network, tmp_path, dataset):
    found = list_clips(dataset, miniature(dataset), allow_missing=True)
    done = extract(found, fake_network, tmp_path / "features.h5")
    assert done.num_lost == (dataset == "ucf11")  # v_shooting_24_01
    file = open_features(tmp_path / "features.h5")
    train_clips, test_clips = ON_DISK[dataset]
    assert Counter(file.splits) == {"train": train_clips - (dataset == "ucf11"), "test": test_clips}
    assert len(file.class_names) == max(count for (name, _), (*_, count) in OFFICIAL.items() if name == dataset)
    assert set(file.num_frames) == {2}
    assert dataset != "hmdb51" or set("#(!&;[@") <= set("".join(file.names))
    assert f"-without{len(found.missing)}-" in file.split_id
    model = "soft_attention" if dataset == "hmdb51" else "softmax_regression"  # compiles in less time
    line = train(tiny_run(tmp_path / "features.h5", model), tmp_path / "run")
    assert np.isfinite(line["loss"]) and line["held_out"]["num_videos"] > 0


def test_a_missing_clip_is_named(make_ucf11, tmp_path):
    folder = make_ucf11(tmp_path)
    with pytest.raises(
        InputError, match=r"1554 of 1600 clips are missing: .*/v_shooting_01_02.mpg, .* and 1504 more; --al"
    ):
        list_clips("ucf11", folder)
    found = list_clips("ucf11", folder, allow_missing=True)
    assert (len(found.clips), len(found.missing)) == (46, 1554)


def test_ucf11_in_its_other_layout(make_ucf11, tmp_path):
    avi = list_clips("ucf11", make_ucf11(tmp_path / "avi", "action_youtube_naudio"), allow_missing=True)
    mpg = list_clips("ucf11", make_ucf11(tmp_path / "mpg"), allow_missing=True)
    assert "action_youtube_naudio/walking/v_walk_dog_08/v_walk_dog_08_01.avi" in [clip.path for clip in avi.clips]

    def without_folder(found):
        return {(Path(c.path).stem, c.labels, c.group, c.split) for c in found.clips}

    assert without_folder(avi) == without_folder(mpg)
    both = make_ucf11(tmp_path / "avi")
    with pytest.raises(InputError, match=r"are the same clip in different files; let --data_dir be a folder with one"):
        list_clips("ucf11", both, allow_missing=True)


def test_a_second_copy_and_linked_folders_do_no_harm(miniature, make_ucf11, tmp_path):
    make_ucf11(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "backup")
    (tmp_path / "b" / "linked").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "round").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "v_biking_05_01.mpg").symlink_to(tmp_path / "nowhere")
    found = list_clips("ucf11", tmp_path / "b", allow_missing=True)
    assert len(found.clips) == 46
    assert {clip.path.split("/")[0] for clip in found.clips} == {"backup"}


@pytest.mark.parametrize("dataset", list(ON_DISK))
def test_an_empty_folder_is_told_what_it_should_hold(tmp_path, dataset):
    words = {"ucf11": "UCF11_updated_mpg", "hmdb51": "testTrainMulti_7030_splits", "hollywood2": "ClipSets"}
    with pytest.raises(InputError, match=words.get(dataset, "ucfTrainTestlist")):
        list_clips(dataset, tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder; it should be the data set's, as it is distributed"):
        list_clips(dataset, tmp_path / "nowhere")


def test_unknown_splits(miniature):
    with pytest.raises(InputError, match="split=4: HMDB-51 has the splits 1, 2, 3"):
        list_clips("hmdb51", miniature("hmdb51"), split="4")
    with pytest.raises(InputError, match="split=1: UCF-11 has one split; omit --split"):
        list_clips("ucf11", miniature("ucf11"), split="1")


def replace_in(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("dataset", "name", "old", "new", "message"),
    [
        ("hmdb51", "wave_test_split1.txt", ".avi 1", ".avi 2", "lists 69 train instead of 70, 31 test instead of 30"),
        ("hmdb51", "wave_test_split1.txt", ".avi 1", ".avi 3", "has '3' instead of 1 .train., 2 .test. or 0"),
        ("hmdb51", "wave_test_split1.txt", ".avi 1", ".avi", "line 2: .* should be like 'some_clip.avi 1'"),
        ("ucf101", "testlist01.txt", "YoYo/v_YoYo_g01_c01.avi\n", "", "9537 train .* 9537, 3782 test .* 3783"),
        ("ucf101", "trainlist01.txt", "YoYo/v_YoYo_g08_c01.avi 101", "YoYo/v_YoYo_g08_c01.avi 100", "not fit classInd"),
        ("ucf101", "trainlist01.txt", "YoYo/v_YoYo_g08", "../v_YoYo_g08", "does not fit classInd.txt"),
        ("ucf101", "classInd.txt", "101 YoYo\n", "", "100 classes instead of 101"),
        ("hollywood2", "Run_test.txt", "  -1", "  0", "actioncliptest.* should have 1 or -1"),
        ("hollywood2", "Run_test.txt", "actioncliptest00001", "actioncliptest99999", "names other clips than"),
    ],
)  # fmt: skip
def test_damaged_lists_are_refused(miniature, tmp_path, dataset, name, old, new, message):
    for lists in ("testTrainMulti_7030_splits", "ucfTrainTestlist", "Hollywood2/ClipSets"):
        if (miniature(dataset) / lists).is_dir():
            shutil.copytree(miniature(dataset) / lists, tmp_path / lists)
    (path,) = tmp_path.rglob(name)
    path.write_text(path.read_text())  # with plain line ends
    replace_in(path, old, new)
    with pytest.raises(InputError, match=message):
        list_clips(dataset, tmp_path, allow_missing=True)


def test_a_class_without_its_list(miniature, tmp_path):
    lists = tmp_path / "testTrainMulti_7030_splits"
    shutil.copytree(miniature("hmdb51") / lists.name, lists)
    (lists / "wave_test_split1.txt").unlink()
    with pytest.raises(InputError, match="lists of split 1 for 50 classes instead of 51"):
        list_clips("hmdb51", tmp_path)


def test_lists_and_no_clips(miniature, tmp_path):
    shutil.copytree(miniature("ucf101") / "ucfTrainTestlist", tmp_path / "ucfTrainTestlist")
    with pytest.raises(InputError, match="not one of the 13320 clips is there: ApplyEyeMakeup/"):
        list_clips("ucf101", tmp_path, allow_missing=True)
