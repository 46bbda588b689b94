"""Predictions of videos as they come: the numbers of an evaluation, in bounded memory, from files and from pipes."""

import csv
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import asdict, replace
from fractions import Fraction
from types import SimpleNamespace

import av
import jax
import numpy as np
import pytest
from PIL import Image

from attention_ar.calibration import at_temperature
from attention_ar.errors import InputError
from attention_ar.training.checkpoints import Checkpoints
from attention_ar.training.steps import TrainState
from data_prep.common.files import write_json
from data_prep.datasets.clip_list import Clip, ClipList
from data_prep.features.extraction import extract
from data_prep.features.opening import open_features
from data_prep.networks.network import Network
from data_prep.video.frames import frame_times, read_frames
from experiments.pictures.mp4 import Mp4
from experiments.prediction import predict_clips
from experiments.prediction.clip_predictor import ClipPredictor
from experiments.prediction.clip_stream import ClipStream
from experiments.prediction.predict_clips import list_clips, overlay_paths, predict
from experiments.prediction.segments import SegmentRule
from experiments.runs import trained
from experiments.runs.build import build_model
from experiments.runs.calibration import NONE_OF_THESE, Temperature
from experiments.runs.config import DataConfig, ModelConfig, ReleasedConfig, RunConfig
from experiments.runs.evaluation import evaluate

LENGTHS = {"run/a.mp4": 41, "run/b.mp4": 3, "jump/c.mp4": 30}


class FakeNetwork:
    """The cells' mean colours, spread over 1024 maps: like a network, but at once."""

    feature_shape = (7, 7, 1024)
    input_size = (224, 224)
    calls_in_flight = 2

    def __init__(self, **recipe):
        self.recipe = {"network": "fake", "weights_sha256": "00", "random": False, **recipe}
        self.spread = np.random.default_rng(0).normal(0, 0.02, (3, 1024)).astype(np.float32)

    def __call__(self, frames):
        cells = frames[:, 16::32, 16::32].astype(np.float32)
        return np.maximum(cells @ self.spread, 0).astype(np.float16)


