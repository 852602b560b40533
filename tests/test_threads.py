"""When calls go parallel, that none ends its process, and that Ctrl-C is seen.  What takes longer is in stress/."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import pytest
from conftest import RunPython

from fastconv1d import conv1d, cores, explain, machine, plan, threads, tuning

STRESS = Path(__file__).parent / "stress"
LAYERS = ("omp", "workqueue")  # those of every Linux; tbb is an extra

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks and GNU OpenMP")


# -- how many ---------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Two threads, nobody forked, nothing asked for, and a call that came just before."""
    monkeypatch.delenv("FASTCONV1D_NUM_THREADS", raising=False)
    machine.threads_asked_for.cache_clear()
    monkeypatch.setattr(machine, "threads", lambda: 2)
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(numba, "threading_layer", lambda: "omp")
    monkeypatch.setattr(threads, "_last_call", threads.perf_counter())
    monkeypatch.setattr(threads, "_last_region", -float("inf"))
    monkeypatch.setattr(threads, "_crowd", threads.Crowd())
    monkeypatch.setattr(tuning, "AWAKE_SECONDS", 1e9)
    yield monkeypatch
    machine.threads_asked_for.cache_clear()


def test_a_call_goes_parallel_where_that_pays(fresh: pytest.MonkeyPatch) -> None:
    assert threads.threads_for(tuning.PARALLEL_SECONDS) == 2
    assert threads.threads_for(tuning.PARALLEL_SECONDS * 0.9) == 1
    fresh.setattr(tuning, "AWAKE_SECONDS", 0)  # the last call is long ago
    assert threads.threads_for(tuning.WAKING_SECONDS) == 2
    assert threads.threads_for(tuning.WAKING_SECONDS * 0.9) == 1


