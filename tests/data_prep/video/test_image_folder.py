import os
import warnings

import numpy as np
import pytest
from PIL import Image

from attention_ar.errors import InputError
from data_prep.video.clip_frames import ClipRecord, decode_clip, probe_clip
from data_prep.video.frames import VideoError, read_frames, upright_size
from data_prep.video.image_folder import ImageFolder, check_image_fps, gap_in, in_order
from data_prep.video.probe import probe
from data_prep.video.scan import scan_clips


def save(path, shade, size=(48, 64), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), shade, np.uint8)).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, named 1.png to 12.png, each brighter by 10."""
    for n in range(1, 13):
        save(tmp_path / "clip" / f"{n}.png", 10 * n)
    return tmp_path / "clip"


def shades(source, **options):
    frames = np.concatenate(list(read_frames(source, size=None, colour="rgb24", **options)))
    return frames[:, 0, 0, 0].tolist()


def test_pictures_are_frames_in_the_order_of_their_numbers(folder):
    assert shades(folder) == [10 * n for n in range(1, 13)]  # Lexicographic order begins with 1, 10, 11, 12.
    assert shades(folder, every=5) == [10, 60, 110]
    found = probe(folder)
    assert (found.fps, found.num_missing, found.rate_known) == (25.0, 0, True)
    assert upright_size(folder) == (64, 48)


@pytest.mark.parametrize("fps", [1.0, 10.0, 29.97, 120.0])
def test_how_many_are_a_second(folder, fps):
    assert probe(ImageFolder(str(folder), fps)).fps == pytest.approx(fps, rel=1e-6)
    assert shades(ImageFolder(str(folder), fps)) == [10 * n for n in range(1, 13)]


def test_a_clip_on_its_way_to_features(folder):
    *chunks, record = decode_clip(probe_clip(str(folder.parent), "clip", 10.0, 30.0), size=(32, 40))
    assert [chunk.shape for chunk in chunks] == [(4, 32, 40, 3)]
    assert record == ClipRecord("clip", 4, 30.0, 10.0, "")
    (scan,) = scan_clips(folder.parent, ["clip"])
    assert (scan.num_frames, scan.fps, scan.width, scan.height, scan.unreadable) == (12, 25.0, 64, 48, "")


def test_sizes_kinds_and_modes_of_pictures_may_differ(tmp_path):
    save(tmp_path / "a1.JPG", 40)
    save(tmp_path / "a2.bmp", 50, size=(20, 31))
    Image.new("L", (64, 48), 60).save(tmp_path / "a3.png")
    Image.new("RGBA", (64, 48), (70, 70, 70, 255)).save(tmp_path / "a4.png")
    Image.new("P", (64, 48), 0).save(tmp_path / "a5.png")
    Image.fromarray(np.full((48, 64), 90 << 8, np.uint16)).save(tmp_path / "a6.png")
    Image.new("CMYK", (64, 48), (0, 0, 0, 155)).save(tmp_path / "a7.jpg")
    assert shades(tmp_path) == pytest.approx([40, 50, 60, 70, 0, 90, 100], abs=3)


def test_a_picture_that_was_taken_upright_is_upright(tmp_path):
    sideways = Image.fromarray(np.zeros((48, 64, 3), np.uint8))
    exif = sideways.getexif()
    exif[0x0112] = 6
    for n in (1, 2):
        sideways.save(tmp_path / f"{n}.jpg", exif=exif)
    assert upright_size(tmp_path) == (48, 64)


@pytest.mark.parametrize("broken", [2, 3, 4, 12])
def test_a_picture_that_cannot_be_decoded_ends_the_clip(folder, broken):
    (folder / f"{broken}.png").write_bytes((folder / f"{broken}.png").read_bytes()[:60])
    reader = read_frames(folder, size=None)
    assert sum(len(frames) for frames in reader) == broken - 1
    reason = f"cut short: {broken - 1} of 12 frames are whole ({broken}.png cannot be decoded ("
    assert reader.cut_short.startswith(reason) and "\n" not in reader.cut_short
    assert (probe(folder).num_frames, probe(folder).num_missing) == (broken - 1, 13 - broken)


def test_a_first_picture_that_cannot_be_decoded_is_a_lost_clip(folder):
    (folder / "1.png").write_bytes(b"no picture")
    with pytest.raises(VideoError, match=r"1.png cannot be decoded \(no picture\)"):
        probe(folder)


@pytest.mark.filterwarnings("ignore")
def test_too_large_a_picture_is_refused_whatever_another_thread_does_to_the_warnings(folder, monkeypatch):
    open_picture = Image.open

    def open_beside_another_thread(*arguments, **options):
        warnings.simplefilter("ignore")
        return open_picture(*arguments, **options)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 - 1)
    monkeypatch.setattr(Image, "open", open_beside_another_thread)
    with pytest.raises(VideoError, match=r"1.png cannot be decoded \(64×48 pixels are too many\)"):
        probe(folder)


def test_hostile_names_are_only_names(tmp_path):
    for n, name in enumerate(("%d [1] ;$(x)\n{}001.png", "%d [1] ;$(x)\n{}002.png"), 1):
        save(tmp_path / "%03d*?[a]" / name, 10 * n)
    assert shades(tmp_path / "%03d*?[a]") == [10, 20]
    save(tmp_path / "long" / f"{'9' * 17}.png", 10)
    save(tmp_path / "long" / f"{'9' * 16}8.png", 20)
    assert shades(tmp_path / "long") == [20, 10]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "notes1.txt"], "a folder without numbered pictures"),
        (["rgb_1.png", "rgb_2.png", "flow_1.png"], "pictures of 2 series, such as flow_1.png and rgb_1.png"),
        (["1.png", "01.png"], "two pictures for one frame, 01.png and 1.png"),
        (["1.png", "1.jpg"], "two pictures for one frame, 1.jpg and 1.png"),
    ],
)
def test_folders_that_are_no_clip(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=message):
        in_order(names)
    with pytest.raises(VideoError, match=message):
        next(read_frames(tmp_path))


def test_gaps(folder, tmp_path):
    assert gap_in(folder) == ""
    os.remove(folder / "5.png")
    assert gap_in(folder) == "between 4.png and 6.png"
    assert len(shades(folder)) == 11
    for n in (0, 5, 10):
        save(tmp_path / "every fifth" / f"{n}.png", n)
    assert gap_in(tmp_path / "every fifth") == ""


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf"), 0.05, 1001.0])
def test_a_rate_that_cannot_be(fps):
    with pytest.raises(InputError, match=f"image_fps={fps:g}: must be pictures per second"):
        check_image_fps(fps)