def write_clip(path, num_frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(num_frames).integers(0, 256, (6, 8, 3), np.uint8)
    with Mp4(path, 25) as overlay:
        for n in range(num_frames):
            cells = np.roll(noise, n // 2, axis=1) * (0.6 + 0.4 * np.sin(n / 5))
            overlay.add(Image.fromarray(cells.astype(np.uint8)).resize((64, 48), Image.Resampling.NEAREST))
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name, length in LENGTHS.items():
        write_clip(folder / name, length)
    return folder


@pytest.fixture(scope="module")
def make_run(clips, tmp_path_factory):
    """A function that makes a run as training would leave it, on features of the clips, without the training."""

    def make(network, model="soft_attention", multi_label=False, extraction_fps=None, **data):
        folder = tmp_path_factory.mktemp("run")
        both = ("jump", "run") if multi_label else ("run",)
        listed = [Clip(name, both if name.startswith("run") else ("jump",), "", "test") for name in LENGTHS]
        extract(
            ClipList("folder", str(clips), tuple(listed), ("jump", "run"), multi_label, "x"),
            network,
            folder / "features.h5",
            fps=extraction_fps,
            frame_batch=7,
        )
        file = open_features(folder / "features.h5")
        config = RunConfig(
            DataConfig(str(folder / "features.h5"), **data), ModelConfig(model, 8, 1), ReleasedConfig(8, last_n=3)
        )
        module = build_model(config, 2, multi_label)
        x = np.zeros((1, config.data.num_steps, 49, 1024), np.float32)
        shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
        random = np.random.default_rng(3)  # Not as at the beginning of training: all would be 0.5.
        params = jax.tree.map(lambda a: random.normal(0, 0.5 if a.shape[0] < 1024 else 0.02, a.shape), shapes)
        params = jax.tree.map(lambda a: a.astype(np.float32), params)
        with Checkpoints(folder / "checkpoints") as checkpoints:
            about = {**trained.feature_metadata(file), "epoch": 3, "metrics": {"epoch": 3, "step": 0}}
            checkpoints.save(TrainState(np.int32(0), params, ()), about)
        write_json(folder / "config.json", asdict(config))
        return folder

    return make


@pytest.fixture(scope="module")
def attention_run(make_run):
    return make_run(FakeNetwork(), num_steps=4, fps=10.0, stride=5)


@pytest.fixture(scope="module")
def load():
    """`trained.load`, which compiles a model once for all tests."""
    return functools.cache(trained.load)


@pytest.fixture
def network(load, monkeypatch):
    """The network that is found; tests may put another there."""
    found = SimpleNamespace(network=FakeNetwork())
    monkeypatch.setattr("experiments.runs.matching_network.load_again", lambda recipe, name, options: found.network)
    monkeypatch.setattr(predict_clips.trained, "load", load)
    return found


@pytest.fixture
def predictor(attention_run, load):
    return ClipPredictor(load(attention_run, "best"), FakeNetwork())


def said(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "recipe", "options"),
    [
        ("soft_attention", {}, {"num_steps": 4, "fps": 10.0, "stride": 5}),
        (
            "softmax_regression",
            {"random": True},
            {"num_steps": 5, "fps": 6.0, "multi_label": True, "extraction_fps": 8},
        ),
        ("released", {}, {"num_steps": 3, "fps": 10.0, "block_rule": "released", "stride": 9}),
    ],
)
def test_the_numbers_are_those_of_an_evaluation(
    make_run, attention_run, network, clips, capsys, model, recipe, options
):
    network.network = FakeNetwork(**recipe)
    run = attention_run if model == "soft_attention" else make_run(network.network, model, **options)
    protocol = "released" if model == "released" else "paper"
    _, folder, _ = evaluate(run, protocol=protocol)
    capsys.readouterr()
    assert predict(run, [str(clips)], as_json=True, frame_batch=6) == 0
    lines = said(capsys)
    found = {os.path.relpath(line["clip"], clips): line for line in lines if line["type"] == "clip"}
    with open(folder / "predictions.csv", encoding="utf-8", newline="") as file:
        expected = {row["path"]: row for row in csv.DictReader(file)}
    assert list(found) == sorted(LENGTHS)
    for name, line in found.items():
        row = expected[name]
        assert (line["num_blocks"], line["predicted"]) == (int(row["num_blocks"]), row["predicted"])
        assert line["num_frames"] == LENGTHS[name]
        assert line["shorter_than_one_block"] == (name == "run/b.mp4")
        assert line["random_network"] == recipe.get("random", False)
        assert line["protocol"] == protocol and line["multi_label"] == options.get("multi_label", False)
        for label in ("jump", "run"):
            assert line["probabilities"][label] == pytest.approx(float(row[f"p({label})"]), abs=2e-5)
        blocks = [b for b in lines if b["type"] == "block" and b["clip"] == line["clip"]]
        assert [b["block"] for b in blocks] == list(range(line["num_blocks"]))
        mean = np.mean([b["probabilities"]["run"] for b in blocks])
        assert mean == pytest.approx(line["probabilities"]["run"], abs=2e-6)
    values = [line["probabilities"]["run"] for line in lines]
    assert np.ptp(values) > 0.01 or model == "released"


@pytest.mark.slow
def test_text_for_people(attention_run, network, clips, tmp_path, capsys):
    short = tmp_path / "\x1b[31m<script>.mp4"
    short.write_bytes((clips / "run/b.mp4").read_bytes())
    network.network.recipe["random"] = False
    assert predict(attention_run, [str(clips / "jump/c.mp4"), str(short)], top=1, seconds=0.8) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "model soft_attention, epoch 3: blocks of 4 frames at 10 fps, stride 5, paper protocol; temperature 1: this "
        "checkpoint has no held-out clips to fit it on"
    )
    assert lines[1] == f"{clips}/jump/c.mp4 (64×48, 25 fps)"
    # Blocks of 10 frames begin at 0, 5, 10, 15 and 20, that is 0.2 s apart.
    assert [line.rpartition(" s: ")[0] for line in lines[2:4]] == ["  0.0 to 0.4", "  0.8 to 1.2"]
    assert lines[4].startswith("  whole clip: ") and lines[4].endswith("(5 blocks; 1.2 s)")
    assert lines[5] == f"{tmp_path}/\\x1b[31m<script>.mp4 (64×48, 25 fps)"
    assert lines[7].endswith("(1 block; 0.1 s; shorter than one block: its last frame was repeated)")
    assert len(lines) == 8


