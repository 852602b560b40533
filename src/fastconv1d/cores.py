"""Threads that were asleep spread over the cores.

Linux lets a woken thread run where it ran before, if that core is idle.  In a virtual machine whose idle cores are
given back to the host it takes them for busy, and puts the thread on the core of the one that woke it, which computes,
and then spins until the other is done: 1 ms of work for each of two threads took 6.9 ms after 20 ms of idleness
(median of 60; 2 virtual cores, Linux 6.18, GNU OpenMP, 2026-11-24).  So the one that wakes gives way, and the woken
ones leave its core, after which they may run anywhere again: 1.2 ms.
"""

from __future__ import annotations

import os

import numpy as np
from numba import types

from .simd.arrays import address

#: Other systems have no such calls, and what they do with woken threads was not seen.
SUPPORTED = hasattr(os, "sched_setaffinity")

#: A set of cores as the C library has it: 1024 bits.
SET_WORDS = 16

#: How often to look whether the others are there, which they are after 2 us if they are awake, before giving way.
PATIENCE = 500

_current = types.ExternalFunction("sched_getcpu", types.int32())
_yield = types.ExternalFunction("sched_yield", types.int32())
_allowed = types.ExternalFunction("sched_getaffinity", types.int32(types.int32, types.intp, types.intp))
_allow = types.ExternalFunction("sched_setaffinity", types.int32(types.int32, types.intp, types.intp))


def waking(workers):  # type: ignore[no-untyped-def]
    """The core of the thread that wakes others, and a place for each worker to say that it is there."""
    return _current() if SUPPORTED else -1, np.zeros(workers, np.uint8)


def spread(waker, worker, arrived):  # type: ignore[no-untyped-def]
    """What each worker does first: worker 0 woke the others on the core `waker`; `arrived` has a place for each."""
    if not SUPPORTED:
        return
    if worker == 0:
        arrived[0] = 1
        for _ in range(PATIENCE):
            if arrived.all():
                return
            _current()  # a call that the compiler knows nothing of: the others' places are read again
        _yield()
        return
    arrived[worker] = 1
    if _current() == waker:
        cores = np.zeros((2, SET_WORDS), np.uint64)
        others, size = cores[1], cores[0].nbytes
        if _allowed(0, size, address(cores)) >= 0:
            others[:] = cores[0]
            others[waker // 64] &= ~(np.uint64(1) << np.uint64(waker % 64))
            if _allow(0, size, address(others)) == 0:
                _allow(0, size, address(cores))
        cores[0, 0] = 0  # keeps them until here: the system only has their addresses
