"""Features as a TFDS data set: what is written, what TFDS finds, and that training sees what the features file has."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from attention_ar.errors import InputError
from attention_ar.training.parallel import choose
from data_prep import tfds_builders
from data_prep.features import record_export, record_files
from data_prep.features.contents import FeaturesFile
from data_prep.features.opening import open_features
from data_prep.features.record_export import export_records
from data_prep.loading.batches import load_batches
from data_prep.loading.block_table import cut_blocks, epoch_order
from data_prep.loading.feature_stores import OnDisk

CLASSES = [f"class {index:02d}" for index in range(11)]
SPLITS = ["train", "test", "train", "validation", "train", "test", "train"]  # not one after the other
LENGTHS = np.array([5, 1, 40, 3, 2, 33, 7])


def make_contents(multi_label=False, shape=(7, 7, 1024), classes=CLASSES, **changes) -> FeaturesFile:
    random = np.random.default_rng(0)
    count = len(LENGTHS)
    labels = np.eye(len(classes), dtype=np.uint8)[np.arange(count) % len(classes)]
    if multi_label:
        labels[:, 0] = 1
        labels[2] = 0
    contents = FeaturesFile(
        features=random.normal(size=(LENGTHS.sum(), *shape)).astype(np.float16),
        names=[f"run/ä#({index})!&.avi" for index in range(count)],
        first_row=np.cumsum(LENGTHS) - LENGTHS,
        num_frames=LENGTHS,
        native_fps=np.array([29.97, 25, 30000 / 1001, 24, 30, 30, 30]),
        fps=np.array([29.97, 25, 30000 / 1001, 24, 30, 30, 6]),
        labels=labels,
        groups=["g1", "", "g2", "", "g3", "", "g4"],
        splits=SPLITS,
        truncated=np.arange(count) == 2,
        class_names=list(classes),
        multi_label=multi_label,
        recipe={"network": "fake", "random": False, "mean": [104, 117, 123]},
        split_id="ucf11-groups-abc",
        data_dir="/data/my clips",
        plan_sha256="12ab",
    )
    return dataclasses.replace(contents, **changes)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The contents of a features file, and the folder of the data set made of them in shards of about two videos."""
    data_dir = tmp_path_factory.mktemp("tfds")
    done = export_records(make_contents(), data_dir, "ucf11_googlenet", shard_bytes=600_000)
    assert done.num_videos == {"train": 4, "validation": 1, "test": 2} and not done.already_complete
    return make_contents(), Path(done.folder)


@pytest.fixture
def copy(exported, tmp_path):
    """A copy of that folder, to be damaged."""
    target = tmp_path / "ucf11_googlenet" / "1.0.0"
    shutil.copytree(exported[1], target)
    return target


def assert_same(found: FeaturesFile, expected: FeaturesFile):
    for field in dataclasses.fields(FeaturesFile):
        if field.name != "features":
            np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), field.name)
            assert type(getattr(found, field.name)) is type(getattr(expected, field.name)), field.name
    assert found.features.shape == expected.features.shape and found.features.dtype == np.float16
    for first, count in zip(expected.first_row, expected.num_frames, strict=True):
        np.testing.assert_array_equal(found.features[first : first + count], expected.features[first : first + count])


def test_opens_as_the_features_file_does(exported):
    contents, folder = exported
    assert_same(open_features(folder), contents)
    assert_same(open_features(str(folder.parent)), contents)
    assert sorted(path.name for path in folder.iterdir()) == [
        "dataset_info.json",
        "features.json",
        "label.labels.txt",
        "metadata.json",
        "ucf11_googlenet-test.array_record-00000-of-00001",
        "ucf11_googlenet-train.array_record-00000-of-00002",
        "ucf11_googlenet-train.array_record-00001-of-00002",
        "ucf11_googlenet-validation.array_record-00000-of-00001",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        slice(5, 6),
        slice(6, 46),  # exactly one video
        slice(10, 30),
        slice(44, 52),  # three videos
        slice(None, None, 7),
        slice(-3, None),
        slice(4, 4),
        [90, 0, 5, 5, 46],
        np.array([], np.int64),
        -1,
        np.int64(17),
    ],
)
def test_rows_are_taken_as_from_an_array(exported, rows):
    contents, folder = exported
    features = open_features(folder).features
    np.testing.assert_array_equal(features[rows], contents.features[rows])
    assert len(features) == LENGTHS.sum() and features.ndim == 4 and features.size == contents.features.size


def test_rows_that_are_not_there(exported):
    features = open_features(exported[1]).features
    for rows in ([0, 91], [-92]):
        with pytest.raises(IndexError, match="there are 91"):
            features[rows]
    with pytest.raises(TypeError, match="float64"):
        features[[0.5]]