@pytest.mark.slow
def test_a_long_video_takes_no_more_memory(predictor, tmp_path):
    """Its frames would take 60 MB, their features 32; each is let go once its last block is known."""
    path = write_clip(tmp_path / "long.mp4", 400)
    held = []

    class Measured(FakeNetwork):
        def __call__(self, frames):
            held.append(tracemalloc.get_traced_memory()[0])
            return super().__call__(frames)

    predictor.network = Measured()
    tracemalloc.start()
    try:
        with ClipStream(predictor, str(path), threading.Event()) as stream:
            assert sum(1 for _ in stream.blocks()) == 79
    finally:
        tracemalloc.stop()
    assert stream.result.num_frames == 400 and len(held) == 40
    assert max(held) < 25e6  # Of which two calls at a time, and two that wait, have half.


@pytest.fixture
def pipe(tmp_path):
    """A named pipe, and a function that sends bytes through it and keeps it open until the test is over."""
    path, over = tmp_path / "pipe", threading.Event()
    os.mkfifo(path)

    def send(data, keep_open):
        def work():
            with open(path, "wb", buffering=0) as file:
                file.write(data)
                if keep_open:
                    over.wait()

        threading.Thread(target=work, daemon=True).start()
        return str(path)

    yield send
    over.set()


def test_a_pipe_is_like_the_file_and_needs_no_end(predictor, clips, pipe, monkeypatch):
    path = clips / "run/a.mp4"
    with ClipStream(predictor, str(path), threading.Event()) as stream:
        blocks = list(stream.blocks())
    stop, found = threading.Event(), []
    with ClipStream(predictor, pipe(path.read_bytes(), keep_open=True), stop) as piped:
        assert piped.num_frames_expected == 0
        for block in piped.blocks():
            found.append(block)
            if len(found) == 3:  # While the sender holds it open.
                stop.set()
    assert piped.result.stopped and 3 <= piped.result.num_blocks == len(found) < len(blocks)
    for one, other in zip(found, blocks, strict=False):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)

    read, write = os.pipe()
    threading.Thread(target=lambda: os.close(write) if os.write(write, path.read_bytes()) else None).start()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False, fileno=lambda: read))
    with ClipStream(predictor, "-", threading.Event()) as piped:
        assert len(list(piped.blocks())) == len(blocks)
    os.close(read)
    np.testing.assert_allclose(piped.result.probabilities, stream.result.probabilities, atol=1e-6)
    assert not piped.result.stopped


def test_a_network_that_fails_does_not_wait_for_a_silent_pipe(predictor, pipe, tmp_path):
    class Failing(FakeNetwork):
        def __call__(self, frames):
            time.sleep(0.5)  # By then all that was sent is decoded, and the pipe is waited for.
            raise MemoryError("no room")

    predictor.network, stop = Failing(), threading.Event()
    watchdog = threading.Timer(10, stop.set)
    watchdog.start()
    data = write_clip(tmp_path / "a.mp4", 20).read_bytes()
    with (
        ClipStream(predictor, pipe(data, keep_open=True), stop) as stream,
        pytest.raises(MemoryError, match="no room"),
    ):
        list(stream.blocks())
    watchdog.cancel()
    assert not stop.is_set()


