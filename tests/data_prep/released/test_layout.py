"""The authors' data set layout: the recorded one, what may be wrong with one, and ours."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.released.layout import (
    parse_frame_counts,
    parse_labels,
    read_released_dataset,
    write_released_dataset,
)

RECORDED = Path(__file__).parents[2] / "golden/data_handler_set"
MAPS = 2


def cubes(num_frames, seed):
    return np.random.RandomState(seed).randn(num_frames, 49, MAPS).astype(np.float32)


VIDEOS = [("a/one.avi", 1, 5), ("a/two.avi", 0, 1), ("b/three.avi", 12, 7)]


def write(folder, videos=VIDEOS, split="train"):
    def chunks(count, seed):
        yield from np.array_split(cubes(count, seed), 2) if count > 1 else [cubes(count, seed)]

    write_released_dataset(folder, split, [(name, label, chunks(n, s)) for s, (name, label, n) in enumerate(videos)])


def change(folder, what, content):
    (folder / f"train_{what}").write_text(content)


def test_the_recorded_set():
    """Its number of global row g and flat index k is g + k/65536, exactly."""
    dataset = read_released_dataset(RECORDED, "test")
    assert dataset.names[1] == "class7/video_test_01.avi" and dataset.num_maps == 1024 and not dataset.multi_label
    assert dataset.frame_counts.tolist() == [35, 12, 90, 64] and dataset.labels.tolist() == [0, 7, 10, 3]
    block = dataset.frames(1, [0, 5, 10, 10])
    assert block.shape == (4, 49, 1024) and block.dtype == np.float32
    cell, feature_map = np.meshgrid(np.arange(49), np.arange(1024), indexing="ij")
    expected = np.array([35, 40, 45, 45])[:, None, None] + (cell + 49 * feature_map)[None] * 2.0**-16
    np.testing.assert_array_equal(block, expected.astype(np.float32))


def test_written_and_read_again(tmp_path):
    write(tmp_path)
    assert (tmp_path / "train_framenum.txt").read_text() == "5\n1\n7\n"
    assert (tmp_path / "train_labels.txt").read_text() == "1\n0\n12\n"
    assert (tmp_path / "train_filename.txt").read_text() == "a/one.avi\na/two.avi\nb/three.avi\n"
    assert len(list(tmp_path.iterdir())) == 4
    with h5py.File(tmp_path / "train_features.h5") as file:
        rows = file["features"][:]
    assert rows.shape == (13, 49 * MAPS) and rows.dtype == np.float32
    assert rows[5, 3 + 49 * 1] == cubes(1, 1)[0, 3, 1]
    dataset = read_released_dataset(tmp_path, "train")
    for video, (_, label, count) in enumerate(VIDEOS):
        assert dataset.labels[video] == label
        np.testing.assert_array_equal(dataset.frames(video, np.arange(count)), cubes(count, video))
    np.testing.assert_array_equal(dataset.frames(2, [6, 2, 4, 4]), cubes(7, 2)[[6, 2, 4, 4]])


def test_several_labels(tmp_path):
    write(tmp_path, [("a", [1, 0, 1], 2), ("b", [0, 0, 0], 1)])
    assert (tmp_path / "train_labels.txt").read_text() == "1,0,1\n0,0,0\n"
    dataset = read_released_dataset(tmp_path, "train")
    assert dataset.multi_label and dataset.labels.tolist() == [[1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("text", ["3\n7\n10\n", "3\n7\n10", "3\r\n7\r\n10\r\n", " 3 \n7\n10\n\n"])
def test_the_final_newline_is_no_matter(text):
    """Without one the program raises, or reads 10 as 1."""
    assert parse_labels(text).tolist() == [3, 7, 10]
    assert parse_frame_counts(text).tolist() == [3, 7, 10]
    several = text.replace("3", "1,0").replace("7", "0,0").replace("10", "1,1", 1) if "10\n" not in text else "1,0\n1,1"
    assert parse_labels(several).tolist()[-1] == [1, 1]


def test_frames_beyond_the_video(tmp_path):
    write(tmp_path)
    dataset = read_released_dataset(tmp_path, "train")
    for frames in ([5], [-1], [0, 6]):
        with pytest.raises(IndexError, match="has 5 frames"):
            dataset.frames(0, frames)


@pytest.mark.parametrize(
    ("what", "content", "message"),
    [
        ("framenum.txt", "5\n0\n8\n", r"train_framenum.txt: line 2: a video without frames; leave it out of all four"),
        ("framenum.txt", "5\n1\n8\n", "`features` has 13 rows, but the videos have 14 frames"),
        ("framenum.txt", "5\n1\n", "3 names, 2 frame numbers and 3 labels; must be one line a video"),
        ("framenum.txt", "5\none\n7\n", "line 2: 'one': must be a whole number"),
        ("framenum.txt", "5\n\n7\n", "line 2: '': must be a whole number"),
        ("framenum.txt", "5\n1\n" + "9" * 30, "line 3: '9+': must be a whole number"),
        ("labels.txt", "0\n1,0\n2\n", r"lines of 1, 2 labels; must be equally many"),
        ("labels.txt", "0\n-1\n2\n", "labels must be classes counted from 0"),
        ("labels.txt", "0,1\n1,0\n2,0\n", "labels must be classes counted from 0, or 0 and 1 for each class"),
        ("filename.txt", "a\n../b\n/c\n", "'../b', '/c': must be names below the videos' folder"),
        ("features.h5", "no hdf5", "train_features.h5: not a readable HDF5 file"),
    ],
)
def test_damaged_files(tmp_path, what, content, message):
    write(tmp_path)
    change(tmp_path, what, content)
    with pytest.raises(InputError, match=message) as caught:
        read_released_dataset(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_missing_files_are_all_named(tmp_path):
    write(tmp_path)
    (tmp_path / "train_labels.txt").unlink()
    (tmp_path / "train_features.h5").unlink()
    with pytest.raises(
        InputError, match=r"train_features.h5, .*train_labels.txt: missing; .* four files for each split"
    ):
        read_released_dataset(tmp_path, "train")


def test_other_hdf5_files(tmp_path):
    """Features of the wrong shape or type, and those that lie in another file."""
    write(tmp_path)
    path = tmp_path / "train_features.h5"
    for data in (np.zeros((13, 50), np.float32), np.zeros((13, 98), np.int32), np.zeros(13, np.float32)):
        with h5py.File(path, "w") as file:
            file["features"] = data
        with pytest.raises(InputError, match=r"must be float \[frames, 49·D\]"):
            read_released_dataset(tmp_path, "train")
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["features"] = np.zeros((13, 98), np.float32)
    for link in (h5py.ExternalLink(tmp_path / "elsewhere.h5", "features"), h5py.SoftLink("/x"), None):
        with h5py.File(path, "w") as file:
            if link is not None:
                file["features"] = link
        with pytest.raises(InputError, match="holds no data set `features` of its own"):
            read_released_dataset(tmp_path, "train")


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([], "no videos to write"),
        ([("a", 0, 2), ("b", [0, 1], 2)], "lines of 1, 2 labels"),
        ([("../a", 0, 2)], "must be names below"),
        ([("a\nb", 0, 2)], "must be names below"),
        ([("a", 0, 2), ("b", 1, 0)], "line 2: a video without frames"),
    ],
)
def test_what_cannot_be_written(tmp_path, videos, message):
    with pytest.raises(InputError, match=message):
        write(tmp_path, videos)


def test_features_of_two_kinds(tmp_path):
    with pytest.raises(InputError, match="b: 3 channels; must be 2 as before"):
        write_released_dataset(tmp_path, "train", [("a", 0, [cubes(1, 0)]), ("b", 0, [np.zeros((1, 49, 3))])])
    with pytest.raises(InputError, match=r"a: features of shape \[1, 7, 7, 2\]; must be \[frames, 49, D\]"):
        write_released_dataset(tmp_path, "train", [("a", 0, [np.zeros((1, 7, 7, 2))])])
