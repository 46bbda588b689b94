"""What a container promises of its pictures, to tell a file that was cut off from one that is whole."""

import os
from dataclasses import dataclass

import av

from data_prep.video.sources import Pipe

_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_HEAD = 1024  # bytes, of a Matroska file, in which its segment begins


@dataclass
class Packets:
    """The packets that a container gave.

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
        missing = round((_matroska_end(container, stream) - last) * rate) - 1
        # A single one may be the rounding to milliseconds.
        return missing if missing > 1 and _Bytes(source).are_missing() else 0
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
        if self._head.startswith(_EBML):
            return (matroska_size(self._head) or 0) > self.size
        begin, head = 0, self._head
        while head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"AVIX"):  # A long AVI is several such.
            begin += 8 + int.from_bytes(head[4:8], "little")
            head = b"" if self._file is None else _read(self._file, begin)
        return begin > self.size


def _read(path, begin: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(_HEAD)


def matroska_size(head: bytes) -> int | None:
    """Returns the size in bytes that the beginning of a Matroska file promises; None where it promises none.

    The file is an EBML header and a segment, each an identifier of four bytes, the size of the rest, and the rest.
    """
    size, begin = _ebml_size(head, 4)
    segment = begin + (size or 0)
    if head[segment : segment + 4] != _SEGMENT:
        return None
    size, begin = _ebml_size(head, segment + 4)
    return None if size is None else begin + size


def _ebml_size(data: bytes, at: int) -> tuple[int | None, int]:
    """A size and where it ends. As many zero bits lead it as bytes follow the first; None, all ones, is unknown."""
    length = 9 - data[at].bit_length() if at < len(data) else 9
    if length > 8 or at + length > len(data):
        return None, at
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length