@pytest.mark.slow
def test_ctrl_c_ends_with_the_result_so_far(attention_run, network, clips, capsys, tmp_path):
    calls = []

    class Interrupting(FakeNetwork):
        def __call__(self, frames):
            calls.append(len(frames))
            if len(calls) == 2:
                signal.raise_signal(signal.SIGINT)
            return super().__call__(frames)

    network.network = Interrupting()
    handler = signal.getsignal(signal.SIGINT)
    long = write_clip(tmp_path / "long.mp4", 120)
    overlays = tmp_path / "overlays"
    assert predict(attention_run, [str(long), str(clips)], as_json=True, overlay=str(overlays)) == 0
    assert signal.getsignal(signal.SIGINT) is handler
    (clip,) = [line for line in said(capsys) if line["type"] == "clip"]
    assert clip["stopped"] and clip["cut_short"] == "" and 1 <= clip["num_blocks"] < 20
    (overlay,) = overlays.iterdir()
    with av.open(str(overlay)) as container:
        assert sum(1 for _ in container.decode(video=0)) == clip["num_frames"] < 120


@pytest.fixture
def warm_run(attention_run, load, network, monkeypatch):
    """The run as if a temperature had been fitted."""
    model = replace(load(attention_run, "best"), temperature=Temperature(3.0, 20))
    monkeypatch.setattr(predict_clips.trained, "load", lambda *_: model)
    return attention_run


def test_probabilities_are_at_the_runs_temperature(warm_run, network, clips, capsys):
    clip = str(clips / "run/a.mp4")
    found = {}
    for calibrate in (True, False):
        assert predict(warm_run, [clip], as_json=True, calibrate=calibrate) == 0
        found[calibrate] = said(capsys)
    for warm, plain in zip(*found.values(), strict=True):
        values = [np.array(list(line["probabilities"].values())) for line in (warm, plain)]
        np.testing.assert_allclose(values[0], at_temperature(values[1], 3.0), atol=1e-5)
        assert warm["predicted"] == plain["predicted"] and not warm["rejected"]
    assert [line["temperature"] for line in (found[True][-1], found[False][-1])] == [3.0, 1.0]
    assert predict(warm_run, [clip]) == 0
    assert "paper protocol; temperature 3.00, fitted on 20 held-out clips" in capsys.readouterr().out


def test_what_is_not_sure_enough_is_none_of_these(warm_run, network, clips, capsys):
    clip = str(clips / "run/b.mp4")
    assert predict(warm_run, [clip], as_json=True, reject_below=0.999) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["predicted"] for line in out.splitlines()] == [NONE_OF_THESE] * 2
    assert all(json.loads(line)["rejected"] for line in out.splitlines()) and err == ""
    assert predict(warm_run, [clip], reject_below=0.999, top=1) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("  whole clip: none of these (")


def test_a_threshold_without_a_temperature_is_noted(attention_run, network, clips, capsys):
    assert predict(attention_run, [str(clips / "run/b.mp4")], as_json=True, reject_below=0.5) == 0
    assert capsys.readouterr().err == (
        "NOTE: reject_below=0.5: temperature 1: this checkpoint has no held-out clips to fit it on\n"
    )