def test_the_count_is_the_least_that_anyone_allows(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(machine, "threads", lambda: 8)
    fresh.setattr(numba, "get_num_threads", lambda: 5)
    assert threads.threads_for(1) == 5
    fresh.setattr(machine, "threads", lambda: 3)
    assert threads.threads_for(1) == 3
    fresh.setattr(machine, "threads", lambda: 1)
    fresh.setattr(numba, "get_num_threads", lambda: pytest.fail("one thread needs no layer"))
    assert threads.threads_for(1) == 1


@pytest.fixture
def timed(fresh: pytest.MonkeyPatch) -> Callable[..., int]:
    """Make a call that the estimate takes for 1 ms take so long, and tell how many threads it used."""
    now = 0.0
    fresh.setattr(threads, "perf_counter", lambda: now)
    fresh.setattr(threads, "_last_region", 0.0)

    def call(seconds: float, estimate: float = 1e-3) -> int:
        nonlocal now
        with threads.workers_for(estimate) as (workers, _):
            now += seconds
        return workers

    return call


def test_two_slow_regions_and_a_better_trial_make_calls_use_one_thread_for_a_while(timed: Callable[..., int]) -> None:
    assert [timed(4e-3), timed(4e-3)] == [2, 2]
    assert timed(1.2e-3) == 1
    assert timed(tuning.CROWDED_SECONDS / 2) == 1
    assert timed(1, estimate=tuning.CROWDED_SECONDS) == 2, "a long call"
    assert [timed(0.5e-3), timed(4e-3), timed(0.5e-3), timed(4e-3), timed(4e-3)] == [2] * 5, "until they are slow again"
    assert timed(1.2e-3) == 1


def test_a_trial_that_is_no_better_ends_the_trials_for_a_while(timed: Callable[..., int]) -> None:
    assert [timed(2e-3), timed(2e-3), timed(3e-3)] == [2, 2, 1], "the estimate was wrong"
    assert [timed(2e-3) for _ in range(10)] == [2] * 10
    assert [timed(tuning.TRUSTED_SECONDS), timed(2e-3), timed(3e-3)] == [2, 2, 1], "until a while is over"


def test_slow_regions_of_several_threads_at_once_ask_for_one_trial_too() -> None:
    crowd = threads.Crowd()
    for _ in range(5):  # those that began before they were told to stay serial
        crowd.learn(4, parallel=True)
    assert crowd.wants_one()
    crowd.learn(1, parallel=False)
    assert crowd.one_until > threads.perf_counter()
    assert crowd.slow == []


def test_regions_that_woke_threads_and_calls_beside_others_teach_nothing(
    fresh: pytest.MonkeyPatch, timed: Callable[..., int]
) -> None:
    fresh.setattr(tuning, "AWAKE_SECONDS", -1)  # they are always asleep
    assert [timed(4e-3), timed(4e-3), timed(4e-3)] == [2, 2, 2]
    fresh.setattr(tuning, "AWAKE_SECONDS", 1e9)
    assert [timed(4e-3), timed(4e-3)] == [2, 2]
    with threads.workers_for(1):  # a call that is alone
        fresh.setattr(threads._crowd, "slow", [])
        assert [timed(9e-3), timed(9e-3), timed(9e-3)] == [1, 1, 1]
    assert timed(4e-3) == 2


def test_one_region_at_a_time(fresh: pytest.MonkeyPatch) -> None:
    with threads.workers_for(1) as outer, threads.workers_for(1) as inner:
        assert (outer, inner) == ((2, True), (1, False))  # the last region is long ago
    with pytest.raises(KeyboardInterrupt), threads.workers_for(1):
        raise KeyboardInterrupt
    with threads.workers_for(1) as later:
        assert later == (2, False)


def test_workqueue_is_for_the_main_thread_of_who_asks(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(numba, "threading_layer", lambda: "workqueue")
    assert threads.threads_for(1) == 1
    fresh.setenv("FASTCONV1D_NUM_THREADS", "2")
    machine.threads_asked_for.cache_clear()
    assert threads.threads_for(1) == 2
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(threads.threads_for(1)))
    thread.start()
    thread.join()
    assert elsewhere == [1]


def test_the_callers_own_count_stays(fresh: pytest.MonkeyPatch) -> None:
    fresh.undo()
    before = numba.get_num_threads()
    conv1d(np.ones((1, 64, 20_000), np.float32), np.ones((64, 64, 3), np.float32))
    assert numba.get_num_threads() == before


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "1e1"])
def test_a_wrong_number_of_threads_is_an_error_of_the_first_call(run_python: RunPython, text: str) -> None:
    child = run_python("-c", "import fastconv1d; fastconv1d.explain((1, 2, 9), (2, 2, 3))", FASTCONV1D_NUM_THREADS=text)
    assert child.returncode == 1
    assert f"FASTCONV1D_NUM_THREADS must be a number from 1 on, or not be set, got '{text}'" in child.stderr


@pytest.mark.parametrize(("text", "count"), [("", None), ("1", 1), (" 3 ", 3)])
def test_the_number_of_threads_asked_for(fresh: pytest.MonkeyPatch, text: str, count: int | None) -> None:
    fresh.setenv("FASTCONV1D_NUM_THREADS", text)
    machine.threads_asked_for.cache_clear()
    assert machine.threads_asked_for() == count


# The files of a control group, and how many CPUs they allow.
QUOTAS = {
    "none": ({}, None),
    "version 2": ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 2),
    "above": ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "100000 100000"}, 1),
    "the least": (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/b/cpu.max": "300000 100000",
            "sys/fs/cgroup/a/cpu.max": "200000 100000",
        },
        2,
    ),
    "container": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
    "no limit": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
    "not there": ({"proc/self/cgroup": "0::/of/the/host"}, None),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/a\n0::/",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "250000\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        3,
    ),
    "version 1, no limit": (
        {
            "proc/self/cgroup": "1:cpu:/",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
}


@pytest.mark.parametrize(("files", "count"), QUOTAS.values(), ids=QUOTAS)
def test_the_quota_of_a_container(tmp_path: Path, files: dict[str, str], count: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert machine.cpu_quota(tmp_path) == count


@pytest.mark.parametrize(("asked_for", "count"), [(None, 3), (5, 5), (9, 8)])
def test_the_quota_holds_unless_more_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked_for: int | None, count: int
) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 8)
    monkeypatch.setattr(machine, "cpu_quota", lambda: 3)
    monkeypatch.setattr(machine, "threads_asked_for", lambda: asked_for)
    assert machine.threads.__wrapped__() == count


