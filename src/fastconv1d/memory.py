"""Memory for results: on cache lines of its own, and, if large, where an earlier result was.

A vector store that straddles two lines costs two: 1 -> 16 channels, K 3, L 8000 takes 24 us on lines, 31 us off them.
The system hands out large memory zeroed, and fresh for every allocation: clearing 604 MB took 90 of the 220 ms of a
convolution whose arithmetic took 130 (4 -> 768 channels, K 15, L 196608; Emerald Rapids, 2026-11-23).  So the pages of
large results that were dropped are kept for others that they fit, up to tuning.KEPT_RESULT_BYTES, and the last one that
is larger: its pages are marked as free, and the system takes them back when it is short of memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import weakref

import numpy as np

from . import machine, tuning

_SUPPORTED = hasattr(mmap, "MADV_FREE") and hasattr(mmap, "MADV_HUGEPAGE")

#: The pages of large results that were dropped, the last one at the end.  No lock: an array may be dropped anywhere,
#: also by the thread that would hold it, and each operation on the list is atomic.
_dropped: list[mmap.mmap] = []


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """As np.empty."""
    size = math.prod(shape) * dtype.itemsize
    if size < tuning.ALIGNED_RESULT_BYTES:
        return np.empty(shape, dtype)
    if size < tuning.LARGE_RESULT_BYTES or not _SUPPORTED:
        room = np.empty(size + machine.LINE_BYTES, np.uint8)
        offset = -room.__array_interface__["data"][0] % machine.LINE_BYTES
        return room[offset : offset + size].view(dtype).reshape(shape)
    pages = _pages(size)
    carrier = (ctypes.c_char * size).from_buffer(pages)
    weakref.finalize(carrier, _drop, pages).atexit = False  # when the last view of the result is gone
    return np.ndarray(shape, dtype, buffer=memoryview(carrier))


def _pages(size: int) -> mmap.mmap:
    """At least `size` bytes: some that were dropped, if they are not much more, or new ones."""
    for pages in reversed(_dropped):
        if size <= len(pages) <= size + size // 4:
            with contextlib.suppress(ValueError):  # another thread took them
                _dropped.remove(pages)
                return pages
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(f"no memory for a result of {size:,} bytes") from error
    with contextlib.suppress(OSError):  # a hint, which not every kernel takes
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


def _drop(pages: mmap.mmap) -> None:
    marked = len(pages) > tuning.KEPT_RESULT_BYTES
    with contextlib.suppress(OSError):  # pages that can't be marked as free are not kept
        if marked:
            pages.madvise(mmap.MADV_FREE)
        _dropped.append(pages)
    alike = [other for other in _dropped if (len(other) > tuning.KEPT_RESULT_BYTES) == marked]
    while len(alike) > 1 and sum(map(len, alike)) > tuning.KEPT_RESULT_BYTES:
        with contextlib.suppress(ValueError):  # another thread did it
            _dropped.remove(alike.pop(0))
