"""Features of a clip whose frame rate varies: their pictures and boxes are those of the frames they were made of."""

from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.datasets.boxes import ClipBoxes
from data_prep.features.opening import open_features
from data_prep.loading.block_table import Blocks
from data_prep.video.frames import read_frames
from experiments.runs.localisation_scores import Localisation, say_what_fits_no_frame
from experiments.runs.visualization import original_frames

CLIP, VIDEO = "jump/clip 4 (#1).avi", 12  # in the tiny features, with 7 rows
NEAREST = np.array([0, 5, 10, 12, 12, 15, 17])


@pytest.fixture(scope="module")
def file(tmp_path_factory, write_tiny):
    folder = tmp_path_factory.mktemp("clips")
    (folder / CLIP).parent.mkdir()
    with av.open(str(folder / CLIP), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=60)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, time in enumerate([*range(0, 20, 2), *range(20, 60, 4)]):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 10 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 60)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frame = np.tile(np.arange(7), 18)
    frame[7 * VIDEO : 7 * VIDEO + 7] = NEAREST
    return open_features(write_tiny(frame=frame, data_dir=str(folder), native_fps=np.full(18, 20.0)))


def test_pictures(file):
    frames = np.concatenate(list(read_frames(file.clip_path(VIDEO), size=None, colour="rgb24")))
    found = original_frames(file, VIDEO, np.array([1, 3, 4, 6]))
    np.testing.assert_array_equal(found, frames[NEAREST[[1, 3, 4, 6]]])


def test_boxes(file, tmp_path, capsys):
    path = tmp_path / "boxes.csv"
    rows = [(5, 0, 0, 64, 16), (6, 0, 0, 1, 1), (12, 0, 0, 32, 48)]  # Frame 6 was not taken, 12 twice.
    path.write_text("path,frame,x0,y0,x1,y1\n" + "".join(f"{CLIP},{','.join(map(str, row))}\n" for row in rows))
    blocks = Blocks(np.array([VIDEO]), file.first_row[VIDEO] + np.arange(7)[None])
    localisation = Localisation(path, file, blocks)
    attention = np.zeros((1, 7, 9))
    attention[..., 8] = 1
    attention[0, [1, 3], 0] = attention[0, [1, 3], 0] + 1
    attention /= attention.sum(axis=-1, keepdims=True)
    localisation.add(blocks.rows, attention)
    found = localisation.scores()
    assert (found["num_frames"], found["frames_without_box"]) == (3, 4)
    assert found["mass"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found["area"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert capsys.readouterr().out == ""


def test_a_box_after_the_last_frame_is_said(file, capsys):
    boxes = {CLIP: ClipBoxes(np.array([19]), np.ones((1, 4)))}
    say_what_fits_no_frame("boxes.csv", boxes, file)
    assert "has a box for frame 19; frames count from 0, and it has 19 at most" in capsys.readouterr().out