# -- cores ------------------------------------------------------------------------------------------


@linux
def test_a_woken_thread_leaves_the_core_that_woke_it_and_may_come_back() -> None:
    waking, spread, current = numba.njit(cores.waking), numba.njit(cores.spread), cores._current

    @numba.njit
    def woken():  # type: ignore[no-untyped-def]
        waker, arrived = waking(2)
        spread(waker, 1, arrived)
        return waker, current(), arrived[1]

    allowed = os.sched_getaffinity(0)
    moves = []
    for _ in range(20):
        waker, core, arrived = woken()
        assert arrived == 1
        assert os.sched_getaffinity(0) == allowed
        moves.append(core != waker)
    assert any(moves) == (len(allowed) > 1)


@linux
def test_the_one_that_wakes_waits_for_nobody_long() -> None:
    spread = numba.njit(cores.spread)
    arrived = np.zeros(2, np.uint8)
    spread(0, 0, arrived)
    assert arrived.tolist() == [1, 0]


# -- tbb --------------------------------------------------------------------------------------------


@linux
def test_the_tbb_of_a_virtual_environment_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(threads.ctypes, "CDLL", lambda name, mode: loaded.append(name))
    for layer in ("default", "tbb", "safe", "omp", "workqueue"):
        monkeypatch.setattr(numba.config, "THREADING_LAYER", layer)
        threads._load_tbb()
    monkeypatch.setattr(numba.config, "THREADING_LAYER", "default")
    monkeypatch.setattr(numba.config, "THREADING_LAYER_PRIORITY", ["omp", "tbb", "workqueue"])
    threads._load_tbb()
    assert loaded == [str(Path(sys.prefix, "lib", "libtbb.so.12"))] * 3


# -- processes --------------------------------------------------------------------------------------


def situation(run_python: RunPython, layer: str, name: str, *options: str) -> tuple[int, str]:
    """Return how the process ended and what it said last."""
    script = str(STRESS / "start_methods.py")
    child = run_python(script, "--layer", layer, "--situation", name, *options, NUMBA_THREADING_LAYER=layer)
    *_, last = child.stdout.splitlines() or [""]
    return child.returncode, last


# layer, situation, threads in the end, and how the process ends without what fastconv1d does about it
DANGERS = [
    ("omp", "fork_after_use", "1 thread", -15),
    ("workqueue", "in_threads", "1 thread", -6),
    ("workqueue", "nested", "1 thread", -6),
    ("workqueue", "beside_another_library", "1 thread", -6),
]


@linux
@pytest.mark.parametrize(("layer", "name", "end", "otherwise"), DANGERS)
def test_no_situation_ends_the_process(run_python: RunPython, layer: str, name: str, end: str, otherwise: int) -> None:
    assert situation(run_python, layer, name) == (0, end)
    assert situation(run_python, layer, name, "--without-remedies")[0] == otherwise


@linux
def test_a_child_does_not_wait_for_the_threads_of_another_library(run_python: RunPython) -> None:
    """Which it would until an alarm ends it."""
    assert situation(run_python, "omp", "fork_after_openmp") == (0, "1 thread")


@linux
def test_a_child_that_was_forked_early_is_parallel(run_python: RunPython) -> None:
    child = situation(run_python, "omp", "fork_before_use")
    assert child == (0, f"{min(machine.threads(), 2)} thread{'s' * (machine.threads() > 1)}")


@pytest.mark.parametrize("layer", LAYERS)
def test_many_threads_at_once(run_python: RunPython, layer: str) -> None:
    child = run_python(str(STRESS / "threads.py"), "--calls", "8000", "--here", NUMBA_THREADING_LAYER=layer)
    assert child.returncode == 0, child.stdout + child.stderr
    assert child.stdout.startswith(f"{layer}: 8 threads, 8,000 calls")
    assert ("on 2" in child.stdout) == (layer == "omp" and machine.threads() > 1)


