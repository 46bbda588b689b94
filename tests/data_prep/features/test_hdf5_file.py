import dataclasses
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.features.contents import FeaturesFile
from data_prep.features.hdf5_file import DATA_OFFSET, write_features, write_layout
from data_prep.features.opening import absolute_path, open_features
from data_prep.features.recipe import recipe_hash, require_same_recipe


def make_contents(**changes) -> FeaturesFile:
    """Three clips of 5, 1 and 4 rows; 2 × 2 cells and 3 maps, to be quick."""
    features = np.random.default_rng(0).normal(size=(10, 2, 2, 3)).astype(np.float16)
    contents = FeaturesFile(
        features=features,
        names=["run/ä #1.mp4", "run/2.mp4", "jump/3.avi"],
        first_row=np.array([0, 5, 6]),
        num_frames=np.array([5, 1, 4]),
        native_fps=np.array([29.97, 25.0, 30.0]),
        fps=np.array([29.97, 25.0, 6.0]),
        labels=np.array([[0, 1], [0, 1], [1, 0]], np.uint8),
        groups=["ann", "", "bob"],
        splits=["train", "train", "test"],
        truncated=np.array([False, True, False]),
        class_names=["jump", "run"],
        multi_label=False,
        recipe={"network": "fake", "random": False, "mean": [104, 117, 123], "extraction_fps": "native"},
        split_id="folder-index-abc",
        data_dir="/data/my clips",
        plan_sha256="12ab",
    )
    return dataclasses.replace(contents, **changes)


@pytest.fixture
def path(tmp_path):
    write_features(tmp_path / "features.h5", make_contents())
    return tmp_path / "features.h5"


def test_what_is_written_is_read(path):
    found, expected = open_features(path), make_contents()
    for field in dataclasses.fields(FeaturesFile):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), err_msg=field.name)
        assert type(getattr(found, field.name)) in (type(getattr(expected, field.name)), np.memmap), field.name
    assert os.listdir(path.parent) == ["features.h5"]


def test_layout_on_disk(path):
    """As any HDF5 reader sees it."""
    with h5py.File(path) as file:
        assert sorted(file) == ["features", "videos"]
        features = file["features"]
        assert features.dtype == np.float16 and features.chunks is None and features.compression is None
        np.testing.assert_array_equal(features[...], make_contents().features)
        assert sorted(file["videos"]) == sorted(
            ["name", "first_row", "num_frames", "native_fps", "fps", "labels", "group", "split", "truncated"]
        )
        assert file["videos/name"].asstr()[0] == "run/ä #1.mp4"
        assert file.attrs["class_names"] == '["jump", "run"]'


@pytest.mark.slow
def test_the_same_contents_are_the_same_bytes(path, tmp_path):
    time.sleep(1.1)  # HDF5 keeps times in seconds
    write_features(tmp_path / "later.h5", make_contents())
    assert (tmp_path / "later.h5").read_bytes() == path.read_bytes()