@pytest.mark.slow
def test_predictions_and_segments_in_files(warm_run, network, clips, tmp_path, capsys):
    (clips / "bad.mp4").write_bytes(b"no video")
    try:
        names, files = [str(clips)], {"output": str(tmp_path / "new/p.csv"), "segments": str(tmp_path / "new/s.json")}
        assert predict(warm_run, names, as_json=True, segment_rule=SegmentRule(min_seconds=0.3), **files) == 1
    finally:
        (clips / "bad.mp4").unlink()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    with open(files["output"], encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert list(rows) == [f"{clips}/bad.mp4", *(f"{clips}/{name}" for name in sorted(LENGTHS))]
    assert rows[f"{clips}/bad.mp4"]["note"].startswith(f"{clips}/bad.mp4: not a video file")
    assert rows[f"{clips}/run/b.mp4"]["note"] == "shorter than one block: its last frame was repeated"
    segments = json.loads((tmp_path / "new/s.json").read_text())
    for line in lines:
        if line["type"] == "clip":
            row = rows[line["clip"]]
            assert row["predicted"] == line["predicted"] and row["num_blocks"] == str(line["num_blocks"])
            assert float(row["p(run)"]) == pytest.approx(line["probabilities"]["run"], abs=1e-6)
            assert float(row["confidence"]) == pytest.approx(max(line["probabilities"].values()), abs=1e-6)
            own = [segment for segment in segments if segment["path"] == line["clip"]]
            assert own[0]["start"] == 0 and own[-1]["end"] == pytest.approx(line["num_frames"] / 25, abs=1e-3)
            assert all(a["end"] == b["start"] for a, b in itertools.pairwise(own))
    assert {segment["path"] for segment in segments} == {f"{clips}/{name}" for name in LENGTHS}


def test_bad_names_of_files_are_refused_before_anything_is_done(tmp_path):
    for options, message in (
        ({"segments": "out.txt"}, "segments=out.txt: must end in .csv, .json or .srt"),
        ({"output": "out.json"}, "output=out.json: must end in .csv"),
    ):
        with pytest.raises(InputError, match=message):
            predict(tmp_path / "no run", ["a.mp4"], **options)


@pytest.mark.parametrize("program", ["predict", "evaluate"])
@pytest.mark.slow
def test_a_threshold_is_a_probability(program):
    command = [sys.executable, "-m", f"experiments.{program}", "--workdir=run", "--reject_below=1.5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and "reject_below" in done.stderr and "1.5" in done.stderr


def test_one_bad_clip_does_not_hold_up_the_others(attention_run, network, clips, tmp_path, capsys):
    (tmp_path / "bad\n.mp4").write_bytes(b"no video")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {clips}/run/a.mp4\n")
    for name in (b"caf\xe9.mp4", b"caf\xe9.txt"):  # Latin-1; the second is no video and no matter.
        (tmp_path / os.fsdecode(name)).touch()
    names = [str(tmp_path), "nowhere.mp4", "/dev/null", str(clips / "run/b.mp4")]
    assert predict(attention_run, names, as_json=True) == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == ["error"] * 5 + ["block", "clip"]
    errors = err.splitlines()
    assert len(errors) == 5 and all(line.startswith("error: ") for line in errors)
    assert errors[0] == f"error: {tmp_path}/bad\\n.mp4: not a video file, or one whose header is cut off or damaged"
    assert errors[1] == f"error: the clip '{tmp_path}/caf\\udce9.mp4' has a name that is not UTF-8; rename it"
    assert "list.mp4: not a video file" in errors[2]
    assert errors[3] == f"error: {os.getcwd()}/nowhere.mp4: no such file"
    assert errors[4].startswith("error: /dev/null: not a camera that can be opened (")


def test_what_a_pipe_holds_opens_nothing(predictor, clips, pipe):
    name = pipe(f"ffconcat version 1.0\nfile {clips}/run/a.mp4\n".encode(), keep_open=False)
    with pytest.raises(InputError, match="no video that can be read as it comes"):
        ClipStream(predictor, name, threading.Event()).__enter__()


def test_the_network_must_be_the_runs_own(attention_run, network, clips, load, capsys):
    network.network = FakeNetwork(weights_sha256="11", colour="rgb")
    with pytest.raises(InputError, match=r"colour is 'rgb' instead of None; weights_sha256 is '11' instead of '00'"):
        predict(attention_run, [str(clips)])
    network.network = FakeNetwork()
    model = load(attention_run, "best")
    predict_clips.matching_network(model)
    assert capsys.readouterr() == ("", "")
    older = replace(model, recipe=model.recipe | {"decoder": "PyAV 1"})
    predict_clips.matching_network(older)
    out, err = capsys.readouterr()
    assert (
        out == "" and err.startswith("NOTE: the run's features were decoded by PyAV 1, here") and err.count("\n") == 1
    )
    network.network = FakeNetwork(random=True)
    with pytest.raises(InputError, match="random is True instead of False"):
        predict_clips.matching_network(model)
    converted = replace(model, recipe={"network": "released layout", "random": False})
    with pytest.raises(InputError, match=r"released layout\) were not made by data_prep.extract_features"):
        predict_clips.matching_network(converted)


@pytest.mark.slow
def test_overlay_of_a_whole_clip(attention_run, network, clips, tmp_path, capsys):
    network.network.recipe["random"] = False
    overlay = tmp_path / "new" / "overlay.mp4"
    assert predict(attention_run, [str(clips / "run/a.mp4")], overlay=str(overlay)) == 0
    assert capsys.readouterr().out.endswith(f"  overlay: {overlay}\n")
    with av.open(str(overlay)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    assert len(pictures) == 41 and pictures[0].shape == (240, 320, 3)
    assert all(picture[:190].max() > 200 for picture in pictures)  # Attention's maximum is white, in every frame.
    assert all((picture[-34:] > 200).any() and np.median(picture[-34:]) < 120 for picture in pictures)  # the text


def test_an_overlay_that_fails_takes_no_prediction_with_it(attention_run, network, clips, tmp_path, capsys):
    overlay = tmp_path / "overlay.mp4"
    overlay.mkdir()
    names = [str(clips / "run/b.mp4")]
    assert predict(attention_run, names, overlay=str(overlay), as_json=True) == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["type"] for line in lines] == ["block", "clip", "error"]
    assert err.splitlines()[-1].startswith(f"error: {overlay}: cannot be written (Is a directory)")
    assert err.count("error") == 1
    assert predict(attention_run, names, overlay=str(overlay)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("  whole clip: ")


def test_a_random_network_is_said_everywhere(attention_run, load, network, clips, tmp_path, capsys, monkeypatch):
    model = load(attention_run, "best")
    model = replace(model, recipe=model.recipe | {"random": True})
    monkeypatch.setattr(predict_clips.trained, "load", lambda *_: model)
    network.network = FakeNetwork(random=True)
    clip = str(clips / "run/b.mp4")
    assert predict(attention_run, [clip], overlay=str(tmp_path / "overlay.mp4")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("NOTE: the network is RANDOM")
    assert "; features of a RANDOM network)" in lines[4] and len(lines) == 6
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="gray")
    assert all((picture[240 - 18 * n : 258 - 18 * n] > 180).any() for n in (1, 2, 3))  # One line more than usual.
    assert np.median(picture[186:]) < 120
    assert predict(attention_run, [clip], as_json=True) == 0
    assert [line["random_network"] for line in said(capsys)] == [True, True]


@pytest.mark.slow
def test_an_overlay_that_cannot_be_is_said_before_anything_is_done(attention_run, make_run, network, clips, tmp_path):
    a, c = str(clips / "run/a.mp4"), str(clips / "jump/c.mp4")
    with pytest.raises(InputError, match="one file for 2 clips; name a folder"):
        overlay_paths("out.mp4", [a, c])
    with pytest.raises(InputError, match="would be written over the clip"):
        overlay_paths(a, [a])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"the folder .*/file cannot be made"):
        predict(attention_run, [a], overlay=str(tmp_path / "file" / "overlay.mp4"))
    overlays = overlay_paths(str(tmp_path / "overlays"), [a, c, f"{clips}/run_a.mp4"])
    assert [overlay.name for overlay in overlays.values()] == [
        "run_a_mp4_9ef4fecd.mp4",
        "jump_c_mp4.mp4",
        "run_a_mp4_d47445e7.mp4",
    ]
    deep = [f"{clips}/{'ä' * 90}{n}/{'x' * 90}.mp4" for n in "yz"]
    names = [path.name for path in overlay_paths("overlays", deep).values()]
    assert len(set(names)) == 2 and all(len(f"{name}.01234567.partial".encode()) <= 143 for name in names)
    assert names[0].startswith("ä" * 10) and names == [path.name for path in overlay_paths("overlays", deep).values()]
    pooled = make_run(FakeNetwork(), "average_pool", num_steps=4, fps=10.0)
    with pytest.raises(InputError, match="model=average_pool has no attention to show"):
        predict(pooled, [a], overlay=str(tmp_path / "overlay.mp4"))
    assert predict(pooled, [c], stride=20) == 0  # Without one it is a model like others.
    assert not (tmp_path / "overlay.mp4").exists()
    evidence = tmp_path / "evidence.mp4"
    assert predict(pooled, [c], stride=20, overlay=str(evidence), explain="evidence") == 0
    with av.open(str(evidence)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="gray")
    assert all((picture[240 - 18 * n : 258 - 18 * n] > 180).any() for n in (1, 2, 3))  # It says what is white.


def test_which_clips_are_meant(clips, tmp_path):
    a, b, c = (str(clips / name) for name in ("run/a.mp4", "run/b.mp4", "jump/c.mp4"))
    assert list_clips([str(clips)]) == [c, a, b]
    assert list_clips([b, str(clips), "-", b]) == [b, c, a, "-"]
    os.mkfifo(tmp_path / "pipe.mp4")  # In folders only files are meant: this one would be waited for.
    for names, reason in (
        ([], "no clip is named"),
        (["-", "-"], "named twice"),
        ([str(tmp_path)], "no video in this f"),
    ):
        with pytest.raises(InputError, match=reason):
            list_clips(names)


def test_a_run_without_a_checkpoint_and_no_run(attention_run, clips, tmp_path):
    (tmp_path / "config.json").write_bytes((attention_run / "config.json").read_bytes())
    for workdir, reason in (
        (tmp_path, "no checkpoints here; train first"),
        (tmp_path / "none", "must name a trained run"),
    ):
        with pytest.raises(InputError, match=reason):
            predict(workdir, [str(clips)])


def test_numbers_that_are_none_are_said(predictor, clips):
    recipe = {"random": False, "input_size": [224, 224]}
    predictor.network = Network(
        recipe, lambda frames: np.full((len(frames), 7, 7, 1024), np.nan, np.float16), (7, 7, 1024)
    )
    expected = r"run/b.mp4: the model's predictions are not finite numbers"
    with (
        ClipStream(predictor, str(clips / "run/b.mp4"), threading.Event()) as stream,
        pytest.raises(InputError, match=expected),
    ):
        list(stream.blocks())
    predictor.network = Network(recipe, lambda frames: np.zeros((len(frames), 3, 3, 8), np.float16), (3, 3, 8))
    with (
        ClipStream(predictor, str(clips / "run/b.mp4"), threading.Event()) as stream,
        pytest.raises(InputError, match=r"features of shape \[3, 3, 8\]: must be \[7, 7, 1024\]"),
    ):
        list(stream.blocks())


@pytest.fixture
def phone(tmp_path):
    """A clip whose frames are, in turn, 1/30 and 1/15 s apart."""
    random = np.random.default_rng(5)
    path = tmp_path / "phone.mp4"
    with Mp4(path, 20) as video:
        for n in range(60):
            picture = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
            video.add(picture.resize((64, 48), Image.Resampling.NEAREST), (n // 2 * 6 + n % 2 * 2) / 60)
    return path


def watch_network(predictor, monkeypatch) -> list:
    """Returns the list of the batches that the network is given from now on."""
    network, seen = predictor.network, []
    recipe = network.recipe | {"input_size": network.input_size}
    watched = Network(recipe, lambda frames: seen.append(frames) or network(frames), network.feature_shape)
    monkeypatch.setattr(predictor, "network", watched)
    return seen


def test_a_varying_rate_is_sampled_as_extraction_does(predictor, phone, pipe, monkeypatch):
    times = frame_times(phone)
    assert times.varies and times.fps == pytest.approx(59 / (176 / 60))
    rows = times.rows(6)
    expected = np.concatenate(list(read_frames(phone, frames=rows)))
    seen = watch_network(predictor, monkeypatch)
    monkeypatch.setattr(predictor, "extraction_fps", 6.0)
    monkeypatch.setattr(predictor, "stride", 1)
    for name in (str(phone), pipe(phone.read_bytes(), keep_open=False)):
        seen.clear()
        with ClipStream(predictor, name, threading.Event()) as stream:
            blocks = list(stream.blocks())
        # The last batch is padded.
        np.testing.assert_array_equal(np.concatenate(seen)[: len(rows)], expected)
        assert stream.result.num_frames == 60 and stream.result.seconds == pytest.approx(176 / 60 + 1 / 20, abs=0.01)
        assert len(blocks) == len(rows) - 3
        shown = times.ticks[rows] * float(times.tick)
        for block in blocks:
            assert block.seconds[0] == pytest.approx(shown[block.first])
            assert block.seconds[1] == pytest.approx(shown[block.first + 3] + 1 / stream.fps)


def test_the_first_frames_of_a_pipe_say_its_rate(predictor, tmp_path, pipe, monkeypatch):
    """The header of the MP4 says the mean, 18 frames per second."""
    path = tmp_path / "clip.mp4"
    with Mp4(path, 30) as video:
        for n in range(60):
            time = n / 30 if n < 20 else (20 + 2 * (n - 20)) / 30
            video.add(Image.new("RGB", (64, 48), (4 * n, 40, 40)), time)
    rows = frame_times(path).rows(6)
    np.testing.assert_array_equal(rows[:5], [0, 5, 10, 15, 20])
    frames = np.concatenate(list(read_frames(path)))
    seen = watch_network(predictor, monkeypatch)
    monkeypatch.setattr(predictor, "extraction_fps", 6.0)
    monkeypatch.setattr(predictor, "stride", 1)
    with ClipStream(predictor, pipe(path.read_bytes(), keep_open=False), threading.Event()) as stream:
        assert stream.found.fps == pytest.approx(30) and stream.found.rate_known
        list(stream.blocks())
    np.testing.assert_array_equal(np.concatenate(seen)[: len(rows)], frames[rows])


def test_a_video_of_a_varying_rate_keeps_its_times(attention_run, network, phone, tmp_path):
    network.network.recipe["random"] = False
    assert predict(attention_run, [str(phone)], overlay=str(tmp_path / "out.mp4")) == 0
    np.testing.assert_allclose(times_in_seconds(tmp_path / "out.mp4"), times_in_seconds(phone), atol=1e-3)


def times_in_seconds(path):
    times = frame_times(path)
    return times.ticks * float(times.tick)


def test_pictures_are_as_a_player_shows_them(attention_run, network, clips, tmp_path, capsys):
    """A front camera's clip with non-square pixels: mirrored and stretched."""
    path = tmp_path / "mirrored.mp4"
    picture = np.full((48, 64, 3), 20, np.uint8)
    picture[:, :16] = 230
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(0, hflip=True)
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    predictor = ClipPredictor(predict_clips.trained.load(attention_run, "best"), FakeNetwork())
    with ClipStream(predictor, str(path), threading.Event()) as stream:
        shown = []
        list(stream.blocks(lambda row, seconds, picture: shown.append((row, seconds, picture)), lambda h, w: (h, w)))
    assert [row for row, _, _ in shown] == list(range(10))
    assert [seconds for _, seconds, _ in shown] == pytest.approx(np.arange(10) / 25)
    assert all(picture.shape == (48, 128, 3) for _, _, picture in shown)
    assert shown[0][2][:, 100:].min() > 180 and shown[0][2][:, :90].max() < 80
    assert predict(attention_run, [str(path)]) == 0
    assert f"{path} (128×48, 25 fps)" in capsys.readouterr().out
