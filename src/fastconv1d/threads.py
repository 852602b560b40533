"""When a call is shared by several threads, and when not.

One thread and several give the same bits, so that the choice is free to look at the moment:

- One call at a time has helpers (helpers.py).  Who comes meanwhile does without, and waits for nobody; nothing nests.
- Sleeping threads cost more to wake than a small call takes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from numba.np.ufunc import parallel

from . import helpers, machine, tuning
from .compile import jit_disabled
from .sharing import MOST_WORKERS

#: Workers of a call, whether some may be asleep, and after how many looks one is taken for stalled (sharing.py).
Team = tuple[int, bool, int]
ALONE: Team = (1, False, 0)

_last_call = -1e9  # when the last call ended that was large enough for threads


def threads_for(seconds: float) -> int:
    """How many threads share a call that takes about `seconds` on one, if no other has helpers at the time."""
    count = 1 if jit_disabled() else min(machine.threads(), MOST_WORKERS)
    if parallel._is_initialized:  # else nobody has set Numba's number, and to ask it would start Numba's threads
        count = min(count, int(parallel._get_num_threads()))
    if count == 1:
        return 1
    one_of_many = helpers.awake(count - 1) or perf_counter() - _last_call < tuning.AWAKE_SECONDS
    return count if seconds >= (tuning.PARALLEL_SECONDS if one_of_many else tuning.WAKING_SECONDS) else 1


def with_helpers(seconds: float, items: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call ``work(team, *arguments)``, which has so many items and takes about `seconds` on one thread."""
    global _last_call
    count, me, team = threads_for(seconds), object(), ALONE
    try:
        if count > 1 and helpers.region.setdefault("caller", me) is me:
            asleep = not helpers.awake(count - 1)
            if asleep:
                count = 1 + helpers.summon(count - 1)
            if count > 1:
                patience = helpers.looks(tuning.STALLED_SECONDS + tuning.STALLED_ITEMS * seconds / items)
                team = count, asleep, patience
        work(team, *arguments)
    finally:  # without a call, at whose end Ctrl-C may come: the helpers would have this caller for ever
        if "caller" in helpers.region and helpers.region["caller"] is me:
            del helpers.region["caller"]
    _last_call = perf_counter()
