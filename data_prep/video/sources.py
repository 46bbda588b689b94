"""Sources of a video: a file, a pipe or a camera, each opened by ffmpeg with the fewest rights needed.

Input is untrusted. ffmpeg may read plain containers only; it may open files for a file and nothing
at all for a pipe, so that a play list called .mp4 opens nothing else; and a device is opened only where the user named
one.
"""

import os
import select
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass

import av

from attention_ar.errors import InputError
from data_prep.video.image_folder import DEFAULT_FPS, ImageFolder, open_folder

_CONTAINERS = "avi,mpeg,mpegvideo,m4v,mpegts,mov,matroska,webm,asf,flv,ogg,gif,dv"
_NOT_OPENED = ("mxf", "rm", "rmvb", "nut", "y4m", "wtv", "swf", "ivf", "m3u8", "mpd", "sdp", "apng", "yuv")
_FILE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
_PIPE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
_CAMERA = {"format_whitelist": "video4linux2", "protocol_whitelist": "none"}
_POLL_SECONDS = 0.1
_HEAD = 1024  # bytes
_TO_PIPE = "ffmpeg -i … -f matroska - makes such, and an mp4 needs its index in front (-movflags faststart)"


class VideoError(InputError):
    """A source from which no frame can be read; `reason` says why, without the source's name."""

    def __init__(self, source, reason: str):
        super().__init__(f"{os.fspath(source)}: {reason}")
        self.reason = reason


class Pipe(os.PathLike):
    """The bytes of a pipe, for PyAV to read, until the other end closes it or `stopped` returns true.

    A plain read would block on bytes that may never arrive, and would not notice that the user wants to stop.

    Args:
      descriptor: of the pipe, open for reading; `close` closes it. A file, as of `< clip.mp4`, will do too.
      name: of the pipe in messages.
      stopped: once it returns true, reading ends as if the pipe had been closed.

    Attributes:
      head: the first bytes received, at most 1024.
      num_bytes: how many were received.
    """

    def __init__(self, descriptor: int, name: str, stopped: Callable[[], bool]):
        self._descriptor, self._name, self._stopped = descriptor, name, stopped
        self.head, self.num_bytes = b"", 0  # so far

    def __fspath__(self):
        return self._name

    def read(self, size: int) -> bytes:
        # A named pipe into which no one has written yet is not ready, though a read would say that it is at its end.
        while not self._stopped():
            if select.select([self._descriptor], [], [], _POLL_SECONDS)[0]:
                data = os.read(self._descriptor, size)
                self.head += data[: max(0, _HEAD - self.num_bytes)]
                self.num_bytes += len(data)
                return data
        return b""

    @property
    def size(self) -> int:
        """How many bytes there are, once the end was reached."""
        return os.fstat(self._descriptor).st_size if self.seekable() else self.num_bytes

    def seekable(self) -> bool:
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def close(self):
        os.close(self._descriptor)


@dataclass(frozen=True)
class Camera(os.PathLike):
    """A camera as Linux has it (Video4Linux), for example /dev/video0."""

    device: str

    def __fspath__(self):
        return self.device


def find_source(
    text: str, stopped: Callable[[], bool], image_fps: float = DEFAULT_FPS
) -> str | Pipe | Camera | ImageFolder:
    """Returns what a user names as a video.

    Args:
      text: "-" is the standard input. A named pipe is read as a pipe, which `<(command)` of a shell is too; a
        character device is taken for a camera; a folder for one of pictures; everything else is the path of a file.
      stopped: see `Pipe`.
      image_fps: how many pictures of a folder are a second.

    Raises:
      VideoError: where the standard input is a terminal, or a named pipe cannot be read.
    """
    if text == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise VideoError(text, "the standard input is a terminal; pipe a video into it")
        return Pipe(os.dup(sys.stdin.fileno()), "standard input", stopped)
    try:
        mode = os.stat(text).st_mode
    except (OSError, ValueError):
        return text  # Opening it will raise the error.
    if stat.S_ISFIFO(mode):
        try:  # A plain open would block until someone writes into it, and would not notice `stopped`.
            return Pipe(os.open(text, os.O_RDONLY | os.O_NONBLOCK), text, stopped)
        except OSError as error:
            raise VideoError(text, f"cannot be read ({error.strerror})") from None
    return Camera(text) if stat.S_ISCHR(mode) else clip_source(text, image_fps)


