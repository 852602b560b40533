"""Many threads, a million calls, every result compared, on each threading layer of Numba in a process of its own.

    python tests/stress/threads.py [--calls 1000000] [--threads 8] [--layers omp tbb workqueue]

Python switches between the threads every microsecond.  Medium-sized calls count as large, so that there is always one
that is parallel.  It exits with 1 if a result differed, or a process died.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np

LAYERS = ("omp", "tbb", "workqueue")

# shape of x, shape of w, options, dtype; an eighth of the calls is parallel if it may
PROBLEMS = (
    ((2, 3, 50), (4, 3, 3), {"padding": "same"}, "float32"),
    ((1, 1, 300), (1, 1, 7), {"padding": "causal"}, "float32"),
    ((1, 16, 40), (16, 1, 4), {"groups": 16}, "float32"),
    ((2, 30, 6), (3, 6, 5), {"data_format": "NWC", "stride": 2}, "float32"),
    ((1, 8, 64), (8, 1, 3), {"groups": 8, "dilation": 3}, "float32"),
    ((1, 2, 30), (3, 2, 3), {}, "int32"),
    ((1, 6, 70), (6, 3, 3), {"groups": 2, "padding_mode": "reflect", "padding": 9}, "float32"),
    ((1, 32, 1200), (32, 32, 3), {"padding": 1}, "float32"),
)


def stress(calls: int, count: int) -> int:
    """Return the number of wrong results."""
    import numba

    import fastconv1d
    from fastconv1d import plan, tuning
    from fastconv1d.reference import conv1d_reference

    sys.setswitchinterval(1e-6)
    tuning.PARALLEL_SECONDS = tuning.WAKING_SECONDS = 50e-6
    tuning.CROWDED_SECONDS = 0  # however slow they are
    parallel: Counter[int] = Counter()
    run_large = plan.Plan._run_large

    def counted(self: plan.Plan, workers: int, *arrays: np.ndarray) -> None:
        parallel[workers] += 1
        run_large(self, workers, *arrays)

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
    layer = numba.threading_layer()
    numbers = ", ".join(f"{number} on {workers}" for workers, number in sorted(parallel.items()))
    print(
        f"{layer}: {count} threads, {calls:,} calls in {time.perf_counter() - start:.0f} s, {len(wrong)} wrong"
        f" (large calls on so many threads: {numbers})"
    )
    print(*wrong[:10], sep="\n", end="")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument("--here", action="store_true", help="in this process, on the layer that Numba chooses")
    arguments = parser.parse_args()
    if arguments.here:
        return 1 if stress(arguments.calls, arguments.threads) else 0
    options = [f"--calls={arguments.calls}", f"--threads={arguments.threads}", "--here"]
    failed = 0
    for layer in arguments.layers:
        child = subprocess.run(
            [sys.executable, __file__, *options],
            env=os.environ | {"NUMBA_THREADING_LAYER": layer},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if "No threading layer could be loaded" in child.stderr:
            print(f"{layer}: not installed")
        elif child.returncode:
            failed = 1
            print(f"{layer}: exit {child.returncode}\n{child.stderr[-2000:]}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
