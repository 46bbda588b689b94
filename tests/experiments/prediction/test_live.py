"""Live sources, which do not wait for the network: what is dropped, and that blocks keep their time."""

import os
import threading
import time
from types import SimpleNamespace

import av
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.video.frames import read_frames
from data_prep.video.sources import Camera, Pipe, is_live
from experiments.prediction.clip_predictor import ClipPredictor
from experiments.prediction.clip_stream import ClipStream
from experiments.prediction.predict_clips import predict
from experiments.runs.calibration import Temperature

FPS, STEPS = 25, 4


class Brightness:
    """A network whose one feature is the mean of each frame."""

    input_size = (32, 32)
    feature_shape = (1, 1, 1)
    calls_in_flight = 1

    def __init__(self, before_call=lambda: None):
        self.before_call, self.seen = before_call, []

    def __call__(self, frames):
        self.before_call()
        means = frames.mean(axis=(1, 2, 3))
        self.seen += means[means > 0].tolist()  # Not the padding.
        return means.astype(np.float32).reshape(-1, 1, 1, 1)


class Predictor(ClipPredictor):
    """Its probability of the first class is the brightness of the block's last frame; it keeps all features."""

    def __init__(self, network, stride=1, fps=float(FPS), **options):
        data = SimpleNamespace(num_steps=STEPS, fps=fps, stride=stride, block_rule="paper")
        model = SimpleNamespace(
            config=SimpleNamespace(data=data, released=SimpleNamespace(last_n=1)),
            recipe={"extraction_fps": "native", "random": False},
            feature_shape=[1, 1, 1],
            input_shapes=[[1, 1, 1]],
            levels=[],
            class_names=["bright", "dark"],
            multi_label=False,
            temperature=Temperature(),
        )
        super().__init__(model, network, **options)
        self.by_block = []

    def blocks(self, starts, features, frame_batch):
        values = np.array(features).reshape(len(features), STEPS)
        self.by_block += values.tolist()
        share = values[:, -1] / 255
        return np.stack([share, 1 - share], axis=1), None


def write_frames(file, count, wait=lambda: None):
    """Writes frames that get brighter, as a stream that can be read as it comes."""
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=FPS)
        stream.width = stream.height = 32
        stream.pix_fmt, stream.gop_size, stream.max_b_frames = "yuv420p", 1, 0
        for n in range(count):
            picture = np.full((32, 32, 3), 20 + 2 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            wait()
        container.mux(stream.encode(None))


@pytest.fixture
def feed(tmp_path):
    """`feed(count, wait)` is the path of a named pipe into which frames are written, by a thread."""
    threads = []

    def start(count, wait=lambda: None):
        path = tmp_path / f"pipe{len(threads)}"
        os.mkfifo(path)

        def work():
            with open(path, "wb", buffering=0) as file:
                write_frames(file, count, wait)

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        return str(path)

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """What the network makes of each frame, which differs a little from what was written."""
    path = tmp_path_factory.mktemp("frames") / "all.ts"
    write_frames(str(path), 80)
    found = np.concatenate(list(read_frames(path, size=Brightness.input_size))).mean(axis=(1, 2, 3))
    assert len(found) == 80 and np.all(np.diff(found) > 0.5)
    return found


def check_blocks(blocks, predictor, shades, skip=1):
    """Every block spans the time that its frames would, and sees the last known frame where one was dropped."""
    seen = np.searchsorted(shades, np.array(predictor.network.seen) - 0.1)  # The numbers of the frames.
    for block, values in zip(blocks, predictor.by_block, strict=True):
        begin, end = block.seconds
        assert begin == pytest.approx(block.first / FPS, abs=1e-3)
        assert end - begin == pytest.approx(((STEPS - 1) * skip + 1) / FPS, abs=1e-3)
        for value, row in zip(values, block.first + skip * np.arange(STEPS), strict=True):
            assert value == pytest.approx(shades[seen[seen <= row][-1]], abs=0.01)


def test_a_source_that_is_faster_than_the_network_loses_late_frames_only(feed, shades):
    """The network stands still at its twelfth frame until all 80 are decoded, and then goes on."""
    calls, decoded = [], threading.Event()

    def wait():
        calls.append(1)
        if len(calls) == 12:
            assert decoded.wait(20)

    network = Brightness(wait)
    predictor, blocks = Predictor(network, live=True), []
    with ClipStream(predictor, feed(80), threading.Event()) as stream:
        assert stream.is_live

        def watch():
            end = time.monotonic() + 20
            while stream.num_frames < 80 and time.monotonic() < end:
                time.sleep(0.01)
            decoded.set()

        threading.Thread(target=watch, daemon=True).start()
        blocks = list(stream.blocks())
    result = stream.result
    assert result.num_frames == 80 and result.num_dropped >= 60  # All others but a few that wait.
    assert len(network.seen) == 80 - result.num_dropped
    np.testing.assert_allclose(network.seen[:12], shades[:12], atol=0.01)
    assert any("came too fast for the network and were dropped" in note for note in result.notes())
    check_blocks(blocks, predictor, shades)
    assert [block.first for block in blocks[:9]] == list(range(9))
    assert blocks[-1].first == 76  # Of the blocks that end while it stands still, one is predicted.
    assert len(blocks) < 20 and result.num_blocks == len(blocks)


def test_a_source_that_waits_loses_nothing(feed, shades):
    predictor = Predictor(Brightness(), stride=3)
    with ClipStream(predictor, feed(40), threading.Event()) as stream:
        assert not stream.is_live
        blocks = list(stream.blocks())
    assert stream.result.num_dropped == 0 and len(predictor.network.seen) == 40
    assert [block.first for block in blocks] == list(range(0, 37, 3))
    check_blocks(blocks, predictor, shades)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stride", "fps", "skip", "frame_batch"), [(1, 25.0, 1, None), (5, 8.0, 3, None), (2, 25.0, 1, 4)]
)
def test_a_pipe_that_is_fed_in_real_time(feed, shades, stride, fps, skip, frame_batch):
    network = Brightness(lambda: time.sleep(0.2))
    predictor = Predictor(network, stride, fps, live=True, frame_batch=frame_batch)
    with ClipStream(predictor, feed(60, lambda: time.sleep(1 / FPS)), threading.Event()) as stream:
        blocks = list(stream.blocks())
    assert stream.result.num_frames == 60 and stream.result.num_dropped >= 5
    assert blocks[-1].seconds[1] > 60 / FPS - (stride + skip) / FPS - 0.01
    check_blocks(blocks, predictor, shades, skip)


def test_which_sources_are_live(tmp_path):
    assert is_live(Camera("/dev/video0"), None) and not is_live(Camera("/dev/video0"), False)
    read, write = os.pipe()
    pipe = Pipe(read, "-", lambda: False)
    assert is_live(pipe, True) and not is_live(pipe, None)
    pipe.close()
    os.close(write)
    (tmp_path / "a.mp4").write_bytes(b"x")
    redirected = Pipe(os.open(tmp_path / "a.mp4", os.O_RDONLY), "-", lambda: False)
    assert not is_live(redirected, True)
    redirected.close()
    assert not is_live(str(tmp_path / "a.mp4"), True)
    with pytest.raises(InputError, match="live: has no effect without a pipe or a camera among the clips"):
        predict(tmp_path, [str(tmp_path / "a.mp4")], live=True)