def clip_source(path: str, image_fps: float = DEFAULT_FPS) -> str | ImageFolder:
    """Returns a clip of a data set as it is opened: the path of a file, or a folder of pictures."""
    return ImageFolder(path, image_fps) if os.path.isdir(path) else path


def is_endless(source) -> bool:
    """Whether nothing can be known of a source's end or rate before it has been read: a pipe or a camera."""
    return isinstance(source, Pipe | Camera)


def is_live(source, wanted: bool | None) -> bool:
    """Whether a source goes on whether its frames are read or not, as a camera does, and never waits.

    Args:
      source: what `find_source` returned.
      wanted: what the user says of pipes and cameras; None: cameras are live. A file that is redirected never is.
    """
    if isinstance(source, Pipe):
        return bool(wanted) and not source.seekable()
    return isinstance(source, Camera) and wanted is not False


def may_be_live(text: str) -> bool:
    """Whether what a user names is a pipe or a camera."""
    if text == "-":
        return True
    try:
        mode = os.stat(text).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def open_video(source) -> av.container.InputContainer:
    """Opens a path, `ImageFolder`, `Pipe` or `Camera`.

    Raises:
      VideoError: where it holds no video, or cannot be read.
    """
    if isinstance(source, Pipe):
        return _open_pipe(source)
    if isinstance(source, Camera):
        return _open_camera(source)
    if isinstance(source, ImageFolder) or os.path.isdir(source):
        return _open_folder(source)
    return _open_file(source)


def hint(source, container) -> str:
    """Returns what to say, after that no frame came of a container that could be opened."""
    if isinstance(source, Pipe) and not source.seekable() and "mov" in container.format.name:
        return "; where an mp4 has its index at the end, name the file, or redirect it with <"
    return ""


def _open_folder(source):
    folder = source if isinstance(source, ImageFolder) else ImageFolder(os.fspath(source))
    try:
        return open_folder(folder)
    except ValueError as error:
        raise VideoError(source, str(error)) from None


def _open_file(path):
    path = os.path.abspath(path)  # a relative name with a colon would be read as a protocol
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # Opening a pipe would wait for who writes into it.
            raise VideoError(path, "a pipe, a socket or a device, where a file is needed")
        if os.path.isfile(path) and os.path.getsize(path) == 0:
            raise VideoError(path, "the file is empty")
        return av.open(path, options=_FILE)
    except FileNotFoundError:
        raise VideoError(path, "no such file") from None
    except PermissionError:
        raise VideoError(path, "no permission to read it") from None
    except av.error.FFmpegError:
        kind = os.path.splitext(path)[1][1:].lower()
        if kind in _NOT_OPENED:
            raise VideoError(path, f"{kind} files are not opened; convert it, for example to mp4") from None
        raise VideoError(path, "not a video file, or one whose header is cut off or damaged") from None


def _open_pipe(pipe: Pipe):
    try:
        return av.open(pipe, options=_PIPE)
    except av.error.FFmpegError:
        reason = f"no video that can be read as it comes; {_TO_PIPE}" if pipe.num_bytes else "nothing came through it"
        raise VideoError(pipe, reason) from None


def _open_camera(camera: Camera):
    try:
        return av.open(camera.device, format="video4linux2", options=_CAMERA)
    except (OSError, ValueError) as error:  # PyAV's errors are either.
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(camera, f"not a camera that can be opened ({reason.splitlines()[0]})") from None
