"""Many threads, a million calls, every result compared.

    python tests/stress/threads.py [--calls 1000000] [--threads 8]

Python switches between the threads every microsecond.  Medium-sized calls count as large, so that there is always one
that has helpers.  It exits with 1 if a result differed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter

import numpy as np

import fastconv1d
from fastconv1d import plan, tuning
from fastconv1d.reference import conv1d_reference

# shape of x, shape of w, options, dtype; an eighth of the calls has helpers if it may
PROBLEMS = (
    ((2, 3, 50), (4, 3, 3), {"padding": "same"}, "float32"),
    ((1, 1, 300), (1, 1, 7), {"padding": "causal"}, "float32"),
    ((1, 16, 40), (16, 1, 4), {"groups": 16}, "float32"),
    ((2, 30, 6), (3, 6, 5), {"data_format": "NWC", "stride": 2}, "float32"),
    ((1, 8, 64), (8, 1, 3), {"groups": 8, "dilation": 3}, "float32"),
    ((1, 2, 30), (3, 2, 3), {}, "int32"),
    ((1, 6, 70), (6, 3, 3), {"groups": 2, "padding_mode": "reflect", "padding": 9}, "float32"),
    ((1, 32, 4000), (32, 32, 1), {}, "float32"),
)


def stress(calls: int, count: int) -> int:
    """Return the number of wrong results."""
    sys.setswitchinterval(1e-6)
    tuning.PARALLEL_SECONDS = tuning.WAKING_SECONDS = 50e-6
    tuning.CROWD_SECONDS = 0  # one has helpers all the same
    parallel: Counter[int] = Counter()
    run_large = plan.Plan._run_large

    def counted(self: plan.Plan, team: plan.Team, *arrays: np.ndarray) -> None:
        parallel[team[0]] += 1
        run_large(self, team, *arrays)

    plan.Plan._run_large = counted  # type: ignore[method-assign]

    rng = np.random.default_rng(0)
    cases = []
    for x_shape, w_shape, options, dtype in PROBLEMS:
        x, w = (rng.integers(-9, 10, shape).astype(dtype) for shape in (x_shape, w_shape))
        cases.append((x, w, options, conv1d_reference(x, w, **options).astype(dtype)))
    wrong: list[str] = []

    def work(start: int) -> None:
        try:
            outs = [np.empty_like(y) for *_, y in cases]
            for i in range(start, start + calls // count):
                x, w, options, expected = cases[i % len(cases)]
                out = outs[i % len(cases)] if i % 3 else None
                if not np.array_equal(fastconv1d.conv1d(x, w, **options, out=out), expected):
                    wrong.append(f"call {i}")
        except BaseException as error:
            wrong.append(f"{type(error).__name__}: {error}")
            raise

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = ", ".join(f"{number} on {workers}" for workers, number in sorted(parallel.items()))
    print(
        f"{count} threads, {calls:,} calls in {time.perf_counter() - start:.0f} s, {len(wrong)} wrong"
        f" (large calls on so many threads: {numbers})"
    )
    print(*wrong[:10], sep="\n", end="")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    return 1 if stress(arguments.calls, arguments.threads) else 0


if __name__ == "__main__":
    sys.exit(main())
