"""What becomes of a process that calls conv1d from threads, inside of other parallel code, and on both sides of a fork.

    python tests/stress/start_methods.py

prints a table of situations, each run in a process of its own: how many threads the last call used, or how the process
ended.  It exits with 1 unless all of them end well.  One of them:

    python tests/stress/start_methods.py --situation fork_after_use
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

import fastconv1d
from fastconv1d import plan

SECONDS = 120  # a process that takes longer hangs

rng = np.random.default_rng(0)
X, W = rng.integers(-99, 100, (4, 64, 4000), np.int32), rng.integers(-99, 100, (64, 64, 3), np.int32)
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

used = 1  # threads of the last call


def expected() -> np.ndarray:
    return sum(np.einsum("oc,ncl->nol", W[:, :, k], X[:, :, k : k + 3998]) for k in range(3))


def call() -> int:
    """Convolve, see whether that was right, and return how many threads it took."""
    np.testing.assert_array_equal(fastconv1d.conv1d(X, W), EXPECTED)
    return used


def count_threads() -> None:
    run_large = plan.Plan._run_large

    def counted(self: plan.Plan, team: plan.Team, *arrays: np.ndarray) -> None:
        global used
        used = team[0]
        run_large(self, team, *arrays)

    plan.Plan._run_large = counted  # type: ignore[method-assign]


def calls() -> int:
    return [call() for _ in range(20)][-1]


@numba.njit(parallel=True, nogil=True)
def double(a: np.ndarray) -> None:
    """What another library may do."""
    for i in numba.prange(a.size):
        a[i] *= 2


def calls_beside_another_library() -> int:
    a = np.ones(1000)
    for _ in range(200):
        call()
        double(a)
    return used


# -- the situations ---------------------------------------------------------------------------------


def alone() -> int:
    return calls()


def in_threads() -> int:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(calls) for _ in range(8)]:
            future.result()
        return calls()


def beside_another_library() -> int:
    """Its parallel code runs in another thread."""
    stop, a = threading.Event(), np.ones(1000)

    def other() -> None:
        while not stop.is_set():
            double(a)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        return [calls() for _ in range(3)][-1]
    finally:
        stop.set()
        thread.join()


def nested() -> int:
    """Inside of another parallel loop."""

    @numba.njit(parallel=True, nogil=True)
    def loop(results: np.ndarray) -> None:
        for i in numba.prange(results.size):
            with numba.objmode(result="int64"):
                result = calls()
            results[i] = result

    results = np.zeros(6, np.int64)
    loop(results)
    assert results.all()
    return int(results.max())


def in_activation() -> int:
    def twice(y: np.ndarray) -> np.ndarray:
        call()
        return y

    fastconv1d.conv1d(X, W, activation=twice)
    return used


def in_asyncio() -> int:
    async def main() -> list[int]:
        return await asyncio.gather(*(asyncio.to_thread(calls) for _ in range(6)))

    return asyncio.run(main())[-1]


def calls_with_helpers() -> int:
    """Return how many threads the last call used, all of which are there."""
    count = calls()
    assert len(os.listdir("/proc/self/task")) >= count
    return count


def _in_fork(function: Callable[[], int]) -> int:
    """Return what `function` returns in a child."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS // 2)
        status = 255
        try:
            status = function()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    assert os.WEXITSTATUS(status) < 255
    return os.WEXITSTATUS(status)


def fork_before_use() -> int:
    return _in_fork(calls_with_helpers)


def fork_after_use() -> int:
    calls()
    return _in_fork(calls_with_helpers)


def fork_of_fork() -> int:
    calls()
    return _in_fork(lambda: _in_fork(calls_with_helpers))


def fork_in_thread() -> int:
    """While another thread computes."""
    calls()
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            call()

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            return [pool.submit(_in_fork, calls).result() for _ in range(5)][-1]
    finally:
        stop.set()
        thread.join()


def fork_after_openmp() -> int:
    """After another library used GNU OpenMP, whose threads the child does not have."""
    try:
        openmp = ctypes.CDLL("libgomp.so.1.0.0")
    except OSError:
        return calls()
    nothing = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
    openmp.GOMP_parallel(nothing, None, 2, 0)
    return _in_fork(calls_with_helpers)


def _pool(method: str) -> int:
    calls()
    with multiprocessing.get_context(method).Pool(2, start) as pool:
        return pool.apply(calls)


def forkserver() -> int:
    return _pool("forkserver")


def spawn() -> int:
    return _pool("spawn")


def fork_pool() -> int:
    return _pool("fork")


def daemon_at_exit() -> int:
    """The interpreter ends while daemons compute."""

    def forever() -> None:
        while True:
            call()

    for _ in range(4):
        threading.Thread(target=forever, daemon=True).start()
    return calls()


def atexit_handler() -> int:
    atexit.register(calls)
    return calls()


SITUATIONS: dict[str, Callable[[], int]] = {
    situation.__name__: situation
    for situation in (
        alone, in_threads, beside_another_library, nested, in_activation, in_asyncio, fork_before_use, fork_after_use,
        fork_of_fork, fork_in_thread, fork_pool, fork_after_openmp, forkserver, spawn, daemon_at_exit, atexit_handler,
    )
}  # fmt: skip


def start() -> None:
    """Prepare a process."""
    global EXPECTED
    EXPECTED = expected()
    count_threads()


def run(situation: str) -> str:
    """Return how many threads were used in the end, or how the process ended."""
    command = [sys.executable, __file__, "--situation", situation]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "hangs"
    if child.returncode < 0:
        return signal.Signals(-child.returncode).name
    *_, last = child.stdout.splitlines() or [""]
    if child.returncode == 0 and last.endswith((" thread", " threads")):
        return last
    print(child.stderr, file=sys.stderr)
    return f"exit {child.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--situation", choices=SITUATIONS)
    arguments = parser.parse_args()
    if arguments.situation:
        start()
        count = SITUATIONS[arguments.situation]()
        print(f"{count} thread{'s' * (count > 1)}", flush=True)
        return 0
    table = {situation: run(situation) for situation in SITUATIONS}
    for situation, outcome in table.items():
        print(f"{situation:24}{outcome}")
    return 0 if all(outcome in ("1 thread", "2 threads") for outcome in table.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
