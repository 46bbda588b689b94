"""What camcorders, phones, editors and broadcasters write: shown frames, their rate, and no false alarm."""

import os
import struct
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.video.frames import WholeFrames, read_frames, upright_size
from data_prep.video.probe import probe
from data_prep.video.sources import Pipe

# a, b, c, d of the display matrix, and the shown picture made of the stored one by plain numpy
ORIENTATIONS = {
    "upright": ((1, 0, 0, 1), lambda p: p),
    "quarter": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "half": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "three quarters": ((0, -1, 1, 0), lambda p: np.rot90(p)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "mirrored quarter": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "mirrored three quarters": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
}


def count(path):
    """Frames, the rate they have, and why some are missing."""
    reader = read_frames(path)
    return sum(map(len, reader)), probe(path).fps, reader.cut_short


@pytest.fixture
def patched():
    """A picture of which no two orientations are alike."""
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:16, :16] = 220
    picture[32:, :16] = 120
    return picture


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_all_eight_orientations(tmp_path, write_video, set_matrix, patched, name):
    matrix, shown = ORIENTATIONS[name]
    path = set_matrix(write_video(tmp_path / "phone.mp4", 3, lambda _: patched), *matrix)
    upright = shown(patched)
    found = next(read_frames(path, size=None))[0]
    assert found.shape == upright.shape
    np.testing.assert_allclose(found[4::8, 4::8].astype(int), upright[4::8, 4::8], atol=12)
    assert upright_size(path) == (probe(path).width, probe(path).height) == upright.shape[1::-1]
    small = next(read_frames(path, size=(96, 96)))[0].astype(int)  # what features are made of
    rows, columns = (np.arange(6, 96, 12) * length // 96 for length in upright.shape[:2])
    np.testing.assert_allclose(small[6::12, 6::12], upright[np.ix_(rows, columns)], atol=25)


def test_a_matrix_that_also_enlarges(tmp_path, write_video, set_matrix, patched):
    path = set_matrix(write_video(tmp_path / "clip.mp4", 3, lambda _: patched), -2, 0, 0, 2)
    np.testing.assert_allclose(next(read_frames(path, size=None))[0].astype(int), np.fliplr(patched), atol=25)


@pytest.mark.parametrize("matrix", [(0.7071, 0.7071, -0.7071, 0.7071), (1, 0.5, 0, 1), (0, 0, 0, 0), (1, 0, 0, 0)])
def test_other_matrices_are_noted(tmp_path, write_video, set_matrix, patched, matrix):
    path = set_matrix(write_video(tmp_path / "clip.mp4", 3, lambda _: patched), *matrix)
    reader = read_frames(path, size=None)
    np.testing.assert_allclose(next(reader)[0].astype(int), patched, atol=25)
    assert reader.notes() == "its rotation is not a multiple of 90°; it is shown as it is stored"


def test_a_mirrored_picture_in_matroska(tmp_path, patched):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(0, hflip=True)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(patched, format="rgb24")))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(next(read_frames(path, size=None))[0].astype(int), np.fliplr(patched), atol=25)


