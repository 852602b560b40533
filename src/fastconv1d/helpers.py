"""Threads of ours that help with calls: started when first asked for, awake for a while after each call.

They are threads of Python's, in compiled code while they help or look out for a call.  A child of a fork has none of
them, and starts its own.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import os
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from time import perf_counter, sleep
from types import BuiltinFunctionType

import numba
import numpy as np

from . import cores, machine, sharing, tuning
from .compile import compiled, log_compiling

_words = np.zeros((sharing.INVITATION_BYTES + machine.LINE_BYTES) // 8, np.int64)
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_words))  # for good: a helper may look there while Python ends

#: The address of the invitation (sharing.py), where a line of the cache starts.  No constant: kept code knows none.
invitation = int(_words.ctypes.data + -_words.ctypes.data % machine.LINE_BYTES)

#: Whom the helpers help: "caller" is there while a call has them, and once they are closed.  Who sets it, by
#: setdefault, has them: a lock could not say whose it is, if Ctrl-C comes in the moment when it is acquired.
region: dict[str, object] = {}

#: The calls of all threads that are large enough for helpers, and which thread made each.
calls: dict[object, int] = {}

#: How long the end of Python waits for the call of a daemon thread, and for a helper.
CLOSING_SECONDS = 1.0

_helpers: list[_Helper] = []
_closed = False


class _Helper:
    """A thread that serves as long as there is something to do, and then sleeps until its bell rings.

    The module threading does not know it: programs wait for all threads that it lists.
    """

    def __init__(self) -> None:
        self.bell: SimpleQueue[None] = SimpleQueue()
        self.asleep, self.working = False, _thread.allocate_lock()

    def start(self) -> None:
        self.working.acquire()
        _helpers.append(self)  # before it may end
        try:
            _thread.start_new_thread(self.work, ())
        except RuntimeError:
            _helpers.remove(self)
            raise

    def work(self) -> None:
        try:
            cores.as_main_thread()
            thread, patience = _thread.get_native_id(), looks_in(tuning.AWAKE_SECONDS)
            while not _closed:
                _serve()(invitation, thread, patience)
                self.asleep = True
                if not region:  # in this order: a caller rings for those that are asleep
                    self.bell.get()
                self.asleep = False
        finally:
            if self in _helpers:
                _helpers.remove(self)
            self.working.release()

    def wake(self) -> None:
        if self.asleep:
            self.asleep = False
            self.bell.put(None)


@cache
def _serve() -> Callable[..., None]:
    serve = compiled(sharing.serve, numba.void(*[numba.intp] * 3))
    _look_seconds()
    log_compiling("serve", "helpers")
    return serve


@cache
def _look_seconds() -> float:
    """How long it takes to look whether there is an invitation, and to pause after it."""
    look, count, least = compiled(sharing.look, numba.void(*[numba.intp] * 2)), 1000, float("inf")
    for _ in range(3):
        start = perf_counter()
        look(invitation, count)
        least = min(least, perf_counter() - start)
    return max(least, 1e-6) / count


def looks_in(seconds: float) -> int:
    """How many looks take about this long."""
    return max(int(seconds / _look_seconds()), 1)


def awake(count: int) -> bool:
    """Whether this many helpers are there and do not sleep."""
    return len(_helpers) >= count and not any(helper.asleep for helper in _helpers[:count])


def summon(count: int) -> int:
    """Wake this many helpers, and start those that there are not yet; for who has the region.  Return how many came."""
    _serve()  # compiled here, not by the helpers
    if not isinstance(_thread.start_new_thread, BuiltinFunctionType):
        return 0  # gevent's or eventlet's, whose threads take turns with this one
    try:
        while len(_helpers) < count:
            _Helper().start()
    except RuntimeError:  # no more threads for this process: then with fewer
        pass
    woken = _helpers[:count]
    for helper in woken:
        helper.wake()
    return len(woken)


def _close() -> None:
    """End the helpers: what comes back from compiled code after Python has ended may end badly."""
    global _closed
    _closed, us, deadline = True, object(), perf_counter() + CLOSING_SECONDS
    while region.setdefault("caller", us) is not us:
        if perf_counter() > deadline:
            return
        sleep(1e-3)
    sharing.close(invitation)
    ending = _helpers[:]
    for helper in ending:
        helper.bell.put(None)
    for helper in ending:
        if helper.working.acquire(timeout=CLOSING_SECONDS):
            helper.working.release()


def _after_fork_in_child() -> None:
    for call, thread in [*calls.items()]:
        if thread != _thread.get_ident():  # else this thread goes on with it, and has the invitation to itself
            del calls[call]
    if region.get("caller") not in calls:
        region.clear()
    _helpers.clear()
    _words[:] = 0


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
