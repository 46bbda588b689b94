import errno
import os
import select
import struct
import threading
import time

import av
import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.video import decoding
from data_prep.video.frames import Pictures, VideoError, WholeFrames, read_frames, upright_size
from data_prep.video.probe import probe
from data_prep.video.sources import Camera, Pipe, find_source, open_video

CONTAINERS = ("avi", "mpg", "mp4", "mov", "mkv", "webm")


def read(path, **options):
    return np.concatenate(list(read_frames(path, **options)))


@pytest.mark.parametrize("extension", CONTAINERS)
def test_every_container_gives_all_frames_in_order_and_its_rate(tmp_path, write_video, extension):
    path = write_video(tmp_path / f"clip.{extension}", 12, fps=24)
    found = probe(path)
    assert found.fps == pytest.approx(24, rel=0.005)  # Matroska keeps milliseconds
    assert (found.num_frames, found.num_missing, found.width, found.height) == (12, 0, 64, 48)

    reader = read_frames(path, size=(32, 40))
    frames = np.concatenate(list(reader))
    assert frames.dtype == np.uint8 and frames.shape == (12, 32, 40, 3)
    assert reader.cut_short is None and reader.num_frames == 12
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 20 + 4 * np.arange(12), atol=3)


def test_every_keeps_every_kth_frame(tmp_path, write_video):
    path = write_video(tmp_path / "clip.mp4", 11)
    reader = read_frames(path, every=3)
    np.testing.assert_array_equal(np.concatenate(list(reader)), read(path)[::3])
    assert reader.num_frames == 11


def test_memory_is_bounded_by_the_chunk(tmp_path, write_video):
    path = write_video(tmp_path / "clip.avi", 50)
    reader = read_frames(path, chunk=8)
    assert len(next(reader)) == 8
    assert reader.num_frames == 8  # no more was decoded than asked for
    assert [len(frames) for frames in reader] == [8] * 5 + [2]


