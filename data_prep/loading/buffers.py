"""Copies of features from rows into batches, fast."""

import contextlib
import mmap

import numpy as np

AHEAD = 2  # Batches that wait, ready, for the step.


def copy_rows(source, rows, out):
    """out[...] = source[rows], with a change of type, and fast where the rows lie at one distance."""
    if source.dtype == np.float16 and out.dtype == np.float32:
        for into, row in zip(out, rows.tolist(), strict=True):
            widen(source[row], into)
        return
    distance = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if distance > 0 and np.all(np.diff(rows) == distance):
        np.copyto(out, source[rows[0] : rows[-1] + 1 : distance], casting="unsafe")
    else:
        for into, row in zip(out, rows, strict=True):
            np.copyto(into, source[row], casting="unsafe")


def widen(half, out):
    """out[...] = half, from float16 to float32, exactly.

    NumPy asks of every value whether it is zero, which for features, mostly zeros, is a sixth as fast as this. The
    bits of a float16 that is finite and not negative, moved to where a float32 has them, are its value times 2⁻¹¹².
    """
    bits = half.view(np.int16)
    if bits.min() < 0 or bits.max() >= 0x7C00:  # Negative, infinite or no number.
        np.copyto(out, half)
        return
    moved = out.view(np.uint32)
    np.left_shift(bits.view(np.uint16), 13, out=moved, dtype=np.uint32)
    np.multiply(out, np.float32(2.0**112), out=out)


def aligned_empty(shape, dtype) -> np.ndarray:
    """Returns an array that begins a page of memory: a CPU as device then uses it where it lies, without a copy."""
    size = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
    memory = mmap.mmap(-1, size)
    with contextlib.suppress(AttributeError, OSError):  # Not every system has them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)


def announce(rows: np.ndarray):
    """Tells the system, if `rows` are part of a memory map, that they will be needed: it reads them as a whole."""
    memory = getattr(rows, "_mmap", None)
    if memory is None:
        return
    begin = np.frombuffer(memory, np.uint8).ctypes.data
    first = rows.ctypes.data - begin
    first -= first % mmap.PAGESIZE
    with contextlib.suppress(AttributeError, OSError):  # It is advice.
        memory.madvise(mmap.MADV_WILLNEED, first, rows.ctypes.data + rows.nbytes - begin - first)
