"""Which thread runs on which core, where Linux leaves one waiting for a core though another is idle or ours.

It lets a woken thread run where it ran before, if that core is idle.  In a virtual machine whose idle cores are given
back to the host it takes them for busy, and puts the thread on the core of the one that woke it, which computes: 1 ms
of work for each of two threads took 6.9 ms after 20 ms of idleness.  So the one that wakes gives way, and the woken one
leaves its core, after which it may run anywhere again: 1.2 ms (median of 60; 2 virtual cores, Linux 6.18, GNU OpenMP,
2026-11-24).

And where another's thread spins on a core, a helper gets it for 3 ms of each 6, and is sent off it in the midst of an
item.  The caller, who has nothing left to do, would wait for 3 ms; so when the clock of the helper's work stands still,
it fetches the helper to its own core, and gives way.  tuning.py has the figures.
"""

from __future__ import annotations

import contextlib
import os

import numpy as np
from numba import types

from .compile import kernel
from .simd.atomics import load, room_on_stack, store

#: Other systems have no such calls, and what they do with such threads was not seen.
SUPPORTED = hasattr(os, "sched_setaffinity")

#: A set of cores as the C library has it: 1024 bits.
SET_BYTES, TWO_SETS_BYTES = 128, 256

#: What clock_gettime fills, and the low bits of the clock of a thread's work: Linux's CPUCLOCK_PERTHREAD_MASK and
#: CPUCLOCK_SCHED, as pthread_getcpuclockid of the C library has them.
TIMESPEC_BYTES, CLOCK_OF_THREAD = 16, 6

_current = types.ExternalFunction("sched_getcpu", types.int32())
_yield = types.ExternalFunction("sched_yield", types.int32())
_allowed = types.ExternalFunction("sched_getaffinity", types.int32(types.int32, types.intp, types.intp))
_allow = types.ExternalFunction("sched_setaffinity", types.int32(types.int32, types.intp, types.intp))
_clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))

#: The policies of real-time threads, as of audio: beside them a helper, which is none, may never run.
SCHED_DEADLINE = 6
REAL_TIME = {getattr(os, "SCHED_FIFO", None), getattr(os, "SCHED_RR", None), SCHED_DEADLINE}


def count() -> int:
    """How many cores this thread may run on."""
    with contextlib.suppress(OSError, AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def real_time() -> bool:
    """Whether this thread has real-time priority."""
    with contextlib.suppress(OSError, AttributeError):
        return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in REAL_TIME
    return False


def as_main_thread() -> None:
    """Run where the main thread may, not only where the thread may that started this one."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()))


@kernel
def this_core():
    """The core that this thread runs on, or -1."""
    return np.int64(_current()) if SUPPORTED else np.int64(-1)


@kernel
def offer():
    """Let another thread run on this core, if one waits for it."""
    if SUPPORTED:
        _yield()


@kernel
def worked(thread):
    """How many ns of a thread's work are done, or -1 where that can't be known: it stands while the thread waits."""
    if SUPPORTED:
        time = room_on_stack(TIMESPEC_BYTES, 8)
        if _clock(~thread << 3 | CLOCK_OF_THREAD, time) == 0:
            return load(time) * 10**9 + load(time + 8)
    return -1


@kernel
def leave(core):
    """Run on another core than this one, if there is one."""
    if SUPPORTED and core >= 0 and _current() == core:
        _move(0, core, False)


@kernel
def fetch(thread):
    """Have a thread run on this core next."""
    if SUPPORTED:
        _move(thread, _current(), True)


@kernel
def _move(thread, core, to):
    """Move a thread (0: this one) to a core, or off it; then it may run where it might before."""
    allowed = room_on_stack(TWO_SETS_BYTES, 8)  # not an array, for which there may be no memory
    chosen, bit = allowed + SET_BYTES, 1 << core % 64
    if _allowed(thread, SET_BYTES, allowed) >= 0:
        for word in range(0, SET_BYTES, 8):
            cores = load(allowed + word)
            here = cores & bit if word == core // 64 * 8 else 0
            store(chosen + word, here if to else cores ^ here)
        if _allow(thread, SET_BYTES, chosen) == 0:
            _allow(thread, SET_BYTES, allowed)
