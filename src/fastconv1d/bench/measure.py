"""How long calls take, taking turns, and what the machine could do at best in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .. import machine
from ..compile import standalone
from ..simd.tiles import CHAINS, multiply_add_chains

#: A turn repeats a call for about this long, so that the clock counts for nothing.
TURN_SECONDS = 4e-3

#: Nobody is waited for longer than this in all turns together, but each has two.
PATIENCE_SECONDS = 1.0

#: Where several threads work, those of a library spin after a call, on the cores that the next one needs: without a
#: rest 32 -> 512 K 1 ran at 0.37 of ONNX Runtime's speed, with 20 ms at 0.94 (Emerald Rapids, 2 cores, 2026-11-23).
#: Those of NumPy's OpenBLAS burn 70 to 80 ms after a call, by /proc/self/task/*/schedstat, those of ONNX Runtime 40,
#: half as fast beside a call as alone (Zen 4, 2 cores, 2026-11-27).
REST_SECONDS = 0.1

#: Multiply-adds of one chain, and bytes of an array, in a measurement of the machine.  The array has to be larger than
#: the caches of a server, 260 MB here.
PEAK_STEPS = 2_000_000
COPIED_BYTES = 400 * 2**20


def time_in_turns(calls: dict[str, Callable[[], Any]], rounds: int, threads: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; a slow spell of the machine hits all of them."""
    repeats = {name: max(1, int(TURN_SECONDS / max(_seconds(call, 1), 1e-7))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name, call in calls.items():
            if turn >= 2 and sum(seconds[name]) * repeats[name] > PATIENCE_SECONDS:
                continue
            if threads > 1:
                time.sleep(REST_SECONDS)
            if repeats[name] > 1:
                call()  # what the others left in the caches is not this one's
            seconds[name].append(_seconds(call, repeats[name]))
    return seconds


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


@standalone(pointers=1, integers=1)
def _multiply_add(factor, table, steps):
    factor[0] = multiply_add_chains(factor[0], steps)


def peak_flops(dtype: str, threads: int) -> float:
    """Multiplications and additions a second of this dtype, by fused multiply-adds that depend on nothing."""
    factors, table = np.full((threads, 1), 0.5, dtype), np.zeros(1, np.int64)
    flops = 2 * CHAINS * machine.lanes(np.dtype(dtype)) * PEAK_STEPS
    return threads * flops / _at_once(lambda i: _multiply_add.run((factors[i], table), (PEAK_STEPS,)), threads)


def copied_bytes(threads: int) -> float:
    """Bytes a second that a copy reads and writes."""
    arrays = [np.ones((2, COPIED_BYTES // threads), np.uint8) for _ in range(threads)]
    return 2 * COPIED_BYTES / _at_once(lambda i: np.copyto(arrays[i][1], arrays[i][0]), threads)


def _at_once(work: Callable[[int], Any], threads: int) -> float:
    """Seconds until all threads are done, the best of twenty tries; the first one compiles."""
    with ThreadPoolExecutor(threads) as pool:
        return min(_seconds(lambda: list(pool.map(work, range(threads))), 1) for _ in range(20))