def test_order_of_the_colours(tmp_path, write_video):
    red = np.zeros((48, 64, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    path = write_video(tmp_path / "red.mp4", 2, lambda _: red)
    np.testing.assert_allclose(read(path, colour="rgb24")[0, 100, 100], [250, 10, 10], atol=6)
    np.testing.assert_allclose(read(path, colour="bgr24")[0, 100, 100], [10, 10, 250], atol=6)


@pytest.mark.parametrize(
    ("clockwise", "matrix"),
    [(90, (0, 1, 0, -1, 0, 0)), (180, (-1, 0, 0, 0, -1, 0)), (270, (0, -1, 0, 1, 0, 0))],
)
def test_a_phones_rotation_is_undone(tmp_path, write_video, clockwise, matrix):
    picture = np.full((48, 64, 3), 30, np.uint8)
    picture[:16, :16] = 220  # a bright patch top left
    path = write_video(tmp_path / "phone.mp4", 3, lambda _: picture)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44  # the display matrix of the track header, 16.16 fixed point
    data[at : at + 24] = struct.pack(">6i", *(value << 16 for value in matrix))
    path.write_bytes(data)

    upright = np.rot90(picture, -clockwise // 90)
    np.testing.assert_allclose(read(path, size=None)[0].astype(int), upright, atol=25)
    assert upright_size(path) == upright.shape[1::-1]
    stretched = read(path, size=(96, 32))[0].astype(int)
    assert stretched.shape == (96, 32, 3)
    for row, column in ((2, 2), (2, 29), (93, 2), (93, 29)):
        there = upright[row * upright.shape[0] // 96, column * upright.shape[1] // 32]
        np.testing.assert_allclose(stretched[row, column], there, atol=10)


def test_native_rate_follows_the_time_stamps(tmp_path, write_video):
    path = write_video(tmp_path / "uneven.mkv", 5, times=[0, 1, 2, 3, 10])
    assert probe(path).fps == pytest.approx(4 / (10 / 25))


def test_absurd_time_stamps_give_way_to_the_containers_rate(tmp_path, write_video):
    path = write_video(tmp_path / "gap.mp4", 4, times=[0, 1, 2, 25 * 3600])
    assert probe(path).fps == pytest.approx(25)


@pytest.mark.parametrize("extension", CONTAINERS)
def test_one_frame_has_the_containers_rate(tmp_path, write_video, extension):
    path = write_video(tmp_path / f"one.{extension}", 1)
    assert probe(path).fps == pytest.approx(25, rel=0.03)
    assert read(path).shape == (1, 224, 224, 3)


@pytest.mark.parametrize("name", ["a#b(c)!&.mp4", "two words.mp4", "schön-動画.avi", "10%d:x.mkv", "-.mpg"])
def test_odd_names(tmp_path, write_video, name, monkeypatch):
    plain = write_video(tmp_path / f"plain{name[-4:]}", 3)
    plain.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(name)) == 3


@pytest.mark.parametrize("extension", ["avi", "mpg", "mp4", "mkv", "webm"])
def test_a_clip_cut_short_keeps_its_whole_frames(tmp_path, write_video, drifting_picture, cut, extension):
    options = {"movflags": "faststart"} if extension == "mp4" else {}
    path = write_video(tmp_path / f"clip.{extension}", 60, drifting_picture, **options)
    whole = read(path)
    assert len(whole) == 60
    reader = read_frames(cut(path, 0.7))
    kept = np.concatenate(list(reader))
    assert 10 <= len(kept) < 60
    assert reader.cut_short.startswith(f"cut short: {len(kept)} of ")
    assert "\n" not in reader.cut_short
    originals = {frame.tobytes() for frame in whole}
    assert all(frame.tobytes() in originals for frame in kept)  # nothing half-decoded


def test_the_container_knows_how_many_are_missing(tmp_path, write_video, drifting_picture, cut):
    path = cut(write_video(tmp_path / "clip.mp4", 60, drifting_picture, movflags="faststart"), 0.7)
    found = probe(path)
    assert found.container_frames == 60
    assert found.num_frames + found.num_missing == 60


def test_frames_before_damage_are_kept(tmp_path, write_video, drifting_picture):
    path = write_video(tmp_path / "clip.mp4", 60, drifting_picture)
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 2 * len(data) // 3
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    path.write_bytes(data)
    reader = read_frames(path)
    kept = sum(len(frames) for frames in reader)
    assert 5 < kept < 60
    assert reader.cut_short == f"cut short: {kept} of 60 frames are whole (Invalid data found when processing input)"


def test_frames_that_the_maker_left_out_are_no_damage(tmp_path, write_video):
    """An AVI says "the last picture again" with an empty chunk, which would tell a decoder that all is over."""
    path = write_video(tmp_path / "clip.avi", 30)
    data = bytearray(path.read_bytes())
    at, entry = data.find(b"movi") + 4, data.find(b"idx1") + 8
    for index in range(30):
        (length,) = struct.unpack_from("<I", data, at + 4)
        padded = length + length % 2
        if index in (10, 11, 20):
            data[at + 4 : at + 16] = struct.pack("<I4sI", 0, b"JUNK", padded - 8)
            struct.pack_into("<I", data, entry + 16 * index + 12, 0)
        at += 8 + padded
    path.write_bytes(data)
    reader = read_frames(path)
    assert sum(len(frames) for frames in reader) == 27
    assert reader.cut_short is None


def test_a_trimmed_phone_clip_is_whole(tmp_path, write_video):
    """An edit list shows the first 20 of 40 frames; the others are in the file, and in its count."""
    path = write_video(tmp_path / "clip.mp4", 40)
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, data.find(b"elst") + 12, 800)  # milliseconds
    path.write_bytes(data)
    reader = read_frames(path)
    assert sum(len(frames) for frames in reader) == 20
    assert reader.cut_short is None
    assert probe(path).num_frames == 20


def _empty(path, tools):
    path.write_bytes(b"")


def _garbage(path, tools):
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def _text(path, tools):
    path.write_text("this is not a video\n" * 100)


def _zero_frames(path, tools):
    data = tools[0](path.with_suffix(".mkv"), 30).read_bytes()
    path.write_bytes(data[: data.find(b"\x1f\x43\xb6\x75") + 20])  # into the head of Matroska's first cluster


def _sound(path, tools):
    tools[1](path)


def _cut_before_the_index(path, tools):
    write_video, _, cut = tools
    cut(write_video(path, 30), 0.9)


def _play_list(path, tools):
    tools[0](path.with_name("other.mp4"), 5)
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


def _missing(path, tools):
    pass


def _folder(path, tools):
    path.mkdir()


def _pipe_of_a_system(path, tools):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_empty, "the file is empty"),
        (_garbage, "not a video file"),
        (_text, "not a video file"),
        (_zero_frames, "without a single frame"),
        (_sound, "no moving pictures in it, only audio"),
        (_cut_before_the_index, "header is cut off"),
        (_play_list, "not a video file"),
        (_missing, "no such file"),
        (_folder, "a folder"),
        (_pipe_of_a_system, "a pipe, a socket or a device, where a file is needed"),
    ],
)
def test_unreadable_files_say_why(tmp_path, write_video, write_sound, cut, capfd, make, reason):
    path = tmp_path / "clip.mp4"
    make(path, (write_video, write_sound, cut))
    capfd.readouterr()
    for use in (probe, read):
        with pytest.raises(VideoError, match=reason) as caught:
            use(path)
        assert isinstance(caught.value, InputError)
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        assert "\n" not in caught.value.reason
    assert capfd.readouterr() == ("", "")  # not a word from ffmpeg