def test_other_threads_run_during_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """They see it half done.  A parallel region lets go of Python's lock in any case."""
    monkeypatch.setattr(tuning, "PARALLEL_SECONDS", np.inf)
    x, w = np.ones((1, 128, 40_000), np.float32), np.ones((128, 128, 9), np.float32)
    conv1d(x[..., :9000], w)  # compiles
    out = np.full((1, 128, 39_992), np.nan, np.float32)
    thread, half_done = threading.Thread(target=conv1d, args=(x, w), kwargs={"out": out}), False
    thread.start()
    while thread.is_alive():
        missing = np.isnan(out[0, ::9, ::999])
        half_done |= missing.any() and not missing.all()
    assert half_done


INTERRUPTED = """
import os, signal, sys, threading
import numpy as np
from fastconv1d import conv1d, tuning
tuning.SLICE_SECONDS *= float(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
x, w = np.ones((1, 128, 800_000), np.float32), np.ones((128, 128, 9), np.float32)  # 5 s at 50 GFLOP/s
conv1d(x[..., :9000], w, algorithm="direct")  # compiles, and starts the threads
out = np.full((1, 128, 799_992), np.nan, np.float32)
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    conv1d(x, w, out=out, algorithm="direct")
except KeyboardInterrupt:
    print("interrupted", "before" if np.isnan(out).any() else "after", "the end")
    conv1d(x[..., :9000], w, algorithm="direct")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("slices", "when"), [(1, "before"), (1e6, "after")])
def test_ctrl_c_is_seen_during_a_long_call(run_python: RunPython, slices: float, when: str) -> None:
    """It would be seen at the end, if the call were not made in slices."""
    child = run_python("-c", INTERRUPTED, str(slices))
    assert child.stdout == f"interrupted {when} the end\n", child.stderr


@pytest.mark.parametrize("algorithm", ["direct", "winograd", "fft"])
def test_slices_keep_all_threads_busy(fresh: pytest.MonkeyPatch, algorithm: str) -> None:
    """Eight blocks in twelve parts took three quarters longer on two threads: some parts had none, some slices one."""
    chosen = plan.plan_for(explain((1, 1280, 3000), (1280, 1280, 3)).problem, algorithm, True)
    slices: list[tuple[int, int, int]] = []
    now = 0.0

    def record(*arguments: object) -> None:
        nonlocal now
        first, last, parts = (int(str(argument)) for argument in arguments[-4:-1])
        slices.append((first, last, parts))
        now += 0.3 * tuning.SLICE_SECONDS * (last - first)  # so that three parts would fill a slice

    fresh.setitem(chosen.__dict__, "parallel", record)
    fresh.setattr(plan, "perf_counter", lambda: now)
    fresh.setattr(tuning, "SLICE_SECONDS", chosen.seconds / 100)
    none = np.empty((1, 1, 1), np.float32)
    chosen.run(none, (none, none), none)
    assert len(slices) > 1
    covered = 0
    for first, last, parts in slices:
        assert first == covered
        assert (last - first) % 2 == 0
        assert parts <= max(2, chosen.items)
        covered = last
    assert covered == parts


def test_no_block_takes_long() -> None:
    """A slice is a number of blocks, so that none may take longer than it by itself."""
    for layout in ("NCW", "NWC"):
        for dtype in ("float32", "complex128"):
            x_shape, w_shape = ((1, 2048, 960), (2048, 2048, 15))
            if layout == "NWC":
                x_shape, w_shape = ((1, 960, 2048), (15, 2048, 2048))
            x, w = np.broadcast_to(np.zeros((), dtype), x_shape), np.broadcast_to(np.zeros((), dtype), w_shape)
            problem = explain(x, w, data_format=layout, padding="same").problem
            chosen = plan.plan_for(problem, "direct" if dtype == "float32" else "scalar", False)
            blocks = chosen.geometry[0].items
            assert chosen.seconds / blocks < 3 * tuning.BLOCK_SECONDS
