"""When a call is shared by several threads, and when not.

One thread and several give the same bits, so that the choice is free to look at the moment:

- One call at a time has helpers (helpers.py).  Who comes meanwhile does without, and waits for nobody; nothing nests.
- Each call of another thread keeps a core busy, which the helpers would only take turns with.
- Sleeping threads cost more to wake than a small call takes.
- A caller with real-time priority would wait for helpers that have none.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from numba.np.ufunc import parallel

from . import cores, helpers, machine, tuning
from .compile import jit_disabled
from .sharing import MOST_WORKERS


class Team(NamedTuple):
    """Who works on a call."""

    workers: int
    asleep: bool  # whether some of them may be
    patience: int  # how many looks one may stand still (sharing.py)


ALONE = Team(1, False, 0)

_last_call = -1e9  # when the last call ended that was large enough for threads
_crowd, _crowd_seen = 0, -1e9  # how many such calls were on their way when another was made, and when that was


def threads_for(seconds: float, items: int) -> int:
    """How many threads share a call of so many items that takes about `seconds` on one, if no other has helpers."""
    if jit_disabled() or machine.threads() == 1:
        return 1
    free = min(machine.threads(), cores.count())
    if perf_counter() - _crowd_seen < tuning.CROWD_SECONDS:
        free -= _crowd
    enough = 1 + int(min(seconds / tuning.PARALLEL_SECONDS, MOST_WORKERS))
    count = min(free, MOST_WORKERS, items, enough)
    if parallel._is_initialized:  # else nobody has set Numba's number, and to ask it would start Numba's threads
        count = min(count, int(parallel._get_num_threads()))
    if count <= 1 or cores.real_time():
        return 1
    recent = helpers.awake(count - 1) or perf_counter() - _last_call < tuning.AWAKE_SECONDS
    return count if recent or seconds >= tuning.WAKING_SECONDS else 1


def with_helpers(seconds: float, items: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(team, *arguments)``, which has so many items and takes about `seconds` on one thread."""
    global _last_call, _crowd, _crowd_seen
    me, team = object(), ALONE
    try:
        if helpers.calls:
            _crowd, _crowd_seen = len(helpers.calls), perf_counter()
        helpers.calls[me] = get_ident()
        count = threads_for(seconds, items)
        if count > 1 and helpers.region.setdefault("caller", me) is me:
            asleep = not helpers.awake(count - 1)
            if asleep:
                count = 1 + helpers.summon(count - 1)
            if count > 1:
                team = Team(count, asleep, helpers.looks_in(tuning.STALLED_SECONDS))
        work(team, *arguments)
    finally:  # without a call, at whose end Ctrl-C may come: the helpers would have this caller for ever
        if "caller" in helpers.region and helpers.region["caller"] is me:
            del helpers.region["caller"]
        if me in helpers.calls:
            del helpers.calls[me]
    _last_call = perf_counter()
