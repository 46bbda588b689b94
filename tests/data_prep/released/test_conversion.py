"""The authors' data sets as features files and back: every number, in bounded memory, and what is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.contents import FeaturesFile
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.released import conversion
from data_prep.released.conversion import from_released, to_released
from data_prep.released.layout import ReleasedDataset, write_released_dataset

GOLDEN = Path(__file__).parents[2] / "golden"
T191 = GOLDEN / "t191_ucf11_adam/data/ucf11/dataset"


def cubes(num_frames, seed, num_maps=2):
    return np.random.default_rng(seed).uniform(0, 50, (num_frames, 49, num_maps)).astype(np.float32)


def write(folder, split, videos):
    """Writes videos of a name, a label and cubes."""
    write_released_dataset(folder, split, [(name, label, [chunk]) for name, label, chunk in videos])
    return folder


@pytest.fixture
def small(tmp_path):
    """Two videos to train on and one to test."""
    folder = tmp_path / "theirs"
    write(folder, "train", [("a.avi", 1, cubes(5, 0)), ("b.avi", 0, cubes(3, 1))])
    return write(folder, "test", [("c.avi", 2, cubes(4, 2))])


def our_contents(**changes) -> FeaturesFile:
    """Five clips of the three splits in no order, most with several labels."""
    num_frames = np.array([2, 1, 4, 3, 2])
    values = {
        "features": np.random.default_rng(0).normal(0, 9, (12, 7, 7, 3)).astype(np.float16),
        "names": ["x/1.avi", "y/2 (a).avi", "x/3.avi", "z/4.avi", "y/5.avi"],
        "first_row": np.cumsum(num_frames) - num_frames,
        "num_frames": num_frames,
        "native_fps": np.full(5, 25.0),
        "fps": np.full(5, 25.0),
        "labels": np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 1, 0]], np.uint8),
        "groups": list("ababc"),
        "splits": ["test", "train", "validation", "train", "test"],
        "truncated": np.zeros(5, bool),
        "class_names": ["eat", "run", "sit", "wave"],
        "multi_label": True,
        "recipe": {"network": "none", "random": False, "weights_sha256": "00"},
        "split_id": "ours",
        "data_dir": "/nowhere",
    }
    return FeaturesFile(**{**values, **changes})


def by_name(file: FeaturesFile) -> dict:
    """Of each clip its split, its labels and the bytes of its rows."""
    rows = [slice(first, first + count) for first, count in zip(file.first_row, file.num_frames, strict=True)]
    return {
        name: (split, labels.tolist(), file.features[row].tobytes())
        for name, split, labels, row in zip(file.names, file.splits, file.labels, rows, strict=True)
    }


def test_the_recorded_data_set(tmp_path):
    """Against the plain HDF5 files: cell i, map k is number i + 49·k of their row, and row i // 7, column i % 7."""
    from_released(T191, tmp_path / "f.h5", fps=25)
    file = open_features(tmp_path / "f.h5")
    assert file.features.shape == (162, 7, 7, 32)
    assert file.splits == 6 * ["train"] + 4 * ["validation"] + 4 * ["test"]
    assert file.names[0] == "class0/video_train_00.avi" and file.names[13] == "class3/video_test_03.avi"
    assert file.num_frames.tolist() == [12, 17, 11, 15, 11, 13, 4, 15, 13, 8, 14, 7, 14, 8]
    assert np.argmax(file.labels, axis=1).tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 0, 1, 2, 3]
    assert file.class_names == ["class00", "class01", "class02", "class03"] and not file.multi_label
    assert set(file.fps) == set(file.native_fps) == {25.0} and set(file.groups) == {""}
    assert (file.recipe["network"], file.recipe["random"], file.recipe["weights_sha256"]) == (
        "released layout",
        False,
        "",
    )
    row = 0
    for split in ("train", "valid", "test"):
        with h5py.File(T191 / f"{split}_features.h5") as theirs:
            for numbers in theirs["features"][:]:
                for cell in range(49):
                    expected = numbers[cell + 49 * np.arange(32)].astype(np.float16)
                    np.testing.assert_array_equal(file.features[row, cell // 7, cell % 7], expected)
                row += 1
    assert row == 162


def test_there_and_back_again(tmp_path):
    """Several labels, clips of all splits mixed: nothing of rows, labels and splits is lost, and the file is stable."""
    write_features(tmp_path / "ours.h5", our_contents())
    to_released(tmp_path / "ours.h5", tmp_path / "theirs")
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == sorted(
        f"{split}_{what}"
        for split in ("train", "valid", "test")
        for what in ("features.h5", "filename.txt", "framenum.txt", "labels.txt")
    )
    assert (tmp_path / "theirs/train_labels.txt").read_text() == "0,0,0,0\n1,0,0,0\n"
    from_released(tmp_path / "theirs", tmp_path / "again.h5", ["eat", "run", "sit", "wave"], fps=25)
    again = open_features(tmp_path / "again.h5")
    assert by_name(again) == by_name(our_contents()) and again.multi_label
    assert again.class_names == ["eat", "run", "sit", "wave"]
    to_released(tmp_path / "again.h5", tmp_path / "theirs again")
    from_released(tmp_path / "theirs again", tmp_path / "third.h5", ["eat", "run", "sit", "wave"], fps=25)
    assert (tmp_path / "third.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("ours.h5", "theirs", "again.h5", "theirs again", "third.h5")
    }


def test_one_label_there_and_back_again(tmp_path):
    labels = np.eye(4, dtype=np.uint8)[[2, 0, 1, 0, 2]]  # No clip has the last class.
    write_features(tmp_path / "ours.h5", our_contents(labels=labels, multi_label=False, splits=["test"] * 5))
    to_released(tmp_path / "ours.h5", tmp_path / "theirs")
    assert (tmp_path / "theirs/test_labels.txt").read_text() == "2\n0\n1\n0\n2\n"
    assert len(list((tmp_path / "theirs").iterdir())) == 4
    from_released(tmp_path / "theirs", tmp_path / "again.h5", ["eat", "run", "sit", "wave"])
    assert by_name(open_features(tmp_path / "again.h5")) == by_name(our_contents(labels=labels, splits=["test"] * 5))
    assert from_released(tmp_path / "theirs", tmp_path / "b.h5").class_names == ["class00", "class01", "class02"]


def test_long_videos_are_read_a_few_frames_at_a_time(tmp_path, monkeypatch):
    """2400 frames in videos that end nowhere near the pieces in which they are read and written."""
    lengths = [1, 1100, 127, 128, 129, 915]
    write(tmp_path / "theirs", "train", [(f"{i}.avi", i, cubes(n, i, 1)) for i, n in enumerate(lengths)])
    asked, read = [], ReleasedDataset.frames

    def frames(self, video, frames):
        asked.append(len(frames))
        return read(self, video, frames)

    monkeypatch.setattr(ReleasedDataset, "frames", frames)
    from_released(tmp_path / "theirs", tmp_path / "f.h5")
    assert max(asked) == 128 and sum(asked) == 2400 + 2  # Two tell the source.
    expected = np.concatenate([cubes(n, i, 1) for i, n in enumerate(lengths)]).astype(np.float16)
    np.testing.assert_array_equal(open_features(tmp_path / "f.h5").features.reshape(2400, 49, 1), expected)
    to_released(tmp_path / "f.h5", tmp_path / "back")
    with h5py.File(tmp_path / "back/train_features.h5") as file:
        np.testing.assert_array_equal(file["features"][:], expected.reshape(2400, 49).astype(np.float32))


def test_a_hundred_and_one_classes_are_named_in_order(tmp_path):
    write(tmp_path / "a", "train", [("a.avi", 100, cubes(1, 0))])
    names = from_released(tmp_path / "a", tmp_path / "f.h5").class_names
    assert names[0] == "class000" and names[100] == "class100" and names == sorted(names)


def test_the_source_is_told_from_another(tmp_path, small):
    """By contents, not by place."""
    found = from_released(small, tmp_path / "a.h5").recipe["source_sha256"]
    moved = small.rename(tmp_path / "elsewhere")
    assert from_released(moved, tmp_path / "b.h5").recipe["source_sha256"] == found
    write(moved, "test", [("c.avi", 2, cubes(4, 3))])
    assert from_released(moved, tmp_path / "c.h5").recipe["source_sha256"] != found


@pytest.mark.parametrize(
    ("split", "videos", "message"),
    [
        (
            "valid",
            [("c.avi", 2, cubes(4, 2))],
            r"named twice: c.avi \(in valid and test\); .* leave out a split's four",
        ),
        ("train", [("a", 0, cubes(1, 0)), ("a", 0, cubes(1, 0))], r"named twice: a \(in train and train\)"),
        ("valid", [("d.avi", 0, cubes(1, 0, 3))], "train has 2, valid has 3, test has 2 feature maps; must be equally"),
        ("valid", [("d.avi", [0, 1], cubes(1, 0))], "train has 1, valid has 2, test has 1 numbers a line of labels"),
        (
            "valid",
            [("d.avi", 0, cubes(1, 0)), ("e.avi", 0, np.full((200, 49, 2), np.nan))],
            "e.avi: holds a feature th",
        ),
        ("valid", [("d.avi", 0, np.full((1, 49, 2), -65520.0))], r"d.avi: .* not within ±65504"),
        ("valid", [("d.avi", 0, np.full((1, 49, 2), np.inf))], r"d.avi: .* not finite"),
    ],
)
def test_data_sets_that_are_refused(tmp_path, small, split, videos, message):
    write(small, split, videos)
    with pytest.raises(InputError, match=message) as caught:
        from_released(small, tmp_path / "f.h5")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [small]


def test_the_largest_number_of_float16_is_not_refused(tmp_path, small):
    write(small, "valid", [("d.avi", 0, np.full((1, 49, 2), 65519.0))])
    assert from_released(small, tmp_path / "f.h5").names == ["a.avi", "b.avi", "d.avi", "c.avi"]
    assert open_features(tmp_path / "f.h5").features.max() == 65504


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": "none"}, "none: no such folder; must hold the authors' files"),
        ({"folder": "."}, "none of train_features.h5, valid_features.h5, test_features.h5 is in it"),
        ({"output": "f.npz"}, "must end in .h5"),
        ({"output": "theirs/test_features.h5"}, "test_features.h5: exists already; name another file"),
        ({"class_names": ["a", "b"]}, "class_names: 2 names; the labels go up to class 2"),
        ({"class_names": ["a", "b", "a"]}, "class_names=a,b,a: each must be there once"),
        ({"class_names": ["a", "b", ""]}, "none be empty"),
        ({"fps": 0.0}, "fps=0: must be a positive number"),
        ({"fps": float("nan")}, "fps=nan: must be a positive number"),
    ],
)
def test_arguments_that_are_refused(tmp_path, small, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        from_released(**{"folder": small, "output": "f.h5", **arguments})
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_file_is_named(tmp_path, small):
    (small / "test_features.h5").unlink()
    with pytest.raises(InputError, match=r"test_features\.h5: missing"):
        from_released(small, tmp_path / "f.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": np.zeros((12, 3, 3, 2), np.float16)}, "has 3×3 cells a frame; the authors' layout has 7×7"),
        ({"labels": np.ones((5, 1), np.uint8), "class_names": ["eat"]}, "several labels a clip, but one class"),
        ({"names": ["a", "b ", "c", "d", "e"]}, "'b ': the authors' layout has no spaces around a name"),
        ({"names": ["a", "b", "../c", "d", "e"]}, "'../c' leaves the folder of clips"),
        ({"features": np.full((12, 7, 7, 2), np.inf, np.float16)}, "y/2 .*: holds a feature that is not finite"),
    ],
)
def test_features_files_that_are_refused(tmp_path, changes, message):
    write_features(tmp_path / "ours.h5", our_contents(**changes))
    with pytest.raises(InputError, match=message) as caught:
        to_released(tmp_path / "ours.h5", tmp_path / "theirs")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["ours.h5"]


