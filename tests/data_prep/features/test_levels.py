"""Features of two levels: extraction killed and resumed, both formats on disk, statistics, and hostile files."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.googlenet import GoogLeNet, max_pool, preprocess
from data_prep.features import extraction, partial_features, statistics
from data_prep.features.contents import FeaturesFile
from data_prep.features.extraction import extract
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.features.record_export import export_records
from data_prep.networks.network import Network, all_levels, split_levels
from data_prep.networks.registry import load_again, load_network
from data_prep.networks.weights import GoogLeNetFeatures, parse_levels, random_googlenet
from data_prep.tfds_builders import check_fits

LEVELS = ["inception_5b", "inception_4e"]
COARSE, FINE = (7, 7, 8), (14, 14, 4)


def coarse(frames):
    """The cells' mean colours."""
    features = np.zeros((len(frames), *COARSE), np.float16)
    features[..., :3] = frames.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32)
    return features


def fine(frames):
    """The same of cells half as large, and the place in the batch."""
    features = np.zeros((len(frames), *FINE), np.float16)
    features[..., :3] = frames.reshape(-1, 14, 16, 14, 16, 3).mean(axis=(2, 4), dtype=np.float32)
    features[..., 3] = np.arange(len(frames))[:, None, None]
    return features


def one_level(run, shape) -> Network:
    recipe = {"network": "fake", "weights_sha256": "", "random": True, "input_size": [224, 224]}
    return Network(recipe, run, shape)


class Interrupted(Exception):
    pass


def two_levels(num_calls=None) -> Network:
    """A network of two levels, which breaks off at its call after `num_calls`."""
    calls = []

    def run(frames):
        calls.append(frames)
        if num_calls is not None and len(calls) > num_calls:
            raise Interrupted
        return np.concatenate([level(frames).reshape(len(frames), -1) for level in (coarse, fine)], axis=1)

    network = one_level(run, COARSE)
    return Network(network.recipe | {"levels": LEVELS}, run, COARSE, levels={"inception_4e": FINE})


