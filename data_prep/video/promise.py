"""What a container promises about its pictures, to tell a truncated file from a complete one."""

import os
from dataclasses import dataclass

import av

from data_prep.video.image_folder import left_out
from data_prep.video.sources import Pipe

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
_MOST_CLUSTERS = 100_000  # that are looked at
_HEAD = 1024  # bytes, of a Matroska file, in which its segment begins


@dataclass
class Packets:
    """The packets that were read from a container.

    Attributes:
      num_read: all of them.
      num_shown: those that hold a picture, or a field of one, that is to be shown.
      first, last: the least and the greatest time stamp of any, in ticks; None before there is one.
      duration: of the last one that says one, in ticks.
    """

    num_read: int = 0
    num_shown: int = 0
    first: int | None = None
    last: int | None = None
    duration: int = 0

    def add(self, packet: av.Packet):
        """Takes the next one. The empty packet with which PyAV ends is none."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.size == 0 and stamp is None:
            return
        self.num_read += 1
        if packet.is_discard:  # outside the part that an edit list shows
            return
        if stamp is not None:
            self.first = stamp if self.first is None else min(self.first, stamp)
            self.last = stamp if self.last is None else max(self.last, stamp)
        if packet.size:  # An AVI says "the last picture again" with an empty one.
            self.num_shown += 1
            self.duration = packet.duration or self.duration


def num_missing(source, container, stream, packets: Packets, rate: float) -> int:
    """Returns how many packets the container promises beyond the last one that it gave.

    An MP4 has an index, which says where in the file each lies. An AVI and a Matroska file say when the pictures end,
    but the last one may just be shown for long: one that is cut off also has fewer bytes than its header says.

    Args:
      source: a path, or what `find_source` returned.
      container, stream: once all packets were read.
      packets: all of them.
      rate: packets per second.
    """
    kind = container.format.name
    if kind == "ppm_pipe":
        return left_out(container)[0]
    if "mov" in kind:
        size = _Bytes(source).size
        shown = [entry for entry in stream.index_entries if entry.size and not entry.is_discard]
        absent = any(entry.pos + entry.size > size for entry in shown)
        return max(0, len(shown) - packets.num_shown) if absent else 0
    if packets.last is None:
        return max(0, stream.frames - packets.num_read) if kind == "avi" and _Bytes(source).are_missing() else 0
    first, last = (float(stamp * stream.time_base) for stamp in (packets.first, packets.last))
    if kind == "avi" and stream.average_rate:
        end = first + stream.frames / float(stream.average_rate)
        late = round((end - last) * float(stream.average_rate)) > 1
        return max(0, stream.frames - packets.num_read) if late and _Bytes(source).are_missing() else 0
    if "matroska" in kind:
        there, missing = _Bytes(source), round((_matroska_end(container, stream) - last) * rate) - 1
        if not there.are_missing():
            return 0
        if len(container.streams) == 1 and there.end_within_cluster():
            return max(1, missing)
        return missing if missing > 1 else 0  # a single one may be the rounding to milliseconds
    return 0


def _matroska_end(container, stream) -> float:
    """The time in seconds at which the header says the pictures end; 0 if unsaid."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        alone = len(container.streams) == 1  # otherwise the sound may be what lasts so long
        return container.duration / av.time_base if alone and container.duration else 0.0


class _Bytes:
    """How many bytes a source has, and should have.

    Attributes:
      size: the number of those that are there.
    """

    def __init__(self, source):
        self._file = None if isinstance(source, Pipe) else source
        self._head = source.head if isinstance(source, Pipe) else _read(source, 0)
        self.size = source.size if isinstance(source, Pipe) else os.path.getsize(source)

    def are_missing(self) -> bool:
        """Whether the file is shorter than its parts say."""
        if self._head.startswith(b"RIFF"):
            begin, head = 0, self._head
            while head.startswith(b"RIFF"):  # A long AVI is several such.
                begin += 8 + int.from_bytes(head[4:8], "little")
                head = b"" if self._file is None else _read(self._file, begin)
            return begin > self.size
        return (matroska_segment(self._head)[1] or 0) > self.size

    def end_within_cluster(self) -> bool:
        """Whether a Matroska file is cut off within a cluster, which holds frames, and not in the tables after them."""
        begin = matroska_segment(self._head)[0]
        for _ in range(_MOST_CLUSTERS if self._file and begin else 0):
            name, _, end = _element(_read(self._file, begin, 16), 0)
            if end is None:
                return False
            if begin + end > self.size:
                return name == _CLUSTER
            begin += end
        return False


def _read(path, begin: int, length: int = _HEAD) -> bytes:
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(length)


def matroska_segment(head: bytes) -> tuple[int | None, int | None]:
    """Returns where in a Matroska file its segment, which is all but a header, begins and should end.

    Args:
      head: the file's first bytes.

    Returns:
      Both in bytes; None for what is not said.
    """
    name, _, begin = _element(head, 0)
    if name != _EBML or begin is None:
        return None, None
    name, content, end = _element(head, begin)
    return (content, end) if name == _SEGMENT else (None, None)


def _element(data: bytes, at: int) -> tuple[int | None, int | None, int | None]:
    """Returns the identifier of an EBML element, where its content begins, and where it ends (None if unsaid).

    Identifier and size are numbers of 1 to 8 bytes: as many zero bits lead one as bytes follow its first. Of a size,
    these bits and the one after them do not count, and it is unknown where all others are ones.
    """
    name_length = _length(data, at)
    size_length = _length(data, at + name_length)
    content = at + name_length + size_length
    if content > len(data):
        return None, None, None
    name = int.from_bytes(data[at : at + name_length], "big")
    unknown = (1 << 7 * size_length) - 1
    size = int.from_bytes(data[at + name_length : content], "big") & unknown
    return name, content, None if size == unknown else content + size


def _length(data: bytes, at: int) -> int:
    return 9 - data[at].bit_length() if at < len(data) else 9
