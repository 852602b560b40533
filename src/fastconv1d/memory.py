"""Memory for results: on cache lines of its own, and, if large, where an earlier result was.

A vector store that straddles two lines costs two: 1 -> 16 channels, K 3, L 8000 takes 24 us on lines, 31 us off them.
The system hands out large memory zeroed, and fresh for every allocation: clearing 604 MB took 90 of the 220 ms of a
convolution whose arithmetic took 130 (4 -> 768 channels, K 15, L 196608; Emerald Rapids, 2026-11-23).  So the pages of
large results that were dropped are kept for others that they fit, as far as tuning.py allows, and the last one that is
larger: its pages are marked as free, and the system takes them back when it is short of memory.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
from collections.abc import Callable
from typing import Any

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
    if pages is None:
        return np.empty(shape, dtype)
    # The array between is what views have as their base.  _Lent is known to the garbage collector, as all classes made
    # in Python are, which may call __del__ while another finaliser of the same garbage still has the object.
    return np.ndarray(shape, dtype, np.ndarray(size, np.uint8, _Lent(size, np.uint8, pages)))


class _Lent(np.ndarray):
    """Pages that a result and all views of it stand in: they are dropped when the last of these is gone."""

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_finalizing():  # the names of this module may be gone
            return
        pages: Any = self.base
        if isinstance(pages, mmap.mmap):  # a view that somebody made of it has it as its base
            _drop(pages)


def _pages(size: int) -> mmap.mmap | None:
    """At least `size` bytes: some that were dropped, if they are not much more, or new ones, if the system has any."""
    for pages in reversed(_dropped):
        if size <= len(pages) <= size + size // 4:
            try:
                _dropped.remove(pages)
            except ValueError:  # another thread took them
                continue
            return pages
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError):  # of memory, or only of maps, of which Linux gives 65,530
        return None
    with contextlib.suppress(OSError):  # a hint, which not every kernel takes
        pages.madvise(mmap.MADV_HUGEPAGE)
    return pages


def _drop(pages: mmap.mmap) -> None:
    """Keep these pages for others, and no more of them than may be kept."""
    marked = len(pages) > tuning.KEPT_RESULT_BYTES
    if marked:
        try:
            pages.madvise(mmap.MADV_FREE)
        except OSError:  # what can't be marked is not kept
            return
    _dropped.append(pages)
    if len(_dropped) == 1:  # as a rule: Ctrl-C is lost in a finaliser, which should take no longer than it must
        return
    alike = [other for other in _dropped if (len(other) > tuning.KEPT_RESULT_BYTES) == marked]
    while len(alike) > 1 and (len(alike) > tuning.KEPT_RESULTS or sum(map(len, alike)) > tuning.KEPT_RESULT_BYTES):
        with contextlib.suppress(ValueError):  # another thread did it
            _dropped.remove(alike.pop(0))
