import os

import jax.numpy as jnp
import pytest

from attention_ar.training.checkpoints import Checkpoints
from attention_ar.training.steps import TrainState


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "run [1]",
        "run[lr=1]",
        "[!a]",
        "a\\b",
        "\\",
        "gs:",
        "a*b?c",
        "{x},100%20#",
        "dots..",
        "-leading",
        " blanks ",
        "\t",
        "é e\u0301 挥手",
        "x" * 255,
    ],
)
def test_a_work_folder_of_any_name_keeps_its_checkpoints(tmp_path, monkeypatch, name):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = os.path.join("..", name, "checkpoints")
    state = TrainState(jnp.int32(3), {"a": jnp.arange(2.0)}, {"m": jnp.zeros(2)})
    with Checkpoints(folder) as checkpoints:
        for step, score in ((3, 1.0), (4, 0.5), (5, 0.2)):
            checkpoints.save(state.replace(step=jnp.int32(step)), {"epoch": step}, score, 1.0)
    with Checkpoints(folder, create=False) as checkpoints:
        assert checkpoints.state(state).step == 5 and checkpoints.state(state, "best").step == 3
        assert checkpoints.params(state.params)["a"].tolist() == [0.0, 1.0]
        assert checkpoints.metadata("latest") == {"epoch": 5}
        assert checkpoints.last_whole() == str(tmp_path / name / "checkpoints" / "5")
    assert sorted(os.listdir(tmp_path / name / "checkpoints")) == ["3", "5"]
    assert set(os.listdir(tmp_path)) == {name, "elsewhere"}
