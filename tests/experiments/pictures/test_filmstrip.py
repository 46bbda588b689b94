"""Filmstrips, videos and animations, read back from the files."""

import os

import av
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from attention_ar.errors import InputError
from experiments.pictures.filmstrip import attention_movie, filmstrip


def clip(num_frames=12, height=48, width=64):
    """Frames that get brighter, blue ones, and attention that walks over the cells."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    frames[..., 2] = np.linspace(60, 250, num_frames).astype(np.uint8)[:, None, None]
    return frames, np.eye(49)[np.arange(num_frames) % 49]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def read_video(path):
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int), rate


def test_strip_has_frames_above_and_attention_below(tmp_path):
    frames, attention = clip()
    filmstrip(frames, attention, "jump (0.9)", tmp_path / "strip.png", num_columns=4, height=60)
    sheet = pixels(tmp_path / "strip.png")
    assert sheet.shape == (28 + 2 * 64 + 18, 4 + 4 * 84, 3)
    for column, shown in enumerate((0, 4, 7, 11)):
        left = 4 + 84 * column
        above, below = (sheet[top : top + 60, left : left + 80] for top in (28, 92))
        np.testing.assert_allclose(above, np.broadcast_to(frames[shown, 0, 0], above.shape), atol=2)
        row, column_of_cell = divmod(shown, 7)
        brightest = np.unravel_index(below[..., 0].argmax(), (60, 80))
        assert abs(brightest[0] - (row + 0.5) * 60 / 7) < 9 and abs(brightest[1] - (column_of_cell + 0.5) * 80 / 7) < 12
        assert below[..., 0].max() > 195 and below[-1, :, 0].max() < 5


def test_short_clip_gives_fewer_columns(tmp_path):
    filmstrip(*clip(3), "", tmp_path / "three.png", num_columns=8, height=40)
    filmstrip(*clip(1), "", tmp_path / "one.png", num_columns=8, height=40)
    assert pixels(tmp_path / "three.png").shape[1] == 4 + 3 * 57
    assert pixels(tmp_path / "one.png").shape[1] == 4 + 57


@pytest.mark.parametrize("caption", ["$x^2$ costs \\$5 & <b>", "Übung: прыжок λ=10 “élan”", "% {0} %s \\frac"])
def test_captions_are_drawn_as_they_are(tmp_path, caption):
    filmstrip(*clip(8), caption, tmp_path / "strip.png")
    band = pixels(tmp_path / "strip.png")[:28]
    expected = Image.new("RGB", (band.shape[1], 28), "white")
    file = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf")
    ImageDraw.Draw(expected).text((4, 14), caption, (30, 30, 30), ImageFont.truetype(file, 15), anchor="lm")
    assert (band < 128).any()
    np.testing.assert_allclose(band, np.asarray(expected).astype(int), atol=24)  # 256 colours


def test_long_captions_and_line_breaks_stay_on_one_line_inside_the_picture(tmp_path):
    filmstrip(*clip(2), "a_very_long_label " * 30 + "\nsecond\tline", tmp_path / "strip.png", height=40)
    sheet = pixels(tmp_path / "strip.png")
    assert sheet.shape[1] == 4 + 2 * 57
    assert (sheet[:28, :-4] < 128).any() and (sheet[:28, -3:] > 200).all()


@pytest.mark.slow
def test_strip_of_noise_is_made_smaller_until_it_keeps_the_limit(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (8, 240, 320, 3), np.uint8)
    filmstrip(frames, np.full((8, 49), 1 / 49), "noise", tmp_path / "strip.png", height=240)
    assert 100_000 < (tmp_path / "strip.png").stat().st_size <= 300_000


def test_video_shows_every_frame_beside_its_attention(tmp_path):
    frames, attention = clip(10)
    attention_movie(frames, attention, tmp_path / "video.mp4", fps=12.5, caption="jump", height=96)
    pictures, rate = read_video(tmp_path / "video.mp4")
    assert pictures.shape == (10, 28 + 96, 2 * 128, 3) and rate == 12.5
    for n in (0, 5, 9):
        left, right = pictures[n, 28:, :128], pictures[n, 28:, 128:]
        np.testing.assert_allclose(left[10:-10, 10:-10].mean((0, 1)), frames[n, 0, 0], atol=8)
        assert right[..., 0].max() > 150 and left[..., 0].max() < 60


def test_running_captions_change_from_frame_to_frame(tmp_path):
    captions = ["jump" if n < 5 else "" for n in range(10)]
    attention_movie(*clip(10), tmp_path / "video.mp4", fps=10, caption=captions)
    inked = (read_video(tmp_path / "video.mp4")[0][:, :24] < 100).any((1, 2, 3))
    np.testing.assert_array_equal(inked, np.arange(10) < 5)


@pytest.mark.parametrize(
    ("num_frames", "fps", "shown", "milliseconds"),
    [(6, 6, 6, 170), (30, 25, 15, 80), (30, 30, 10, 100), (200, 12.5, 50, 320)],
)
def test_animation_is_small_and_lasts_as_long(tmp_path, num_frames, fps, shown, milliseconds):
    attention_movie(*clip(num_frames), tmp_path / "animation.gif", fps=fps, caption="jump", height=64)
    with Image.open(tmp_path / "animation.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (shown, milliseconds, 0)
        assert gif.size == (2 * 43, 22 + 32)


def test_frames_that_are_not_equally_far_apart(tmp_path):
    seconds = [0.0, 0.1, 0.2, 0.3, 1.3, 1.4]
    frames, attention = clip(6)
    attention_movie(frames, attention, tmp_path / "video.mp4", fps=6 / 1.5, seconds=seconds)
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx(seconds, abs=1e-3)
    attention_movie(frames, attention, tmp_path / "animation.gif", fps=6 / 1.5, seconds=seconds)
    with Image.open(tmp_path / "animation.gif") as gif:
        found = []
        for number in range(gif.n_frames):
            gif.seek(number)
            found.append(gif.info["duration"])
    assert found == [100, 100, 100, 1000, 100, 250]
    filmstrip(frames, attention, "", tmp_path / "strip.png", num_columns=3, height=60, seconds=seconds)
    sheet = pixels(tmp_path / "strip.png")
    for column, shown in enumerate((0, 3, 5)):  # nearest to 0, 0.7 and 1.4 s
        np.testing.assert_allclose(sheet[50, 44 + 84 * column], frames[shown, 0, 0], atol=2)


@pytest.mark.parametrize("size", [(33, 47), (64, 36)])
def test_odd_and_upright_frames_are_fine(tmp_path, size):
    frames, attention = clip(3, *size)
    attention_movie(frames, attention, tmp_path / "video.mp4", fps=29.97, height=101)
    pictures, rate = read_video(tmp_path / "video.mp4")
    width = round(101 * size[1] / size[0])
    assert pictures.shape[1:3] == (28 + 102, 2 * width) and abs(float(rate) - 29.97) < 1e-3


def test_nothing_is_left_beside_the_files(tmp_path):
    filmstrip(*clip(3), "", tmp_path / "a.png")
    attention_movie(*clip(3), tmp_path / "a.mp4", fps=5)
    attention_movie(*clip(3), tmp_path / "a.gif", fps=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.mp4", "a.png"]


def test_frames_and_glimpses_must_be_as_many(tmp_path):
    frames, attention = clip(4)
    with pytest.raises(InputError, match="4 frames and 3 glimpses"):
        filmstrip(frames, attention[:3], "", tmp_path / "a.png")
    with pytest.raises(InputError, match="at least one"):
        attention_movie(frames[:0], attention[:0], tmp_path / "a.gif", fps=5)
    with pytest.raises(InputError, match="4 frames and 2 captions"):
        attention_movie(frames, attention, tmp_path / "a.mp4", fps=5, caption=["a", "b"])
    assert not list(tmp_path.iterdir())
