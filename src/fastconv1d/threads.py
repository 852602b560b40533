"""When to go parallel, and when not: never where Numba's threading layer would end the process or hang it.

Serial and parallel runs give the same bits, so that the choice is free to look at the moment:

- One region at a time.  Who comes while another runs stays serial and waits for nobody; so nothing nests.
- The layer workqueue aborts the process when two threads enter it, also when one of them belongs to another library.
- GNU OpenMP ends a forked child of the process that started it, hangs in a grandchild, and TBB hangs in a child that
  was forked while a region ran.  So a child whose parent had threads stays serial.
- Sleeping threads cost more to wake than a small call takes.
- Where others compute or spin on the cores, as the threads of some libraries do for milliseconds after each of their
  calls, a thread that waits for its core holds up the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numba

from . import machine, tuning

#: GNU OpenMP, under the name by which Numba loads it.
OPENMP = "libgomp.so.1.0.0"


class Crowd:
    """Whether one thread is faster at the moment, since others are on the cores.

    The pace of a call is its time in that of the estimate for one thread.  When two parallel calls in a row took longer
    than that, the next one is a trial on one thread; if it goes better, others do so too for a while, else it was the
    estimate, and there is no other trial for a while.
    """

    def __init__(self) -> None:
        self.slow: list[float] = []  # the paces of the last parallel calls that were slow
        self.one_until = self.trusted_until = -1e9

    def wants_one(self) -> bool:
        """Whether the next call should use one thread."""
        return len(self.slow) == 2 or perf_counter() < self.one_until

    def learn(self, pace: float, parallel: bool) -> None:
        """Take note of a call."""
        now, slow = perf_counter(), self.slow  # which other threads may replace
        if parallel:
            self.slow = [*slow, pace][-2:] if pace > 1 and now >= self.trusted_until else []
        elif len(slow) == 2:
            if pace < min(slow):
                self.one_until = now + tuning.CROWDED_SECONDS
            else:
                self.trusted_until = now + tuning.TRUSTED_SECONDS
            self.slow = []


_crowd = Crowd()
_region = threading.Lock()
_forked = False  # this process is a child that runs no program of its own
_inherited = False  # and its parent had threads, which it has not
_last_call = _last_region = -1e9  # when the last call ended that was large enough for threads, and that used them


def _after_fork_in_child() -> None:
    global _forked, _inherited, _region
    _forked, _inherited, _region = True, _launched(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _launched() -> bool:
    """Whether Numba's layer is chosen and its threads started."""
    try:
        numba.threading_layer()
    except ValueError:
        return False
    return True


def _is_loaded(library: str) -> bool:
    """Whether a shared library is in the process."""
    try:
        ctypes.CDLL(library, os.RTLD_NOLOAD)
    except (AttributeError, OSError):  # Windows has no such question, nor forks
        return False
    return True


def _load_tbb() -> None:
    """Load pip's TBB, which stands in a virtual environment where Numba does not find it, if Numba wants it first."""
    wanted = str(numba.config.THREADING_LAYER).lower()
    if wanted == "default":
        wanted = numba.config.THREADING_LAYER_PRIORITY[0]
    if wanted not in ("omp", "workqueue") and sys.platform == "linux":
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(Path(sys.prefix, "lib", "libtbb.so.12")), ctypes.RTLD_GLOBAL)


def _layer_is_safe() -> bool:
    """Whether a parallel region may start here and now; chooses the layer if nobody has."""
    global _inherited
    if not _inherited and not _launched():
        if _forked and _is_loaded(OPENMP):
            _inherited = True  # another library's threads, which OpenMP would wait for
        else:
            _load_tbb()
            numba.get_num_threads()
    if _inherited:
        return False
    if numba.threading_layer() == "workqueue":
        asked_for = machine.threads_asked_for() is not None
        return asked_for and threading.current_thread() is threading.main_thread()
    return True


def threads_for(seconds: float) -> int:
    """How many threads share a call that takes about `seconds` on one, if no other call is parallel at the time."""
    one_of_many = perf_counter() - _last_call < tuning.AWAKE_SECONDS
    worthwhile = seconds >= (tuning.PARALLEL_SECONDS if one_of_many else tuning.WAKING_SECONDS)
    if not worthwhile or machine.threads() == 1 or not _layer_is_safe():
        return 1
    if seconds < tuning.CROWDED_SECONDS and _crowd.wants_one():
        return 1
    return min(int(numba.get_num_threads()), machine.threads())


@contextmanager
def workers_for(seconds: float) -> Iterator[tuple[int, bool]]:
    """How many workers a call may use now, and whether they may be asleep.

    One parallel region at a time, and nobody waits for it.
    """
    global _last_call, _last_region
    region, count, start = _region, threads_for(seconds), perf_counter()
    asleep = count > 1 and start - _last_region > tuning.AWAKE_SECONDS
    alone = count > 1 and region.acquire(blocking=False)
    try:  # at once: Ctrl-C may come at any line, and the lock would stay locked
        yield (count if alone else 1), alone and asleep
    finally:
        if alone:
            region.release()
        _last_call = perf_counter()
        if alone:
            _last_region = _last_call
        if alone == (count > 1) and not asleep and tuning.PARALLEL_SECONDS <= seconds < tuning.CROWDED_SECONDS:
            _crowd.learn((_last_call - start) / seconds, alone)
