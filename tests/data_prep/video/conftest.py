"""Videos as camcorders, phones, editors and broadcasters make them; no program but PyAV is needed."""

import struct
from fractions import Fraction

import av
import pytest

_SIDE = 32  # of a field-coded picture, in pixels


def _given(value):
    """A fixture that is `value`: test modules cannot import from here."""
    return pytest.fixture(scope="session")(lambda: value)


class _Bits:
    """The bits of an H.264 NAL unit (ITU-T H.264, 7.2 and 9.1)."""

    def __init__(self):
        self.text = ""

    def u(self, count, value):
        self.text += f"{value:0{count}b}"
        return self

    def ue(self, *values):
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code
        return self

    def se(self, *values):
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def align(self):
        self.text += "0" * (-len(self.text) % 8)
        return self

    def nal(self, header):
        """The whole unit, with its start code and the bytes that prevent a second one."""
        self.u(1, 1).align()
        data = bytes(int(self.text[at : at + 8], 2) for at in range(0, len(self.text), 8))
        out, zeros = bytearray(), 0
        for byte in data:
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([header]) + bytes(out)


def _parameter_sets(fps):
    sps = _Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 0, 2, 1).u(1, 0)  # Main profile; one reference frame
    sps.ue(_SIDE // 16 - 1, _SIDE // 32 - 1).u(1, 0).u(1, 0)  # fields or frames, no adaptive macroblocks
    sps.u(1, 1).u(1, 0).u(1, 1).u(4, 0).u(1, 1).u(32, 1).u(32, 2 * fps).u(1, 1).u(4, 0)  # ticks of a field
    pps = _Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).se(0, 0, 0).u(3, 0)
    return sps.nal(0x67) + pps.nal(0x68)


def _picture(number, bottom):
    """A field (bottom is 0 or 1) or a whole frame (None) of one brightness, uncompressed (I_PCM)."""
    first = number == 0 and not bottom
    bits = _Bits().ue(0, 7, 0).u(4, number % 16)
    bits.u(1, 0) if bottom is None else bits.u(1, 1).u(1, bottom)
    if first:
        bits.ue(0)
    bits.u(6, (2 * number + (bottom or 0)) % 64)
    bits.u(2 if first else 1, 0).se(0)
    macroblock = f"{16 + 4 * number:08b}" * 256 + "10000000" * 128
    for _ in range((_SIDE // 16) * (_SIDE // (16 if bottom is None else 32))):
        bits.ue(25).align()
        bits.text += macroblock
    return bits.nal(0x65 if first else 0x61)


def _write_field_coded(path, num_frames=12, fps=25, whole=()):
    """Writes H.264 whose frames are two fields, each a packet of its own; those of `whole` are one packet (PAFF)."""
    delimiter = _Bits().u(3, 0).nal(9)
    data = b""
    for number in range(num_frames):
        for bottom in [None] if number in whole else [0, 1]:
            data += delimiter + (b"" if number or bottom else _parameter_sets(fps)) + _picture(number, bottom)
    raw = path.with_suffix(".h264")
    raw.write_bytes(data)
    ticks, tick = 0, Fraction(1, 2 * fps)
    with av.open(str(raw), format="h264") as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream, packet.time_base = stream, tick
                packet.pts = packet.dts = ticks
                frame = ticks // 2
                packet.duration = 2 if frame in whole else 1
                ticks += packet.duration
                target.mux(packet)
    raw.unlink()
    return path


def _copy(source, target, change, **options):
    """Muxes the packets of a video again, as `-c copy` does; `change(packet)` may alter one, or drop it (False)."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size and change(packet) is not False:
                packet.stream = stream
                new.mux(packet)
    return target


def _set_matrix(path, a, b, c, d, unit=1 << 16):
    """Writes the display matrix of an MP4's track: a point (x, y) of the stored picture goes to (ax+cy, bx+dy)."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    a, b, c, d = (round(value * unit) for value in (a, b, c, d))
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


write_field_coded = _given(_write_field_coded)
copy_packets = _given(_copy)
set_matrix = _given(_set_matrix)