def content(path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """The file of an unbroken extraction of two levels."""
    output = tmp_path_factory.mktemp("whole") / "features.h5"
    extract(clips, two_levels(), output, frame_batch=8)
    return output


def test_each_level_is_what_the_network_gives_for_it_alone(clips, whole, tmp_path):
    found = open_features(whole)
    assert found.recipe["levels"] == found.level_names == LEVELS and list(found.levels) == ["inception_4e"]
    assert found.bytes_per_frame == 2 * (7 * 7 * 8 + 14 * 14 * 4)
    for run, shape, rows in ((coarse, COARSE, found.features), (fine, FINE, found.levels["inception_4e"])):
        extract(clips, one_level(run, shape), tmp_path / "alone.h5", frame_batch=8)
        alone = open_features(tmp_path / "alone.h5")
        np.testing.assert_array_equal(rows, alone.features)
        assert "levels" not in alone.recipe and not alone.levels and alone.level_names == []
        os.remove(tmp_path / "alone.h5")
    np.testing.assert_array_equal(found.at_level("inception_4e").features, found.levels["inception_4e"])
    np.testing.assert_array_equal(found.at_level("inception_5b").features, found.features)
    with pytest.raises(InputError, match="level inception_3b: the features file has inception_5b, inception_4e"):
        found.at_level("inception_3b")
    with h5py.File(whole) as file:
        assert sorted(file) == ["features", "features.inception_4e", "videos"]
        assert file["features.inception_4e"].id.get_offset() == 1 << 16  # The largest is the one that is not copied.


def interrupt(*_):
    raise Interrupted


def after(monkeypatch, module, name):
    """Breaks off after a function of a module."""
    function = getattr(module, name)

    def interrupted(*arguments, **options):
        interrupt(function(*arguments, **options))

    monkeypatch.setattr(module, name, interrupted)


@pytest.mark.parametrize("where", ["begin", "middle", "rows of one level are lost", "layout", "copy", "discard"])
def test_interrupted_anywhere_and_resumed_the_file_is_the_same_to_the_bit(clips, whole, tmp_path, where, monkeypatch):
    output = tmp_path / "features.h5"
    monkeypatch.setattr(extraction, "_COMMIT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        if where == "layout":
            after(patch, partial_features, "write_layout")
        elif where == "copy":
            after(patch, partial_features.shutil, "copyfileobj")
        elif where == "discard":
            patch.setattr(partial_features.PartialFeatures, "discard", interrupt)
        with pytest.raises(Interrupted):
            extract(clips, two_levels({"begin": 1}.get(where, 8 if where[0] in "mr" else None)), output, frame_batch=8)
    if where == "rows of one level are lost":
        os.truncate(tmp_path / "features.h5.partial" / "rows.0", 2 * 7 * 7 * 8 * 50)
    extract(clips, two_levels(), output, frame_batch=8)
    assert content(output) == content(whole)
    assert sorted(os.listdir(tmp_path)) == ["features.h5", "skipped.csv"]


def test_other_levels_are_another_recipe(clips, whole, tmp_path):
    with pytest.raises(
        InputError, match=r"another recipe: levels is \['inception_5b', 'inception_4e'\] instead of None"
    ):
        extract(clips, one_level(coarse, COARSE), whole, frame_batch=8)


def test_a_file_of_one_level_is_laid_out_as_ever(clips, tmp_path):
    extract(clips, one_level(coarse, COARSE), tmp_path / "one.h5", frame_batch=8)
    with h5py.File(tmp_path / "one.h5") as file:
        assert sorted(file) == ["features", "videos"]
        assert file["features"].id.get_offset() == 1 << 16
        assert "levels" not in json.loads(file.attrs["recipe"])


def contents(**changes) -> FeaturesFile:
    """Three clips of 2, 3 and 1 frames with two levels."""
    random, num_frames = np.random.default_rng(0), np.array([2, 3, 1])
    values = {
        "features": random.normal(size=(6, *COARSE)).astype(np.float16),
        "names": ["a.avi", "b.avi", "c.avi"],
        "first_row": np.cumsum(num_frames) - num_frames,
        "num_frames": num_frames,
        "native_fps": np.full(3, 25.0),
        "fps": np.full(3, 25.0),
        "labels": np.eye(2, dtype=np.uint8)[[0, 1, 0]],
        "groups": ["", "", ""],
        "splits": ["train", "test", "train"],
        "truncated": np.zeros(3, bool),
        "class_names": ["jump", "run"],
        "multi_label": False,
        "recipe": {"network": "fake", "random": False, "levels": LEVELS},
        "split_id": "s",
        "data_dir": "/nowhere",
        "levels": {"inception_4e": random.normal(size=(6, *FINE)).astype(np.float16)},
    }
    return FeaturesFile(**{**values, **changes})


def test_both_levels_come_back_from_a_file_and_from_tfds(tmp_path, monkeypatch):
    made = contents()
    write_features(tmp_path / "features.h5", made)
    done = export_records(open_features(tmp_path / "features.h5"), tmp_path / "tfds", "two_levels")
    for path in (tmp_path / "features.h5", done.folder):
        found = open_features(path)
        assert found.level_names == LEVELS and found.levels["inception_4e"].shape == (6, *FINE)
        np.testing.assert_array_equal(found.features[:], made.features)
        np.testing.assert_array_equal(found.levels["inception_4e"][:], made.levels["inception_4e"])
    fetched, fetch = [], found.features._records._fetch
    again = open_features(done.folder)
    records = again.features._records
    monkeypatch.setattr(records, "_fetch", lambda video: fetched.append(video) or fetch(video))
    again.features[2:5], again.levels["inception_4e"][2:5]
    assert fetched == [1]  # A record has both levels, and is read once.
    import tensorflow_datasets as tfds

    source = tfds.builder_from_directory(str(done.folder)).as_data_source(split="test")
    np.testing.assert_array_equal(source[0]["features.inception_4e"], made.levels["inception_4e"][2:5])


def test_a_known_name_is_for_one_level():
    with pytest.raises(InputError, match=r"name=ucf11_googlenet: .* these have more levels; choose another name"):
        check_fits("ucf11_googlenet", contents())


def test_root_mean_square_by_hand():
    features = np.zeros((3, 1, 1, 2), np.float16)
    features[:, 0, 0] = [(1, 7), (3, 5), (100, 100)]
    of = dataclasses.replace(contents(), features=features, num_frames=np.array([1, 1, 1]), first_row=np.arange(3))
    assert statistics.root_mean_square(of, [0, 1]) == np.sqrt((1 + 49 + 9 + 25) / 4)  # √21, without the third clip


def test_statistics_of_every_level(tmp_path, capsys):
    made = contents(levels={"inception_4e": np.full((6, *FINE), 2, np.float16)})
    statistics.report(made, tmp_path / "features.h5")
    assert "features of inception_4e: mean 2.000, 0.0 % zeros, 0 of 4 channels dead" in capsys.readouterr().out
    written = json.loads((tmp_path / "features.statistics.json").read_text())
    assert written["levels"]["inception_4e"]["mean"] == 2.0 and written["num_maps"] == 8


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (["inception_5b", "../videos/name"], "the recipe's levels are no names"),
        (["inception_5b"], "the recipe's levels are no names"),
        ("inception_5b", "the recipe's levels are no names"),
        (["inception_5b", "inception_4e", "inception_4e"], "the recipe's levels are no names"),
        (["inception_5b", "inception_3b"], r"not a features file \('no features.inception_3b'\)"),
    ],
)
def test_a_recipe_cannot_lead_elsewhere(tmp_path, levels, message):
    path = tmp_path / "features.h5"
    write_features(path, contents())
    with h5py.File(path, "r+") as file:
        file.attrs["recipe"] = json.dumps({"network": "fake", "random": False, "levels": levels})
    with pytest.raises(InputError, match=message):
        open_features(path)


