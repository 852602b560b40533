"""When to go parallel, and when not: never where Numba's threading layer would abort the process.

A parallel region costs a few microseconds when the threads are awake and a hundred when they sleep.  Serial and
parallel runs give the same bits, so that this choice is free to look at the moment.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba

from . import tuning

_region = threading.Lock()
_forked = False


def _after_fork_in_child() -> None:
    global _forked, _region
    _forked, _region = True, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _layer_is_safe() -> bool:
    """Whether the threading layer survives a parallel region here and now."""
    try:
        layer = numba.threading_layer()
    except ValueError:  # not launched yet; what it will be shows after the first region
        layer = "omp" if _forked else ""
    if layer == "omp" and _forked and sys.platform == "linux":
        return False  # GNU OpenMP ends a forked child at its first region
    # workqueue aborts when two threads enter it, another library's too: only the main thread may.
    return layer != "workqueue" or threading.current_thread() is threading.main_thread()


def threads_for(seconds: float) -> int:
    """How many threads share a call that takes about `seconds` on one, if no other call is parallel at the time."""
    count = numba.get_num_threads() if seconds >= tuning.PARALLEL_SECONDS else 1
    return count if count > 1 and _layer_is_safe() else 1


@contextmanager
def workers_for(seconds: float) -> Iterator[int]:
    """How many workers a call may use now; one parallel region at a time, and nobody waits for it."""
    region = _region
    count = threads_for(seconds)
    if count > 1 and region.acquire(blocking=False):
        try:
            yield count
        finally:
            region.release()
    else:
        yield 1
