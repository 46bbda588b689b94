import dataclasses

import numpy as np
import pytest

from data_prep.features.opening import open_features
from experiments.runs import data_notes
from experiments.runs.config import DataConfig, ModelConfig, RunConfig, with_flags
from experiments.runs.data_notes import near_copies, notes_on
from experiments.runs.training import train

TRAINING, HELD_OUT = range(4), range(4, 8)


@pytest.fixture
def scenes(tiny_features):
    """A function that returns a features file of clips of three equal frames, given the scene of each."""

    def make(numbers, groups=None, **changes):
        frames = 0.1 + np.eye(8)[np.repeat(numbers, 3)]
        count = len(numbers)
        return dataclasses.replace(
            open_features(tiny_features),
            features=np.broadcast_to(frames[:, None, None], (3 * count, 2, 2, 8)).astype(np.float16),
            names=[f"{n}.mp4" for n in range(count)],
            first_row=3 * np.arange(count),
            num_frames=np.full(count, 3),
            labels=np.eye(2, dtype=np.uint8)[np.arange(count) % 2],
            groups=groups or [""] * count,
            class_names=["run", "wave"],
            **changes,
        )

    return make


@pytest.mark.parametrize(
    ("held_out", "share"), [([4, 5, 6, 7], 0.0), ([0, 5, 6, 7], 0.25), ([0, 5, 3, 7], 0.5), ([3, 3, 2, 0], 1.0)]
)
def test_a_held_out_clip_of_a_scene_that_is_trained_on_is_a_near_copy(scenes, held_out, share):
    file = scenes([0, 1, 2, 3, *held_out])
    assert near_copies(file, TRAINING, HELD_OUT) == share
    notes = notes_on(file, TRAINING, HELD_OUT)
    assert len(notes) == (share >= 0.25)
    assert all(f"{share:.0%} of the held-out clips are near copies" in note and "`group`" in note for note in notes)


def test_nothing_is_said_where_groups_are_known_or_nothing_is_held_out(scenes):
    assert notes_on(scenes([0, 1, 2, 3, 0, 1, 2, 3], groups=list("abcdefgh")), TRAINING, HELD_OUT) == []
    assert notes_on(scenes([0, 1, 2, 3]), TRAINING, []) == []


def test_how_alike_near_copies_are(scenes):
    # Of two training clips, e0 and e1, the middle is (e0 + e1) / 2. What is new, e0 + a·e2, is as near to e0 as
    # 1 / sqrt(1 + 2·a²): 0.75 for a = 0.6236.
    file = scenes([0, 1, 0])
    for a, near in ((0.61, 1.0), (0.64, 0.0)):
        file.features[6:, ..., 2] = 0.1 + a
        assert near_copies(file, [0, 1], [2]) == near


def test_what_is_not_finite_and_large_data_sets_do_no_harm(scenes, monkeypatch):
    file = scenes([0, 1, 2, 3, 0, 1, 2, 3])
    file.features[0, 0, 0, 0] = np.nan
    assert near_copies(file, TRAINING, HELD_OUT) == 1.0
    monkeypatch.setattr(data_notes, "_CLIPS", (2, 2))
    assert near_copies(file, TRAINING, HELD_OUT) == 1.0  # The first and the last of each.


def test_of_records_fewer_are_read(scenes, monkeypatch):
    class Rows:
        read = 0

        def __getitem__(self, rows):
            self.read += 1
            return file.features[rows]

    file, rows = scenes([0, 1, 2, 3, 0, 1, 2, 3]), Rows()
    monkeypatch.setattr(data_notes, "_CLIPS_IN_RECORDS", (1, 2))
    assert near_copies(dataclasses.replace(file, features=rows), TRAINING, HELD_OUT) == 1.0
    assert rows.read == 3


def test_classes_that_cannot_be_learnt(scenes):
    file = scenes([0, 1, 2, 3])
    assert notes_on(file, [0, 2], []) == ["classes without a clip to train on, which no model can learn: wave"]
    single = dataclasses.replace(file, class_names=["run"], labels=np.ones((4, 1), np.uint8))
    assert notes_on(single, TRAINING, []) == ["one class only, run: there is nothing to classify"]


@pytest.mark.slow
def test_a_run_that_resumes_does_not_say_them_again(tiny_features, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.runs.training.notes_on", lambda *_: ["known clips"])
    for epochs in (1, 1, 2):
        config = RunConfig(DataConfig(str(tiny_features), num_steps=4, fps=10.0), ModelConfig("softmax_regression"))
        train(with_flags(config, epochs=epochs, parallel="jit"), tmp_path)
    assert capsys.readouterr().out.count("NOTE: known clips") == 1
