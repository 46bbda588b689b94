"""TensorBoard's event files, read back byte by byte."""

import struct
import subprocess
import sys

import pytest

from attention_ar.errors import InputError
from experiments.runs import tensorboard_log
from experiments.runs.config import DataConfig, RunConfig, RuntimeConfig
from experiments.runs.metrics_log import MetricsLog, read_metrics
from experiments.runs.tensorboard_log import scalars
from experiments.runs.training import train

LINE = {
    "epoch": 2,
    "step": 12,
    "loss": 3.5,
    "seconds": 2.0,
    "blocks_per_second": 18.0,
    "held_out": {
        "score_name": "accuracy",
        "accuracy": 0.75,
        "num_videos": 4,
        "several": [1, 2],
        "attention": {"entropy": 2.5},
    },
}
SCALARS = {
    "training/loss": 3.5,
    "speed/seconds": 2.0,
    "speed/blocks_per_second": 18.0,
    "held_out/accuracy": 0.75,
    "held_out/attention/entropy": 2.5,
}


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecord files, bit by bit: Castagnoli's polynomial, rotated by 15, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(folder) -> dict:
    """Values by epoch and name, of the one event file; each may be there once."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")
    (path,) = folder.iterdir()
    assert path.name.startswith("events.out.tfevents.")
    data, found, first = path.read_bytes(), {}, True
    while data:
        header, (size, check) = data[:8], struct.unpack("<QI", data[:12])
        body, (body_check,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
        assert (check, body_check) == (masked_crc32c(header), masked_crc32c(body))
        data = data[16 + size :]
        event = event_pb2.Event.FromString(body)
        assert event.file_version == ("brain.Event:2" if first else "")
        first = False
        for value in event.summary.value:
            assert (event.step, value.tag) not in found
            found[event.step, value.tag] = value.simple_value
    return found


def test_names_of_the_numbers():
    assert scalars(LINE) == SCALARS


def test_a_resumed_log_has_every_epoch_once(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0, tensorboard=True)
    for epoch in (1, 2, 3):
        log.write({**LINE, "epoch": epoch, "loss": float(epoch)})
    assert read_events(tmp_path / "tensorboard")[3, "training/loss"] == 3.0  # It is there before the end of the run.
    log = MetricsLog(path, 2, tensorboard=True)
    log.write({**LINE, "epoch": 3, "loss": 3.5})
    found = read_events(tmp_path / "tensorboard")
    assert {epoch: found[epoch, "training/loss"] for epoch in (1, 2, 3)} == {1: 1.0, 2: 2.0, 3: 3.5}
    assert found.keys() == {(epoch, name) for epoch in (1, 2, 3) for name in SCALARS}


def test_a_run_writes_what_its_metrics_say(small_run):
    found = read_events(small_run / "tensorboard")
    lines = read_metrics(small_run / "metrics.jsonl")
    assert {epoch for epoch, _ in found} == set(range(1, 9))
    expected = {(line["epoch"], name): value for line in lines for name, value in scalars(line).items()}
    assert found == {place: pytest.approx(value, rel=1e-6) for place, value in expected.items()}
    for name in ("training/loss", "held_out/accuracy", "held_out/attention/movement", "speed/blocks_per_second"):
        assert (2, name) in found


def test_it_brings_no_tensorflow_and_no_warning():
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    program = (
        "import sys\n"
        "from tensorboardX import RecordWriter, summary\n"
        "from tensorboardX.proto.event_pb2 import Event\n"
        "assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_tensorboardx_training_does_not_begin(tiny_features, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard_log.importlib.util, "find_spec", lambda name: None)
    config = RunConfig(DataConfig(str(tiny_features)), runtime=RuntimeConfig(tensorboard=True))
    with pytest.raises(InputError) as error:
        train(config, tmp_path / "run")
    assert str(error.value) == "tensorboard: needs tensorboardX, which is not installed; pip install tensorboardX"
    assert not (tmp_path / "run").exists()


def test_of_several_processes_that_share_a_folder_one_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    MetricsLog(tmp_path / "metrics.jsonl", 0, tensorboard=True).write(LINE)
    assert list(tmp_path.iterdir()) == []