def test_a_songs_cover_is_no_video(tmp_path, write_sound):
    song = write_sound(tmp_path / "song.mp4")
    with av.open(str(song)) as source, av.open(str(tmp_path / "cover.mp4"), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        target.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
        target.mux(cover.encode(None))
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = sound
                target.mux(packet)
    with pytest.raises(VideoError, match="no moving pictures in it, only audio"):
        probe(tmp_path / "cover.mp4")


@pytest.mark.parametrize(
    ("name", "num_frames", "fps"), [("v_biking_01_01.mpg", 151, 29.97), ("person15_handwaving.avi", 581, 25)]
)
def test_real_clips(shared, name, num_frames, fps):
    path = shared(f"data/clips/{name}")
    assert probe(path).fps == pytest.approx(fps, abs=1e-3)
    reader = read_frames(path)
    assert sum(len(frames) for frames in reader) == num_frames == probe(path).num_frames
    assert reader.cut_short is None


def test_wrong_arguments():
    with pytest.raises(InputError, match="colour='grey'"):
        read_frames("clip.mp4", colour="grey")
    with pytest.raises(InputError, match="every=0"):
        read_frames("clip.mp4", every=0)


def _sent(data, keep_open=False):
    """The end to read of a pipe through which `data` comes."""
    read, write = os.pipe()

    def work():
        view = memoryview(data)
        while view:
            view = view[os.write(write, view) :]
        if not keep_open:
            os.close(write)

    threading.Thread(target=work, daemon=True).start()
    return read


def _pipe(data):
    return Pipe(_sent(data), "pipe", lambda: False)


@pytest.mark.parametrize("extension", ["avi", "mpg", "mp4", "mkv", "webm"])
def test_a_pipe_gives_the_files_frames_and_the_containers_rate(tmp_path, write_video, extension):
    options = {"movflags": "faststart"} if extension == "mp4" else {}
    path = write_video(tmp_path / f"clip.{extension}", 12, fps=24, **options)
    with WholeFrames(_pipe(path.read_bytes())) as frames:
        assert frames.said_fps == pytest.approx(24, rel=0.005)
        picture = Pictures((224, 224), "bgr24")
        np.testing.assert_array_equal(np.stack([picture(frame) for frame in frames]), read(path))
    assert (frames.num_frames, frames.cut_short) == (12, None)


def test_pipes_without_a_video_say_why(tmp_path, write_video):
    noise = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
    path = write_video(tmp_path / "clip.mp4", 30, lambda index: noise[index])  # its index is at the end
    play_list = f"ffconcat version 1.0\nfile {path}\n".encode()
    for data, reason in (
        (b"", "^pipe: nothing came through it$"),
        (b"not a video\n" * 100, "no video that can be read as it comes; ffmpeg -i … -f matroska - makes such"),
        (play_list, "no video that can be read as it comes"),
        (path.read_bytes(), "not one whole frame .* has its index at the end, name the file, or redirect it with <$"),
    ):
        with (
            pytest.raises(VideoError, match=reason),
            WholeFrames(_pipe(data)) as frames,
        ):
            list(frames)
    with WholeFrames(Pipe(os.open(path, os.O_RDONLY), "redirected", lambda: False)) as frames:
        assert len(list(frames)) == 30


def test_a_pipe_that_falls_silent_can_be_ended(tmp_path, write_video, drifting_picture):
    data = write_video(tmp_path / "clip.mkv", 60, drifting_picture).read_bytes()
    descriptor = _sent(data[: len(data) // 2], keep_open=True)

    def stopped():
        return frames.num_frames >= 5 and not select.select([descriptor], [], [], 0)[0]

    frames = WholeFrames(Pipe(descriptor, "pipe", stopped), stopped)
    with frames:
        assert 5 <= len(list(frames)) < 60
    assert frames.cut_short is None


def test_a_stream_goes_on_after_a_damaged_packet(tmp_path, write_video, drifting_picture):
    path = write_video(tmp_path / "clip.mp4", 60, drifting_picture, movflags="faststart")
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + len(data) // 3
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    path.write_bytes(data)
    with WholeFrames(_pipe(bytes(data))) as frames:
        count = len(list(frames))
    assert count > sum(len(chunk) for chunk in read_frames(path))
    assert frames.cut_short.endswith("packets could not be decoded")


def test_a_named_pipe_waits_for_a_writer_until_it_is_told_to_stop(tmp_path, write_video):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    asked = []

    def stopped():
        asked.append(0)
        return len(asked) > 3

    pipe = find_source(str(path), stopped)
    with pytest.raises(VideoError, match="nothing came through it"):
        open_video(pipe)
    assert 3 < len(asked) < 50
    clip = write_video(tmp_path / "clip.mkv", 12)
    asked.clear()
    reading = find_source(str(path), lambda: bool(asked.append(0)))

    def write():
        while len(asked) < 3:  # Until it has been waited for.
            time.sleep(0.01)
        path.write_bytes(clip.read_bytes())

    threading.Thread(target=write, daemon=True).start()
    with WholeFrames(reading) as frames:
        assert len(list(frames)) == 12
    assert frames.cut_short is None


def test_a_pipe_is_closed_in_the_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/dev/fd")
    with (
        pytest.raises(VideoError, match="nothing came through it"),
        WholeFrames(find_source(str(tmp_path / "pipe"), lambda: True)),
    ):
        pass
    assert os.listdir("/dev/fd") == before


def test_what_a_name_means(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.open("wb").close(), daemon=True).start()
    assert isinstance(find_source(str(pipe), lambda: False), Pipe)
    assert find_source("/dev/null", lambda: False) == Camera("/dev/null")
    assert find_source("none.mp4", lambda: False) == "none.mp4"
    with pytest.raises(VideoError, match=r"^/dev/null: not a camera that can be opened \("):
        open_video(Camera("/dev/null"))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(VideoError, match="terminal"):
        find_source("-", lambda: False)


def test_the_first_fault_is_the_reason(write_video, tmp_path, monkeypatch):
    """One packet that cannot be decoded, and then a file that cannot be read on."""

    class Torn:
        def __init__(self, container):
            self._container = container

        def __getattr__(self, name):
            return getattr(self._container, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._container.close()

        def demux(self, stream):
            for number, packet in enumerate(self._container.demux(stream)):
                if number == 9:
                    raise av.error.InvalidDataError(errno.EINVAL, "torn")
                if number == 5:
                    packet = av.Packet(b"damaged")
                    packet.stream = stream
                yield packet

    path = write_video(tmp_path / "a.mp4", num_frames=12)
    monkeypatch.setattr(decoding, "open_video", lambda source: Torn(av.open(os.fspath(source))))
    reader = read_frames(path)
    list(reader)
    assert "torn" not in reader.cut_short and "Invalid data" in reader.cut_short
