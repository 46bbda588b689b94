"""Features of mirrored clips: of the mirrored frames, of training clips alone, and the recipe says so."""

import dataclasses
import os

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.mirrors import parse_mirror_labels
from data_prep.features.extraction import extract
from data_prep.features.hdf5_file import write_features
from data_prep.features.opening import open_features
from data_prep.features.recipe import require_same_recipe
from data_prep.video.frames import read_frames


@pytest.fixture
def both(clips, fake_network, tmp_path):
    """The clips without and with mirrored ones."""
    extract(clips, fake_network, tmp_path / "plain.h5", frame_batch=8)
    swaps = parse_mirror_labels("run:jump")
    done = extract(clips, fake_network, tmp_path / "mirrored.h5", frame_batch=8, mirror_labels=swaps)
    assert (done.num_clips, done.num_lost) == (14, 0)
    return open_features(tmp_path / "plain.h5"), open_features(tmp_path / "mirrored.h5")


def test_the_mirrored_frames_go_through_the_network_after_all_others(both, clips):
    plain, mirrored = both
    count = len(plain.features)
    np.testing.assert_array_equal(mirrored.features[: count - count % 8], plain.features[: count - count % 8])
    assert mirrored.names[:8] == plain.names
    assert mirrored.names[8:] == [f"{name}#mirrored" for name in plain.names[:6]]
    for video in range(8, 14):
        frames = np.concatenate(list(read_frames(f"{clips.data_dir}/{plain.names[video - 8]}")))[:, :, ::-1]
        cells = frames.reshape(-1, 7, 32, 7, 32, 3).mean(axis=(2, 4), dtype=np.float32).astype(np.float16)
        first = mirrored.first_row[video]
        np.testing.assert_array_equal(mirrored.features[first : first + len(frames), ..., :3], cells)


def test_their_labels_groups_and_sources(both, clips):
    plain, mirrored = both
    assert mirrored.groups[8:] == plain.groups[:6] and set(mirrored.splits[8:]) == {"train"}
    np.testing.assert_array_equal(mirrored.labels[8:], 1 - plain.labels[:6])  # Both classes swap.
    np.testing.assert_array_equal(mirrored.source, [*range(8), *range(6)])
    np.testing.assert_array_equal(np.flatnonzero(mirrored.mirrored), range(8, 14))
    assert not plain.mirrored.any()
    assert mirrored.clip_path(9) == mirrored.clip_path(1)
    assert mirrored.recipe["mirror"] == "training clips; jump:run" and "mirror" not in plain.recipe
    require_same_recipe(plain.recipe, mirrored.recipe)  # A frame's features do not depend on it.


def test_the_same_file_is_not_taken_for_the_other(both, clips, fake_network, tmp_path):
    swaps = parse_mirror_labels("run:jump")
    again = extract(clips, fake_network, tmp_path / "mirrored.h5", frame_batch=8, mirror_labels=swaps)
    assert again.already_complete
    for name, labels, message in (
        ("plain.h5", {}, "exists, with no mirrored clips, not with training clips; name another output"),
        ("mirrored.h5", None, "exists, with training clips; jump:run, not with no mirrored clips"),
        ("mirrored.h5", {}, "exists, with training clips; jump:run, not with training clips;"),
    ):
        with pytest.raises(InputError, match=message):
            extract(clips, fake_network, tmp_path / name, frame_batch=8, mirror_labels=labels)


def test_interrupted_it_resumes_to_the_same_bytes(both, clips, fake_network, tmp_path):
    class Killed(BaseException):
        pass

    output, swaps = tmp_path / "again.h5", parse_mirror_labels("run:jump")

    class Dying(type(fake_network)):
        def __call__(self, frames):
            if self.num_calls == 17:
                raise Killed
            return super().__call__(frames)

    with pytest.raises(Killed):
        extract(clips, Dying(), output, frame_batch=8, mirror_labels=swaps)
    assert os.path.isdir(f"{output}.partial")
    extract(clips, fake_network, output, frame_batch=8, mirror_labels=swaps)
    assert output.read_bytes() == (tmp_path / "mirrored.h5").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": "no source"}, "is mirrored, and its source is not there"),
        ({"splits": "test"}, "is mirrored, and not in the training part"),
    ],
)
def test_files_that_contradict_themselves_are_refused(both, tmp_path, change, message):
    _, mirrored = both
    changes = {name: [*getattr(mirrored, name)] for name in change}
    if "names" in change:
        changes["names"][8] = "gone.mp4#mirrored"
    else:
        changes["splits"][8] = "test"
    write_features(tmp_path / "bad.h5", dataclasses.replace(mirrored, **changes))
    with pytest.raises(InputError, match=message):
        open_features(tmp_path / "bad.h5")


def test_bad_flags(run_program, data_dir, tmp_path):
    for arguments, message in (
        (["--mirror_labels=run:jump"], "mirror_labels=run:jump: has no effect without --mirror"),
        (["--mirror", "--mirror_labels=run:walk"], "mirror_labels: no class walk; the classes are jump, run"),
    ):
        with pytest.raises(InputError, match=message):
            run_program(
                "data_prep.extract_features", f"--data_dir={data_dir}", f"--output={tmp_path / 'x.h5'}", *arguments
            )
    assert not (tmp_path / "x.h5").exists()