def test_levels_of_another_length_are_refused(tmp_path):
    path = tmp_path / "features.h5"
    write_features(path, contents(levels={"inception_4e": np.ones((5, *FINE), np.float16)}))
    with pytest.raises(InputError, match="inception_4e has another number of rows than features; extract it again"):
        open_features(path)


def test_rows_are_split_in_the_levels_order():
    rows = np.arange(2 * 6).reshape(2, 6)
    first, second = split_levels(rows, [(1, 1, 2), (2, 2, 1)])
    np.testing.assert_array_equal(first[:, 0, 0], [[0, 1], [6, 7]])
    np.testing.assert_array_equal(second[1, :, :, 0], [[8, 9], [10, 11]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "inception_5b,inception_9z",
            "inception_9z is none of inception_5b, inception_4e, inception_4e_7x7, inception_3b",
        ),
        ("inception_5b,", "an empty name is none of"),
        ("inception_5b,inception_4e,inception_4e", "names inception_4e twice"),
        ("inception_4e", r"must have inception_5b too, which gives the first state \(Eq. 6\)"),
    ],
)
def test_levels_that_cannot_be_are_one_line(text, message):
    with pytest.raises(InputError, match=f"levels={text}: {message}"):
        load_network("random", {"levels": text})


def test_other_networks_have_no_levels():
    with pytest.raises(
        InputError, match="levels=a: goes with --network=googlenet, and the network is efficientnet_lite0"
    ):
        load_network("efficientnet_lite0", {"levels": "a"})


def test_the_deepest_level_comes_first():
    assert parse_levels(None) == ("inception_5b",)
    assert parse_levels("inception_3b,inception_4e_7x7,inception_5b") == (
        "inception_5b",
        "inception_4e_7x7",
        "inception_3b",
    )


@pytest.mark.slow
def test_googlenets_levels_are_those_of_its_stages():
    """A random network of two levels against the stages of the module, and against one of a single level."""
    one = random_googlenet()
    both = GoogLeNetFeatures(
        "random_googlenet", one.params, weights_sha256="", seed=0, levels=("inception_5b", "inception_4e_7x7")
    )
    assert both.recipe == one.recipe | {"levels": ["inception_5b", "inception_4e_7x7"]}
    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    deep, pooled = all_levels(both, frames)
    _, stages = jax.jit(GoogLeNet().apply)({"params": one.params}, preprocess(frames))
    np.testing.assert_allclose(deep, np.float16(stages["features"]), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(pooled, np.float16(max_pool(stages["inception_4e"], 2, 2)), rtol=2e-3, atol=1e-4)
    np.testing.assert_array_equal(both(frames), deep)
    np.testing.assert_allclose(one(frames), deep, rtol=2e-3, atol=1e-4)
    again = load_again(both.recipe)
    assert again.recipe == both.recipe and again.levels == {"inception_4e_7x7": (7, 7, 832)}