def test_a_video_is_read_once_and_not_copied(exported, monkeypatch):
    features = open_features(exported[1]).features
    fetched, fetch = [], features._records._fetch
    monkeypatch.setattr(features._records, "_fetch", lambda video: fetched.append(video) or fetch(video))
    whole = features[6:46]
    assert np.shares_memory(features[10:20], whole) and features[6:46] is whole
    features[[0, 45, 1]]
    assert fetched == [2, 0]
    features._records._cache_bytes = 1  # but the last record stays
    features[46:49], features[46:49], features[6:46]
    assert fetched == [2, 0, 3, 2]


def test_many_threads_read_the_same(exported):
    contents, folder = exported
    features, wrong = open_features(folder).features, []

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(10):
            rows = random.integers(len(features), size=5)
            if not np.array_equal(features[rows], contents.features[rows]):
                wrong.append(rows)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_same_blocks_in_the_same_order(exported):
    """An epoch of training batches, bit by bit."""
    contents, folder = exported

    def epoch(file):
        videos = [v for v, split in enumerate(file.splits) if split == "train"]
        blocks = cut_blocks(file, videos, num_steps=4, fps=6, stride=3)
        order = epoch_order(blocks.video, seed=1, epoch=2)
        loaded = load_batches(OnDisk(file, np.float32), blocks, order, 3, choose("jit"))
        return [{name: np.array(array) for name, array in batch.arrays.items()} for batch in loaded]

    ours, theirs = epoch(open_features(folder)), epoch(contents)
    assert len(ours) == len(theirs) > 2
    for one, other in zip(ours, theirs, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], name)


def test_tfds_finds_it_by_name(exported):
    contents, folder = exported
    data_dir = folder.parents[1]
    builder = tfds.builder("ucf11_googlenet", data_dir=data_dir)
    assert isinstance(builder, tfds_builders.Ucf11Googlenet)
    assert builder.info.features["label"].names == CLASSES
    assert builder.info.metadata["recipe"] == contents.recipe and builder.info.metadata["split_id"] == contents.split_id
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 4,
        "validation": 1,
        "test": 2,
    }
    source = tfds.data_source("ucf11_googlenet", data_dir=data_dir, split="train")
    assert [item["name"].decode() for item in source] == [contents.names[v] for v in (0, 2, 4, 6)]
    third = source[2]
    np.testing.assert_array_equal(third["features"], contents.features[49:51])
    assert third["features"].dtype == np.float16
    assert (third["label"], third["group"].decode(), third["truncated"]) == (4, "g3", False)
    assert (source[3]["fps"], source[3]["native_fps"], source[1]["truncated"]) == (6.0, 30.0, True)
    assert "tensorflow" not in sys.modules


def test_the_four_names():
    assert sorted(tfds_builders.BUILDERS) == [
        "hmdb51_googlenet",
        "hollywood2_googlenet",
        "ucf101_googlenet",
        "ucf11_googlenet",
    ]


