"""Whether memory grows over many calls of every kind: what the process occupies, and what Python counts.

    python tests/stress/memory.py [--calls 100000]

It exits with 1 if either grew by more than the noise of the allocator.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import random
import resource
import sys
import tracemalloc
from pathlib import Path

import numpy as np

import fastconv1d
from fastconv1d import tuning

RESIDENT_BYTES = 8 * 2**20  # growth that is no leak: one byte a call would be a tenth of it
TRACED_BYTES = 64 * 1024


def resident() -> int:
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most so far: macOS does not tell more


class Calls:
    """Calls of every kind, and large results that are dropped in any order."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x, self.w = rng.standard_normal((2, 8, 100), np.float32), rng.standard_normal((8, 8, 3), np.float32)
        self.out = np.empty((2, 8, 98), np.float32)
        self.strided = np.empty((2, 8, 98, 2), np.float32)[..., 0]
        self.large = rng.standard_normal((1, 4, 40_000), np.float32)
        self.kept: list[np.ndarray] = []
        self.random = random.Random(0)
        self.kinds = (
            lambda: fastconv1d.conv1d(self.x, self.w),
            lambda: fastconv1d.conv1d(self.x, self.w, out=self.out),
            lambda: fastconv1d.conv1d(self.x, self.w, out=self.strided),
            lambda: fastconv1d.conv1d(self.x, self.w, activation=np.tanh),
            lambda: fastconv1d.conv1d(self.x.astype(np.float16), self.w.astype(np.float16)),
            lambda: fastconv1d.conv1d(self.x.astype(int), self.w.astype(int)),
            lambda: fastconv1d.conv1d(self.x[::-1, ::-1, ::-1], self.w[:, :1], groups=8),
            lambda: fastconv1d.conv1d(self.x, self.w, self.w[0, 0, :1]),  # wrong shape
            lambda: fastconv1d.conv1d(self.x.astype(bool), self.w),  # wrong dtype
            lambda: fastconv1d.conv1d(self.x, self.w, activation=len),  # no activation
            lambda: fastconv1d.explain(self.x, self.w),
        )

    def make(self, number: int) -> None:
        with contextlib.suppress(TypeError, ValueError):
            self.kinds[number % len(self.kinds)]()
        if number % 50 == 0:  # a result that is large for memory.py
            if len(self.kept) == 5:
                del self.kept[self.random.randrange(5)]
            # A little larger than any before, so that it does not fit where one was.
            self.kept.append(fastconv1d.conv1d(self.large[..., : 20_000 + number % 20_000], self.w[:, :4])[:, 1:])


def growth(calls: int) -> tuple[int, int]:
    """Return by how many bytes the process and Python's share of it grew in the second half of so many calls."""
    # What grows to its size in the first half: the memory of dropped results, and the threads, which take 20 to 30 MB.
    tuning.KEPT_RESULT_BYTES = 2**24
    tuning.PARALLEL_SECONDS = tuning.WAKING_SECONDS = 50e-6
    made = Calls()
    for number in range(calls // 2):
        made.make(number)
    before = resident()
    for number in range(calls // 2, calls):
        made.make(number)
    grown = resident() - before
    tracemalloc.start()
    for number in range(1000):
        made.make(number)
    gc.collect()  # ctypes makes a type for each size of large results, which only this ends
    before, _ = tracemalloc.get_traced_memory()
    for number in range(1000, 1000 + calls // 10):
        made.make(number)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return grown, after - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    arguments = parser.parse_args()
    grown, traced = growth(arguments.calls)
    print(f"{arguments.calls:,} calls: the process grew by {grown / 1024:,.0f} KiB in the second half,")
    print(f"Python's share by {traced / 1024:,.1f} KiB in {arguments.calls // 10:,} calls")
    return 1 if grown > RESIDENT_BYTES or traced > TRACED_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
