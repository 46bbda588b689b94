"""Fast copies of rows of features into batches."""

import contextlib
import mmap

import numpy as np

AHEAD = 2  # Batches that are ready before the step asks for them.


def copy_rows(source, rows, out):
    """out[...] = source[rows], converted to the type of `out`; fast where the rows are evenly spaced."""
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

    NumPy branches on every value that is zero, and most features are: it takes six times as long. The bits of a
    float16 that is finite and not negative, shifted to the place of a float32's, are its value times 2⁻¹¹².
    """
    bits = half.view(np.int16)
    if bits.min() < 0 or bits.max() >= 0x7C00:  # Negative, infinite or NaN.
        np.copyto(out, half)
        return
    moved = out.view(np.uint32)
    np.left_shift(bits.view(np.uint16), 13, out=moved, dtype=np.uint32)
    np.multiply(out, np.float32(2.0**112), out=out)


def aligned_empty(shape, dtype) -> np.ndarray:
    """Returns an array that starts at a page of memory: JAX on a CPU then uses it without a copy."""
    size = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
    memory = mmap.mmap(-1, size)
    with contextlib.suppress(AttributeError, OSError):  # Not every system has them.
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype, int(np.prod(shape))).reshape(shape)


def announce(rows: np.ndarray):
    """Tells the operating system that `rows`, if part of a memory map, will be read: it then reads ahead."""
    memory = getattr(rows, "_mmap", None)
    if memory is None:
        return
    begin = np.frombuffer(memory, np.uint8).ctypes.data
    first = rows.ctypes.data - begin
    first -= first % mmap.PAGESIZE
    with contextlib.suppress(AttributeError, OSError):  # It is advice.
        memory.madvise(mmap.MADV_WILLNEED, first, rows.ctypes.data + rows.nbytes - begin - first)