def write_oblong(path, aspect, picture):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("aspect", "width"),
    [
        (Fraction(16, 11), 93),
        (Fraction(8, 9), 57),
        (Fraction(2), 128),
        (Fraction(200, 201), 64),  # rounded by an encoder
        (Fraction(255, 1), 64),  # no camera has such
    ],
)
def test_pixels_are_square_in_pictures(tmp_path, patched, aspect, width):
    path = write_oblong(tmp_path / "dv.mp4", aspect, patched)
    square = write_oblong(tmp_path / "square.mp4", Fraction(1), patched)
    assert upright_size(path) == (width, 48) == (probe(path).width, probe(path).height)
    found = next(read_frames(path, size=None))[0]
    assert found[4, width // 8].min() > 180 and found[4, width // 2].max() < 60
    for options in ({}, {"size": None, "square_pixels": False}):  # For features nothing changes, to the bit.
        np.testing.assert_array_equal(next(read_frames(path, **options)), next(read_frames(square, **options)))


def test_oblong_pixels_of_a_turned_picture(tmp_path, set_matrix, patched):
    path = set_matrix(write_oblong(tmp_path / "dv.mp4", Fraction(2), patched), 0, 1, -1, 0)
    assert upright_size(path) == (48, 128)


@pytest.mark.parametrize("extension", ["ts", "mkv", "mp4"])
@pytest.mark.parametrize("whole", [(), (0, 1), (5, 6, 7), tuple(range(30))])
def test_two_fields_are_one_frame(tmp_path, write_field_coded, extension, whole):
    """H.264 may code each frame as it likes: as two fields, each a packet, or as a whole."""
    path = write_field_coded(tmp_path / f"clip.{extension}", 36, whole=whole)
    assert count(path) == (36, 25.0, None)
    frames = np.concatenate(list(read_frames(path, every=5)))[:, 100, 100, 0]
    np.testing.assert_allclose(frames, (4 * np.arange(0, 36, 5)) * 255 / 219, atol=2)
    assert probe(path).fastest_fps is None


def test_fields_that_are_cut_off(tmp_path, write_field_coded, cut):
    path = cut(write_field_coded(tmp_path / "clip.mkv", 30), 0.5)
    num_frames, fps, reason = count(path)
    assert 13 <= num_frames <= 15 and fps == 25 and reason.startswith(f"cut short: {num_frames} of 30 frames")


def write_gops(path, num_frames, picture, *, codec="libx264", b_frames=0, gop=20, rate=25):
    """A keyframe every `gop` frames."""
    with av.open(str(path), "w") as container:
        options = {"libx264": {"sc_threshold": "0"}, "libx265": {"x265-params": "log-level=none:scenecut=0"}}.get(
            codec, {}
        )
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.gop_size, stream.max_b_frames = gop, b_frames
        for index in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("shift", [27, 27.5, 34.25])
def test_a_clip_that_was_cut_without_encoding(tmp_path, drifting_picture, copy_packets, b_frames, shift):
    """Its first frames are there for the others' sake; an edit list hides them, and its last may be hidden too."""
    long = write_gops(tmp_path / "long.mp4", 60, drifting_picture, b_frames=b_frames)
    original = np.concatenate(list(read_frames(long)))

    def change(packet):
        begins = packet.dts is not None and (packet.pts >= 20 * 512 or packet.is_keyframe) and packet.pts >= 20 * 512
        packet.pts, packet.dts = packet.pts - round(shift * 512), packet.dts - round(shift * 512)
        return begins

    path = copy_packets(long, tmp_path / "cut.mp4", change)
    num_frames, fps, reason = count(path)
    first = int(np.ceil(shift))
    assert (num_frames, fps, reason) == (60 - first, 25.0, None)
    np.testing.assert_array_equal(np.concatenate(list(read_frames(path))), original[first:])


def test_a_clip_that_was_cut_without_encoding_and_then_cut_off(tmp_path, drifting_picture, copy_packets, cut):
    long = write_gops(tmp_path / "long.mp4", 60, drifting_picture)

    def change(packet):
        packet.pts, packet.dts = packet.pts - 7 * 512, packet.dts - 7 * 512

    path = cut(copy_packets(long, tmp_path / "cut.mp4", change, movflags="faststart"), 0.7)
    num_frames, fps, reason = count(path)
    assert 10 < num_frames < 50 and fps == 25 and reason.startswith(f"cut short: {num_frames} of 53 frames")


@pytest.mark.parametrize("extension", ["mpg", "ts"])
def test_recordings_joined_end_to_end(tmp_path, drifting_picture, extension):
    codec = "mpeg2video" if extension == "mpg" else "libx264"
    parts = [
        write_gops(tmp_path / f"{length}.{extension}", length, drifting_picture, codec=codec, b_frames=2)
        for length in (30, 25)
    ]
    path = tmp_path / f"joined.{extension}"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert count(path) == (55, 25.0, None)
    assert probe(path).fastest_fps is None


@pytest.mark.parametrize(
    ("extension", "codec"),
    [
        ("ts", "libx264"),
        ("mkv", "libx264"),
        ("mp4", "libx264"),
        ("mpg", "mpeg2video"),
        ("mpg", "mpeg1video"),
        ("ts", "libx265"),
        ("mp4", "libx265"),
        ("webm", "libvpx-vp9"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("mp4", "mpeg4"),
        ("mkv", "mpeg4"),
    ],
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_capture_that_begins_between_keyframes(tmp_path, drifting_picture, copy_packets, extension, codec, b_frames):
    """What cannot be decoded was never to be seen: nothing is missing."""
    long = write_gops(tmp_path / f"long.{extension}", 60, drifting_picture, codec=codec, b_frames=b_frames)
    went_by = []

    def change(packet):
        went_by.append(packet)
        return len(went_by) > 27

    path = copy_packets(long, tmp_path / f"late.{extension}", change)
    num_frames, fps, reason = count(path)
    assert 15 <= num_frames < 33 and fps == 25 and reason is None
    originals = {frame.tobytes() for frame in np.concatenate(list(read_frames(long)))}
    assert all(frame.tobytes() in originals for frame in np.concatenate(list(read_frames(path))))


@pytest.mark.parametrize("extension", ["avi", "mp4", "mkv", "webm"])
@pytest.mark.parametrize("interval", [5, 60])
def test_a_frame_every_few_seconds(tmp_path, write_video, extension, interval):
    path = tmp_path / f"lapse.{extension}"
    if extension == "avi":
        write_video(path, 6, fps=Fraction(1, interval))
    else:
        write_video(path, 6, fps=1, times=[interval * n for n in range(6)])
    num_frames, fps, reason = count(path)
    assert num_frames == 6 and fps == pytest.approx(1 / interval) and reason is None
    assert probe(path).rate_known and probe(path).fastest_fps is None


@pytest.mark.parametrize("extension", ["mp4", "mkv", "webm", "avi"])
def test_a_last_frame_that_is_shown_for_long(tmp_path, write_video, copy_packets, extension):
    plain = write_video(tmp_path / f"plain.{extension}", 12)
    went_by = []

    def change(packet):
        went_by.append(packet)
        if len(went_by) == 12:
            packet.duration = round(10 / packet.time_base)

    path = copy_packets(plain, tmp_path / f"long.{extension}", change)
    assert count(path) == (12, 25.0, None)


def test_matroska_that_is_cut_off_in_its_last_cluster_or_after_it(tmp_path, write_video):
    """The last frame in time is there, some before it are not."""
    data = write_video(tmp_path / "clip.mkv", 30).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: data.rfind(b"\x1c\x53\xbb\x6b") + 6])  # within the cues
    assert count(path) == (30, 25.0, None)
    path.write_bytes(data[: data.rfind(b"\x1c\x53\xbb\x6b") - 20])
    num_frames, _, reason = count(path)
    assert 25 < num_frames < 30 and reason.startswith(f"cut short: {num_frames} of ")


def test_pictures_that_are_not_shown(tmp_path, write_video, drifting_picture):
    """VP8 has pictures that others are made of and no one sees, each a packet of its own."""
    plain, path = write_video(tmp_path / "plain.webm", 40, drifting_picture), tmp_path / "clip.webm"
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size:
                data, pts = bytes(packet), packet.pts
                packet.stream = stream
                new.mux(packet)
                if number % 5 == 4:
                    unseen = av.Packet(bytes([data[0] & ~0x10]) + data[1:])  # the bit that has it shown
                    unseen.stream, unseen.pts, unseen.dts, unseen.time_base = (
                        stream,
                        pts + 1,
                        pts + 1,
                        Fraction(1, 1000),
                    )
                    new.mux(unseen)
    assert count(path) == (40, 25.0, None)


def test_a_sample_without_a_byte(tmp_path, write_video):
    """Some dashcams' MP4s have such; nothing of the file is missing."""
    path = write_video(tmp_path / "clip.mp4", 12)
    data = bytearray(path.read_bytes())
    at = data.find(b"stsz") + 16
    sizes = list(struct.unpack_from(">12I", data, at))
    struct.pack_into(">12I", data, at, *sizes[:11], 0)
    path.write_bytes(data)
    assert count(path)[2] is None


def test_a_fragmented_file(tmp_path, write_video, drifting_picture, cut):
    path = write_video(tmp_path / "clip.mp4", 60, drifting_picture, movflags="frag_every_frame+empty_moov")
    assert count(path) == (60, 25.0, None)
    num_frames, fps, reason = count(cut(path, 0.7))
    assert 30 < num_frames < 60 and fps == 25 and reason.startswith("cut short: ")


def test_a_pipe_gives_no_false_alarm(tmp_path, write_video, drifting_picture, copy_packets):
    plain = write_video(tmp_path / "plain.mkv", 12, drifting_picture)
    went_by = []

    def change(packet):
        went_by.append(packet)
        if len(went_by) == 12:
            packet.duration = 9000

    data = copy_packets(plain, tmp_path / "long.mkv", change).read_bytes()

    def send(end, what):
        os.write(end, what)
        os.close(end)

    for sent, reason in ((data, None), (data[: len(data) * 2 // 3], "cut short: ")):
        read, write = os.pipe()
        threading.Thread(target=send, args=(write, sent)).start()
        with WholeFrames(Pipe(read, "pipe", lambda: False)) as frames:
            number = len(list(frames))
        assert (number == 12) == (reason is None)
        assert frames.cut_short is None if reason is None else frames.cut_short.startswith(reason)


def test_a_rate_that_varies(tmp_path, write_video):
    """A phone's: 30 frames per second, then 15."""
    times = [*range(0, 20, 2), *range(20, 60, 4)]
    path = write_video(tmp_path / "clip.mp4", 20, fps=60, times=times)
    reader = read_frames(path)
    assert sum(map(len, reader)) == 20 and reader.cut_short is None
    assert reader.notes() == "its frame rate varies, from 15 to 30 frames per second"
    assert probe(path).fps == reader.times.fps == pytest.approx(19 / (56 / 60)) and probe(path).fastest_fps == 30
    np.testing.assert_array_equal(reader.times.rows(6), [0, 5, 10, 12, 15, 17])  # 0, 10, 20, 30, 40, 50 sixtieths