def test_nothing_in_a_folder_is_overwritten(tmp_path, small):
    write_features(tmp_path / "ours.h5", our_contents())
    for target in (small, tmp_path / "ours.h5"):
        with pytest.raises(InputError, match="is there already and not empty; name another folder"):
            to_released(tmp_path / "ours.h5", target)
    (tmp_path / "empty").mkdir()
    to_released(tmp_path / "ours.h5", tmp_path / "empty")
    assert len(list((tmp_path / "empty").iterdir())) == 12


def test_too_small_a_disk(tmp_path, small, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=2000)
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"f.h5 needs 0.00 GB and .* has 0.00 GB free; make room"):
        from_released(small, tmp_path / "f.h5")


@pytest.mark.slow
def test_as_a_user_types_it(tmp_path):
    def convert(*arguments):
        command = [sys.executable, "-m", "data_prep.convert_released", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    there = convert(f"--from_released={T191}", "--output=f.h5", "--class_names=a,b,c,d", "--fps=24")
    assert there.returncode == 0, there.stderr
    assert "6 train, 4 validation, 4 test; classes a, b, c, d" in there.stdout and "float16" in there.stdout
    back = convert("--features=f.h5", "--to_released=back")
    assert back.returncode == 0, back.stderr
    assert "classes by number: 0 a, 1 b, 2 c, 3 d" in back.stdout
    assert "NOTE: their program takes all videos to have 30 frames per second; these have 24" in back.stdout
    assert (tmp_path / "back/test_filename.txt").read_bytes() == (T191 / "test_filename.txt").read_bytes()
    wrong = convert("--features=f.h5", "--from_released=back", "--output=g.h5")
    assert wrong.returncode == 1 and wrong.stdout == ""
    assert wrong.stderr.startswith("error: give either --from_released=DIR --output=FILE")
    assert wrong.stderr.count("\n") == 1