def test_names_follow_from_the_folder_without_our_package(exported):
    """Another process, that imports TFDS alone."""
    program = (
        "import sys, tensorflow_datasets as tfds\n"
        f"builder = tfds.builder('ucf11_googlenet', data_dir={str(exported[1].parents[1])!r})\n"
        "item = builder.as_data_source('test')[1]\n"
        "print(type(builder).__name__, item['features'].shape, item['label'], 'data_prep' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd="/")
    assert found.stdout.split("\n")[0] == "ReadOnlyBuilder (33, 7, 7, 1024) 5 False", found.stderr


def test_several_labels(tmp_path):
    """Hollywood2's kind; one clip has no label at all."""
    contents = make_contents(multi_label=True, classes=CLASSES + ["class 11"])
    tfds_builders.check_fits("hollywood2_googlenet", contents)
    done = export_records(contents, tmp_path, "hollywood2_googlenet")
    assert_same(open_features(done.folder), contents)
    source = tfds.data_source("hollywood2_googlenet", data_dir=tmp_path, split="train")
    assert [list(item["labels"]) for item in source] == [[0], [], [0, 4], [0, 6]]


def test_a_name_is_not_given_to_other_features():
    tfds_builders.check_fits("my_googlenet", make_contents())
    with pytest.raises(InputError, match=r"name=ucf101_googlenet: that has 101 classes.*these have 11 classes"):
        tfds_builders.check_fits("ucf101_googlenet", make_contents())
    with pytest.raises(InputError, match="several a clip, and 7×7×1024; choose another name"):
        tfds_builders.check_fits("ucf11_googlenet", make_contents(multi_label=True))


def test_what_is_not_there_is_said_with_the_command(tmp_path):
    with pytest.raises(InputError, match=r"hmdb51_googlenet/1.0.0: no data set; python -m data_prep.export_tfds .*"):
        tfds.data_source("hmdb51_googlenet", data_dir=tmp_path)


class _Stopped(Exception):
    pass


def test_a_killed_export_goes_on(exported, tmp_path, monkeypatch):
    contents, folder = exported
    write, written = record_export.write_shard, []

    def write_two(path, examples, spec):
        if len(written) == 2:
            with record_files.appears_whole(path) as beside:
                beside.write_bytes(b"half a shard")
                raise _Stopped
        written.append(path.name)
        return write(path, examples, spec)

    arguments = (contents, tmp_path, "ucf11_googlenet", 600_000)
    with monkeypatch.context() as patch:
        patch.setattr(record_export, "write_shard", write_two)
        with pytest.raises(_Stopped):
            export_records(*arguments)
    begun = tmp_path / "ucf11_googlenet" / "1.0.0"
    with pytest.raises(InputError, match="is not finished; run the command that began it"):
        open_features(begun)
    other = dataclasses.replace(contents, split_id="another")
    with pytest.raises(InputError, match="was begun from another features file"):
        export_records(other, *arguments[1:])
    (begun / "left-by-a-kill.partial").touch()

    again = []
    monkeypatch.setattr(record_export, "write_shard", lambda path, *rest: again.append(path.name) or write(path, *rest))
    export_records(*arguments)
    assert len(again) == 2 and not set(again) & set(written)
    assert sorted(os.listdir(begun)) == sorted(os.listdir(folder))
    for path in folder.iterdir():
        assert path.name == "dataset_info.json" or path.read_bytes() == (begun / path.name).read_bytes(), path.name
    assert export_records(*arguments).already_complete
    with pytest.raises(InputError, match="holds another data set"):
        export_records(other, *arguments[1:])


def test_folders_and_names_that_are_refused(exported, tmp_path):
    contents = exported[0]
    for name in ("../elsewhere", "UCF11", "a b", "", "a/b", "_x"):
        with pytest.raises(InputError, match="must be lower-case words joined by _"):
            export_records(contents, tmp_path, name)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine_googlenet" / "1.0.0").mkdir(parents=True)
    (tmp_path / "mine_googlenet" / "1.0.0" / "letter.txt").touch()
    with pytest.raises(InputError, match="holds other files; delete it"):
        export_records(contents, tmp_path, "mine_googlenet")
    with pytest.raises(InputError, match=r"1.0.0: no data set of features \(dataset_info.json and metadata.json\)"):
        open_features(tmp_path / "mine_googlenet" / "1.0.0")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/x_googlenet/1.0.0: cannot be written \(Not a directory\)"):
        export_records(contents, tmp_path / "file", "x_googlenet")


def test_two_versions_must_be_told_apart(copy):
    shutil.copytree(copy, copy.with_name("2.0.0"))
    with pytest.raises(InputError, match=r"ucf11_googlenet: holds several data sets \(1.0.0, 2.0.0\); name one"):
        open_features(copy.parent)


def test_too_long_a_video_is_refused():
    rows = np.broadcast_to(np.float16(0), (20_000, 7, 7, 1024))
    with pytest.raises(
        InputError, match=r"run/ä#\(0\)!&.avi: 20000 frames are 2.0 GB, and a record holds 2 GB; extract"
    ):
        record_files.example(make_contents(), 0, rows)


def change(about, *path, value):
    for key in path[:-1]:
        about = about[key]
    about[path[-1]] = value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda about: about.pop("recipe"), "no 'recipe'"),
        (lambda about: about["videos"].pop("fps"), "no 'fps'"),
        (lambda about: change(about, "videos", "name", 1, value="../../etc/passwd"), "leaves the folder of clips"),
        (lambda about: change(about, "videos", "name", 1, value=3), "name is no list of texts"),
        (lambda about: change(about, "videos", "split", 1, value="tset"), "records; export it again"),
        (lambda about: change(about, "videos", "num_frames", 1, value=0), "a clip has no frames"),
        (lambda about: change(about, "videos", "num_frames", value=[5]), "not what data_prep.export_tfds writes"),
        (lambda about: change(about, "videos", "fps", 0, value=-1), "a frame rate is not positive"),
        (lambda about: change(about, "videos", "labels", 0, value=[11]), "not what data_prep.export_tfds writes"),
        (lambda about: change(about, "videos", "labels", 0, value=[]), "a clip has not exactly one label"),
        (lambda about: change(about, "shards", "train", value=[1]), "records; export it again"),
        (lambda about: change(about, "shards", "train", value=[5, -1]), "records; export it again"),
        (lambda about: change(about, "shards", value={"../x": [7]}), "records; export it again"),
        (lambda about: change(about, "shards", value=[]), "not what data_prep.export_tfds writes"),
        (lambda about: change(about, "feature_shape", value=[7, 6, 8]), r"must be \[K, K, D\]"),
        (lambda about: change(about, "recipe", value={}), "does not say whether the network is random"),
        (lambda about: change(about, "class_names", value="eleven chrs"), "class_names is no list of names"),
    ],
)
def test_metadata_that_is_wrong(copy, damage, message):
    about = json.loads((copy / "metadata.json").read_text())
    damage(about)
    (copy / "metadata.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=message) as caught:
        open_features(copy)
    assert str(caught.value).startswith(str(copy)) and "\n" not in str(caught.value)


def test_metadata_that_is_no_json(copy):
    for text in ("", "{", "[]", "\x00", "[" * 100_000):
        (copy / "metadata.json").write_text(text)
        with pytest.raises(InputError, match=r"not what data_prep.export_tfds writes") as caught:
            open_features(copy)
        assert "\n" not in str(caught.value)
    (copy / "metadata.json").unlink()
    with pytest.raises(InputError, match="no data set of features"):
        open_features(copy)


@pytest.mark.parametrize("how", ["missing", "cut off", "garbage", "another's"])
def test_shards_that_are_damaged(copy, how):
    shard = copy / "ucf11_googlenet-train.array_record-00000-of-00002"
    if how == "missing":
        shard.unlink()
    elif how == "cut off":
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    elif how == "garbage":
        shard.write_bytes(np.random.default_rng(0).bytes(100_000))
    else:
        shutil.copy(copy / "ucf11_googlenet-validation.array_record-00000-of-00001", shard)
    features = open_features(copy).features
    features[49:51]  # another shard's
    with pytest.raises(InputError, match=r"1.0.0: the record of run/ä#\(0\)!&.avi .*export it again") as caught:
        features[0:5]
    assert "\n" not in str(caught.value)


def test_a_hostile_features_json_imports_nothing(copy):
    """TFDS's own reader would import the module that this file names; opening a data set does not look at it."""
    (copy / "features.json").write_text(json.dumps({"pythonClassName": "antigravity.Feature", "content": "{}"}))
    assert_same(open_features(copy), make_contents())
    assert "antigravity" not in sys.modules


def test_buckets_are_not_taken_for_files(monkeypatch):
    """No Path() or abspath() comes between the address and the library that reads buckets."""
    asked = []

    class Bucket:
        def __init__(self, path):
            asked.append(str(path))
            self.path = str(path)

        def is_dir(self):
            return False

        def __str__(self):
            return self.path

    monkeypatch.setattr("data_prep.features.record_rows.epath.Path", Bucket)
    with pytest.raises(InputError, match=r"gs://lab/features/ucf11_googlenet/1.0.0: no such file or folder"):
        open_features("gs://lab/features/ucf11_googlenet/1.0.0")
    assert asked == ["gs://lab/features/ucf11_googlenet/1.0.0"]


@pytest.mark.slow
def test_program(exported, tmp_path):
    from data_prep.features.hdf5_file import write_features

    write_features(tmp_path / "features.h5", exported[0])

    def run(*arguments):
        command = [sys.executable, "-m", "data_prep.export_tfds", f"--features={tmp_path}/features.h5", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).resolve().parents[3]
        )

    found = run("--name=ucf11_googlenet", f"--data_dir={tmp_path}")
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{tmp_path}/ucf11_googlenet/1.0.0: 4 train, 1 validation, 2 test\n"
    assert_same(open_features(tmp_path / "ucf11_googlenet"), exported[0])
    splits = [split.replace("validation", "train") for split in SPLITS]
    write_features(tmp_path / "features.h5", make_contents(splits=splits))
    found = run("--name=held_googlenet", f"--data_dir={tmp_path}", "--validation_fraction=0.15")
    assert found.stdout == f"{tmp_path}/held_googlenet/1.0.0: 4 train, 1 validation, 2 test\n", found.stderr
    found = run("--name=ucf101_googlenet", f"--data_dir={tmp_path}")
    assert (found.returncode, found.stderr.count("\n")) == (1, 1) and "choose another name" in found.stderr


def test_a_kill_before_the_plan_was_written(exported, tmp_path):
    folder = tmp_path / "ucf11_googlenet" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "left-by-a-kill.partial").touch()
    assert not export_records(exported[0], tmp_path, "ucf11_googlenet").already_complete
    assert not list(folder.glob("*.partial"))


def test_an_address_that_cannot_be_read_is_not_a_damaged_shard(tmp_path, monkeypatch):
    from data_prep.features import record_files

    shard = record_files.epath.Path(tmp_path / "shard")
    shard.write_bytes(b"no records")
    assert record_files.count_records(shard) is None
    monkeypatch.setattr(record_files, "on_bucket", lambda path: True)
    with pytest.raises(InputError, match="shard: array_record cannot read it"):
        record_files.count_records(shard)