def test_rows_are_a_read_only_map_and_nothing_stays_open(path):
    found = open_features(path)
    assert isinstance(found.features, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.features[0] = 0
    with h5py.File(path, "r+"):  # would fail while a handle is open for reading
        pass


def test_the_layout_alone_takes_no_room(tmp_path):
    shape = (20_000, 7, 7, 1024)
    rows = np.broadcast_to(np.float16(0), shape)
    contents = make_contents(
        features=rows, num_frames=np.array([19_995, 1, 4]), first_row=np.array([0, 19_995, 19_996])
    )
    assert write_layout(tmp_path / "layout.h5", contents) == DATA_OFFSET
    status = os.stat(tmp_path / "layout.h5")
    assert status.st_size > 2 * np.prod(shape)
    assert status.st_blocks * 512 < 1 << 20
    assert open_features(tmp_path / "layout.h5").features.shape == shape


@pytest.mark.parametrize("feature_shape", [(1, 1, 128), (4, 4, 32), (7, 7, 320), (16, 16, 384)])
def test_rows_of_any_network_begin_at_the_same_place(tmp_path, feature_shape):
    """Also a file with so few of them that HDF5 would put them among its own structures."""
    contents = make_contents(
        features=np.broadcast_to(np.float16(0), (4, *feature_shape)),
        num_frames=np.array([2, 1, 1]),
        first_row=np.array([0, 2, 3]),
    )
    assert write_layout(tmp_path / "layout.h5", contents) == DATA_OFFSET == 65536


def test_missing(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.h5: no such file; data_prep.extract_features makes one"):
        open_features(tmp_path / "nowhere.h5")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_cut_off(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"features.h5: not a whole features file") as caught:
        open_features(path)
    assert "\n" not in str(caught.value)


def test_no_hdf5(path):
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    with pytest.raises(InputError, match="not a whole features file"):
        open_features(path)


def _replace(file, name, data, **options):
    del file[name]
    file.create_dataset(name, data=data, **options)


_ROWS = np.zeros((10, 2, 2, 3), np.float16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("features"), "not a features file .*no features"),
        (lambda file: file.pop("videos"), "not a features file .*no name"),
        (lambda file: file["videos"].pop("fps"), "not a features file .*no fps"),
        (lambda file: file.attrs.pop("recipe"), "not a features file .*recipe"),
        (lambda file: _replace(file, "features", _ROWS, chunks=(1, 2, 2, 3)), "chunked"),
        (lambda file: _replace(file, "features", _ROWS, compression="gzip"), "chunked, compressed"),
        (lambda file: _replace(file, "features", _ROWS.astype(np.float32)), r"features is float32\[10, 2, 2, 3\]"),
        (lambda file: _replace(file, "features", _ROWS.reshape(10, 12)), r"features is float16\[10, 12\]"),
        (lambda file: _replace(file, "features", _ROWS[:0]), "holds no frames"),
        (lambda file: _replace(file, "features", _ROWS[:9]), "the clips' frames do not add up to the rows"),
        (lambda file: _replace(file, "videos/num_frames", [5, 0, 5]), "a clip has no frames"),
        (lambda file: _replace(file, "videos/first_row", [0, 4, 6]), "first_row does not follow"),
        (lambda file: _replace(file, "videos/fps", [25.0, np.nan, 25.0]), "a frame rate is not positive"),
        (lambda file: _replace(file, "videos/fps", [25.0, 25.0]), "videos/fps has another number of clips"),
        (lambda file: _replace(file, "videos/labels", [[0, 2], [0, 1], [1, 0]]), "a label is neither 0 nor 1"),
        (lambda file: _replace(file, "videos/labels", [[1, 1], [0, 1], [1, 0]]), "a clip has not exactly one label"),
        (lambda file: _replace(file, "videos/labels", [[1], [0], [1]]), "labels do not fit 2 classes"),
        (lambda file: _replace(file, "videos/split", ["train", "train", "tset"]), "a split is none of train"),
        (lambda file: _replace(file, "videos/name", ["a.avi", "b.avi", "../c.avi"]), r"'\.\./c\.avi' leaves"),
        (lambda file: _replace(file, "videos/name", ["a.avi", "/etc/passwd", "c.avi"]), "'/etc/passwd' leaves"),
        (lambda file: file.attrs.modify("recipe", "[1]"), "the recipe is no table"),
        (lambda file: file.attrs.modify("recipe", "{}"), "the recipe does not say whether the network is random"),
        (lambda file: file.attrs.modify("recipe", "{"), "not a whole features file"),
        (lambda file: file.attrs.modify("class_names", '"ab"'), "class_names is no list of names"),
    ],
)
def test_files_of_another_layout_or_at_odds_with_themselves(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=message) as caught:
        open_features(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_file_may_not_point_elsewhere(path, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(240))
    for hostile in ("link", "external"):
        with h5py.File(path, "r+") as file:
            del file["features"]
            if hostile == "link":
                file["features"] = h5py.ExternalLink(tmp_path / "other.h5", "features")
            else:
                secret = [(str(tmp_path / "secret"), 0, 240)]
                file.create_dataset("features", (10, 2, 2, 3), "<f2", external=secret)
        with pytest.raises(InputError, match="no features"):
            open_features(path)


def test_recipes_compare_by_field():
    recipe = make_contents().recipe
    require_same_recipe(recipe, dict(reversed(recipe.items())))
    other = {**recipe, "extraction_fps": 6.0, "seed": 1}
    with pytest.raises(
        InputError, match=r"a.h5 has another recipe: extraction_fps is 6.0 instead of 'native'; seed is 1"
    ):
        require_same_recipe(recipe, other, what="a.h5")


def test_recipe_hash():
    assert recipe_hash({"b": [1, 2], "a": "x"}) == recipe_hash({"a": "x", "b": [1, 2]})
    # sha256 of {"a":"x","b":[1,2]}
    assert recipe_hash({"b": [1, 2], "a": "x"}) == "721ef82f2d6c0997bffb7a8ab3f40f8fb45b0b52ce2af3afa6b0f05efbdc317f"


def test_absolute_paths_and_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_path("a/../features.h5") == f"{tmp_path}/features.h5"
    assert absolute_path("gs://lab/ucf11_googlenet/1.0.0") == "gs://lab/ucf11_googlenet/1.0.0"


def opened_by_another_process(path, **environment) -> str:
    command = f"from data_prep.features.opening import open_features; print(len(open_features({str(path)!r}).names))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, env={**os.environ, **environment}
    )
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.mark.slow
def test_a_file_that_is_open_elsewhere_is_read(path):
    with h5py.File(path, "r+"):
        assert opened_by_another_process(path) == "3"
        if os.name == "posix":
            said = opened_by_another_process(path, HDF5_USE_FILE_LOCKING="TRUE")
            assert "features.h5: is open for writing in another program" in said and "extract it again" not in said
