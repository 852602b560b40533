"""When calls have helpers, how they share them, that none ends its process, and that Ctrl-C is seen.  What takes longer
is in stress/."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
import pytest
from conftest import RunPython

from fastconv1d import compile, conv1d, cores, driver, explain, helpers, machine, plan, sharing, threads, tuning
from fastconv1d.simd.atomics import load, store

STRESS = Path(__file__).parent / "stress"

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks and sets of cores")


# -- how many ---------------------------------------------------------------------------------------


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Two threads, nothing asked for, nobody awake, and a call that came just before."""
    monkeypatch.delenv("FASTCONV1D_NUM_THREADS", raising=False)
    machine.threads_asked_for.cache_clear()
    monkeypatch.setattr(machine, "threads", lambda: 2)
    monkeypatch.setattr(threads.parallel, "_is_initialized", False)
    monkeypatch.setattr(threads, "_last_call", float("inf"))
    monkeypatch.setattr(threads, "_crowd_seen", -float("inf"))
    monkeypatch.setattr(helpers, "awake", lambda count: False)
    monkeypatch.setattr(cores, "count", lambda: 10**6)
    yield monkeypatch
    machine.threads_asked_for.cache_clear()


def test_a_call_has_helpers_where_that_pays(fresh: pytest.MonkeyPatch) -> None:
    assert threads.threads_for(tuning.PARALLEL_SECONDS, 999) == 2
    assert threads.threads_for(tuning.PARALLEL_SECONDS * 0.9, 999) == 1
    fresh.setattr(threads, "_last_call", -float("inf"))
    assert threads.threads_for(tuning.WAKING_SECONDS, 999) == 2
    assert threads.threads_for(tuning.WAKING_SECONDS * 0.9, 999) == 1
    fresh.setattr(helpers, "awake", lambda count: count == 1)  # but the helper is still there
    assert threads.threads_for(tuning.PARALLEL_SECONDS, 999) == 2


def test_the_count_is_the_least_that_anyone_allows(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(threads.parallel, "_get_num_threads", lambda: pytest.fail("nobody has set it"), raising=False)
    fresh.setattr(machine, "threads", lambda: 8)
    assert threads.threads_for(1, 999) == 8
    fresh.setattr(threads.parallel, "_is_initialized", True)
    fresh.setattr(threads.parallel, "_get_num_threads", lambda: 5)
    assert threads.threads_for(1, 999) == 5
    fresh.setattr(machine, "threads", lambda: 3)
    assert threads.threads_for(1, 999) == 3
    fresh.setattr(machine, "threads", lambda: 10**6)
    fresh.setattr(threads.parallel, "_is_initialized", False)
    assert threads.threads_for(1, 999) == sharing.MOST_WORKERS
    assert threads.threads_for(1, 7) == 7, "items"
    assert threads.threads_for(5.5 * tuning.PARALLEL_SECONDS, 999) == 6, "nobody for less than what a thread is worth"
    fresh.setattr(cores, "count", lambda: 4)
    assert threads.threads_for(1, 999) == 4


def test_callers_beside_each_other_leave_helpers_out(fresh: pytest.MonkeyPatch) -> None:
    now = 100.0
    fresh.setattr(threads, "perf_counter", lambda: now)
    fresh.setattr(machine, "threads", lambda: 64)
    threads.with_helpers(1, 99, lambda team: threads.with_helpers(1, 99, lambda team: team_of()))
    assert threads.threads_for(1, 99) == 62
    assert threads.threads_for(1, 4) == 4, "there are cores for all items"
    fresh.setattr(machine, "threads", lambda: 4)
    assert threads.threads_for(1, 99) == 2
    fresh.setattr(machine, "threads", lambda: 2)
    assert threads.threads_for(1, 99) == 1
    now += 1.01 * tuning.CROWD_SECONDS
    assert threads.threads_for(1, 99) == 2
    assert helpers.calls == {}


@linux
def test_a_caller_with_real_time_priority_waits_for_nobody(fresh: pytest.MonkeyPatch) -> None:
    assert not cores.real_time()
    fresh.setattr(os, "sched_getscheduler", lambda process: os.SCHED_FIFO)
    assert cores.real_time()
    fresh.setattr(os, "sched_getscheduler", lambda process: os.SCHED_RR | os.SCHED_RESET_ON_FORK)
    assert cores.real_time()
    assert threads.threads_for(1, 99) == 1


@linux
def test_a_pinned_thread_works_alone_and_its_helpers_are_not_pinned(run_python: RunPython) -> None:
    code = """
import os, threading
from fastconv1d import helpers, machine, threads
machine.threads = lambda: 2
def pinned():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(threads.threads_for(1, 9))
    helpers.summon(1)
thread = threading.Thread(target=pinned)
thread.start()
thread.join()
helper = max(int(task) for task in os.listdir("/proc/self/task"))
while not helpers._helpers[0].asleep:
    pass
print(os.sched_getaffinity(helper) == os.sched_getaffinity(0))
"""
    child = run_python("-c", code)
    assert child.stdout == "1\nTrue\n", child.stderr


def test_numbas_own_count_is_heeded_and_stays(fresh: pytest.MonkeyPatch) -> None:
    fresh.undo()
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert threads.threads_for(1, 999) == 1
        numba.set_num_threads(before)
        assert threads.threads_for(1, 999) == min(before, machine.threads())
        conv1d(np.ones((1, 64, 20_000), np.float32), np.ones((64, 64, 3), np.float32))
        assert numba.get_num_threads() == before
    finally:
        numba.set_num_threads(before)


def test_numbas_threads_are_not_started(run_python: RunPython) -> None:
    code = "import numpy as np, fastconv1d; from numba.np.ufunc import parallel as p;"
    code += "fastconv1d.conv1d(np.ones((1, 64, 20_000), 'f'), np.ones((64, 64, 3), 'f')); print(p._is_initialized)"
    assert run_python("-c", code).stdout == "False\n"


def team_of(seconds: float = 1.0) -> list[threads.Team]:
    """The team that a call would have."""
    teams: list[threads.Team] = []
    threads.with_helpers(seconds, 9, teams.append)
    return teams


def test_one_call_at_a_time_has_helpers(fresh: pytest.MonkeyPatch) -> None:
    inner = []
    threads.with_helpers(1, 9, lambda team: inner.extend([team[:2], *team_of()]))
    assert inner == [(2, True), threads.ALONE]

    def fail(team: threads.Team) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.with_helpers(1, 9, fail)
    assert helpers.region == {}
    fresh.setattr(helpers, "awake", lambda count: True)
    fresh.setattr(threads, "_crowd_seen", -float("inf"))
    assert team_of()[0][:2] == (2, False)


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


# -- sharing ----------------------------------------------------------------------------------------


@numba.njit(nogil=True)
def deal(shares, first, last, workers):  # type: ignore[no-untyped-def]
    sharing.deal(shares, first, last, workers)


@numba.njit(nogil=True)
def count_items(shares, slot, counts, first):  # type: ignore[no-untyped-def]
    share = shares + slot * sharing.SHARE_BYTES
    item, last = sharing.claim(share)
    while item < last:
        counts[item - first] += 1
        item, last = sharing.after(item, last, share)


@pytest.mark.parametrize(("workers", "present"), [(1, 1), (2, 1), (2, 2), (3, 2), (5, 5), (8, 3)])
def test_every_item_is_claimed_once_whoever_comes(rng: np.random.Generator, workers: int, present: int) -> None:
    room = np.zeros(workers * sharing.SHARE_BYTES // 8, np.int64)
    for items in (0, 1, 2, workers, *rng.integers(1, 5000, 60)):
        first, counts = int(rng.integers(0, 2**40)), np.zeros(items, np.int8)
        deal(room.ctypes.data, first, first + items, workers)
        slots = rng.permutation(workers)[:present]
        crew = [threading.Thread(target=count_items, args=(room.ctypes.data, s, counts, first)) for s in slots[1:]]
        for thread in crew:
            thread.start()
        count_items(room.ctypes.data, slots[0], counts, first)
        for thread in crew:
            thread.join()
        assert (counts == 1).all()


@numba.njit(nogil=True)
def count_rounds(shares, slot, counts, gate):  # type: ignore[no-untyped-def]
    """The same in many rounds, which both threads begin at the same time."""
    for r in range(len(counts)):
        if slot == 0:
            sharing.deal(shares, 0, counts.shape[1], 2)
            store(gate, 2 * r + 1)
            while load(gate) == 2 * r + 1:
                pass
        else:
            while load(gate) != 2 * r + 1:
                pass
            store(gate, 2 * r + 2)
        share = shares + slot * sharing.SHARE_BYTES
        item, last = sharing.claim(share)
        while item < last:
            counts[r, item] += 1 + slot
            item, last = sharing.after(item, last, share)
        if slot == 0:
            while load(gate + 8) != r + 1:
                pass
        else:
            store(gate + 8, r + 1)


def test_two_that_begin_together_claim_every_item_once() -> None:
    room = np.zeros(2 * sharing.SHARE_BYTES // 8, np.int64)
    for slot in (0, 1):  # compiles
        count_rounds(room.ctypes.data, slot, np.zeros((0, 1), np.int8), 0)
    gate, counts = np.zeros(2, np.int64), np.zeros((3000, 40), np.int8)
    other = threading.Thread(target=count_rounds, args=(room.ctypes.data, 1, counts, gate.ctypes.data))
    other.start()
    count_rounds(room.ctypes.data, 0, counts, gate.ctypes.data)
    other.join()
    assert np.isin(counts, (1, 2)).all()


def test_shares_differ_by_one_at_most() -> None:
    room = np.zeros(3 * sharing.SHARE_BYTES // 8, np.int64)
    deal(room.ctypes.data, 0, 11, 3)
    left = [int(word) for word in room[:: sharing.SHARE_BYTES // 8]]
    assert [(word >> 32, word % 2**32) for word in left] == [(0, 3), (3, 7), (7, 11)]


@numba.njit
def invite_and_dismiss(invitation):  # type: ignore[no-untyped-def]
    sharing.invite(invitation, 0, 0, 3, False)
    before = load(invitation + sharing.TICKET)
    sharing.dismiss(invitation, 3, 0)
    return before, load(invitation + sharing.TICKET)


def test_invitations_are_numbered() -> None:
    """So that to take a place in a later one than was looked at fails."""
    words = np.zeros(sharing.INVITATION_BYTES // 8, np.int64)
    for number in (1, 2, 3):
        none = number * sharing.MOST_WORKERS
        assert invite_and_dismiss(words.ctypes.data) == (none + 3, none)


# -- helpers ----------------------------------------------------------------------------------------


def test_helpers_sleep_after_a_while_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "threads", lambda: 3)
    monkeypatch.setattr(cores, "count", lambda: 3)
    monkeypatch.setattr(threads.parallel, "_is_initialized", False)  # whatever Numba's number is

    def wait_until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    for _ in range(3):
        threads.with_helpers(1, 9, lambda team: wait_until(lambda: helpers.awake(2)))
        wait_until(lambda: all(helper.asleep for helper in helpers._helpers))
    assert not helpers.awake(len(helpers._helpers) + 1)
    assert len(helpers._helpers) >= 2
    assert threading.active_count() == 1, "those that programs wait for"


def test_a_process_that_may_not_have_more_threads_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(helpers, "BuiltinFunctionType", FunctionType)
    monkeypatch.setattr(helpers._thread, "start_new_thread", fail)
    there = len(helpers._helpers)
    assert helpers.summon(there + 1) == there
    monkeypatch.setattr(helpers, "_helpers", [])
    monkeypatch.setattr(machine, "threads", lambda: 2)
    assert team_of() == [threads.ALONE]


def test_green_threads_are_no_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers._thread, "start_new_thread", lambda *_: pytest.fail("would take turns with the caller"))
    assert helpers.summon(3) == 0


class Ends:
    """The bell of a helper that something ends."""

    def get(self) -> None:
        raise SystemExit

    def put(self, item: None) -> None:
        pass


@linux
def test_helpers_help_where_threads_may_not_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError

    for name in ("sched_setaffinity", "sched_getaffinity", "sched_getscheduler"):
        monkeypatch.setattr(os, name, forbidden)
    monkeypatch.setattr(helpers, "_helpers", [])
    assert cores.count() >= 1
    assert not cores.real_time()
    assert helpers.summon(1) == 1
    (helper,) = helpers._helpers
    helper.bell.put(None)
    assert (marked(threads.Team(2, True, 100), False, False) == 1).all()
    assert helpers._helpers == [helper]
    monkeypatch.setattr(helpers, "_closed", True)  # ends it
    while not helper.working.acquire(timeout=0.01):
        helper.bell.put(None)


def test_a_helper_that_has_ended_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.001)

    monkeypatch.setattr(helpers, "_helpers", [])
    helpers.summon(1)
    helper = helpers._helpers[0]
    wait_until(lambda: helper.asleep)
    bell, helper.bell = helper.bell, Ends()  # type: ignore[assignment]
    bell.put(None)
    wait_until(lambda: helper not in helpers._helpers)
    assert helper.working.acquire(timeout=30)
    assert helpers._helpers == []
    assert helpers.summon(1) == 1
    replacement = helpers._helpers[0]
    monkeypatch.undo()
    helpers._helpers.append(replacement)


@linux
def test_a_child_forked_in_a_call_goes_on_with_it_and_nobody_joins(run_python: RunPython) -> None:
    code = """
import os, sys, threading
from fastconv1d import helpers, machine, threads
machine.threads = lambda: 2
teams = []
def inside(team):
    if os.fork():
        sys.exit(os.wait()[1])
    other = threading.Thread(target=threads.with_helpers, args=(1, 9, teams.append))
    other.start()
    other.join()
    teams.append(team)
threads.with_helpers(1, 9, inside)
threads.with_helpers(1, 9, teams.append)
print([team.workers for team in teams], helpers.calls, helpers.region)
"""
    child = run_python("-W", "ignore", "-c", code)
    assert child.stdout == "[1, 2, 1] {} {}\n", child.stderr


@driver.driver
def mark(x, w, bias, y, g, share):  # type: ignore[no-untyped-def]
    """1 more in y for each item; without memory where w says so."""
    slot = load(share + sharing.SLOT)
    room = np.empty(2**50 if w[min(slot, 1)] else 1)
    item, last = sharing.claim(share)
    while item < last:
        for _ in range(1000):
            y[0, 0, item] = y[0, 0, item] * 0.5
        y[0, 0, item] += 1
        item, last = sharing.after(item, last, share)
    room[0] = 0


def marked(team: threads.Team, *fails: bool) -> np.ndarray:
    geometry = plan.plan_for(explain((1, 1, 9), (1, 1, 3)).problem, "direct", False).geometry
    x, y, w = np.zeros((1, 1, 1)), np.zeros((1, 1, 200)), np.array(fails, float)
    compute = mark.compiled(x.dtype, y.dtype, geometry.dtype)
    compute(x, w, w[:0], y, geometry, 0, 200, *team)
    return y


def test_a_helper_without_memory_leaves_its_items_to_the_others() -> None:
    for _ in range(50):
        helpers.summon(1)
        assert (marked((2, True, 100), False, True) == 1).all()


@pytest.mark.parametrize("team", [threads.ALONE, (2, True, 100), (4, False, 0)])
def test_a_call_that_has_no_memory_says_so(team: threads.Team) -> None:
    for _ in range(20):
        helpers.summon(1)
        with pytest.raises(MemoryError):
            marked(team, True, False)


def test_calls_are_right_whenever_helpers_are_fetched() -> None:
    for patience in (0, 1, 50) * 20:
        helpers.summon(3)
        assert (marked((4, False, patience), False, False) == 1).all()


STORM = """
import random, signal, sys
import numpy as np
import fastconv1d
from fastconv1d import helpers, machine, tuning
machine.threads = lambda: 2
tuning.PARALLEL_SECONDS = tuning.WAKING_SECONDS = 1e-9
x, w = np.ones((1, 16, 600), np.float32), np.ones((16, 16, 3), np.float32)
expected = fastconv1d.conv1d(x, w)
def interrupt(*_):
    if armed:
        raise KeyboardInterrupt
seen, armed = 0, False
signal.signal(signal.SIGALRM, interrupt)
for i in range(3000):
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
    try:
        armed = True
        for _ in range(5):
            y = fastconv1d.conv1d(x, w)
    except KeyboardInterrupt:
        seen += 1
    armed = False
    assert helpers.region == helpers.calls == {}, i
assert np.array_equal(fastconv1d.conv1d(x, w), expected)
print(seen > 100)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_ctrl_c_at_any_line_leaves_the_helpers_to_the_next_call(run_python: RunPython) -> None:
    child = run_python("-c", STORM)
    assert child.stdout == "True\n", child.stderr


@numba.njit("boolean(int64, int64)", nogil=True)
def wait_for_one(invitation, number):  # type: ignore[no-untyped-def]
    """Wait for the helper that has the one place of an invitation; whether it was fetched."""
    store(invitation + sharing.DONE, 0)
    store(invitation + sharing.TICKET, number * sharing.MOST_WORKERS)
    sharing.dismiss(invitation, 1, 1000)
    return load(invitation + sharing.CORE) >= 0


@numba.njit("void(int64, int64)", nogil=True)
def work_on(invitation, looks):  # type: ignore[no-untyped-def]
    """Be done after so many looks from when the caller waits."""
    while load(invitation + sharing.DONE):
        sharing.pause()
    for _ in range(looks):
        sharing.pause()
    store(invitation + sharing.DONE, 1)


def fetched_late(number: int, looks: int, waits: bool) -> tuple[bool, float]:
    """Whether a helper is fetched that works for so many looks, and `waits` before, for that or 10 s.

    And for how many looks the caller worked itself.
    """
    words = np.zeros(sharing.INVITATION_BYTES // 8, np.int64)
    invitation = words.ctypes.data

    def help_late() -> None:
        store(invitation + sharing.THREADS + 8, threading.get_native_id())
        deadline = time.monotonic() + 10
        while waits and load(invitation + sharing.CORE) < 0 and time.monotonic() < deadline:
            time.sleep(1e-3)
        work_on(invitation, looks)

    store(invitation + sharing.DONE, 1)
    store(invitation + sharing.CORE, -1)
    helper = threading.Thread(target=help_late)
    helper.start()
    while load(invitation + sharing.THREADS + 8) == 0:
        time.sleep(1e-3)
    start = time.thread_time()
    fetched = wait_for_one(invitation, number)
    looked = (time.thread_time() - start) / helpers._look_seconds()
    helper.join()
    assert load(invitation + sharing.DONE) == 1
    return bool(fetched), looked


@linux
def test_a_caller_fetches_a_helper_that_does_not_get_on() -> None:
    assert all(fetched_late(number, 1, waits=True)[0] for number in range(20))


@linux
@pytest.mark.skipif(cores.count() == 1, reason="on one core, who works waits for the caller")
def test_a_caller_fetches_no_helper_that_works() -> None:
    """In some round nobody disturbs it: by time alone it would be fetched in each, after two times 1000 looks."""
    rounds = (fetched_late(number, 10_000, waits=False) for number in range(1000))
    assert any(not fetched and looked > 4000 for fetched, looked in rounds)


@numba.njit
def next_taken(*arguments):  # type: ignore[no-untyped-def]
    return sharing.next_taken(*arguments)


def test_the_places_that_threads_are_in_are_seen_in_turn() -> None:
    words = np.zeros(sharing.INVITATION_BYTES // 8, np.int64)
    for place in (3, 4, 6):
        words[sharing.THREADS // 8 + place] = 99
    seen, place = [], 7
    for _ in range(5):
        place = next_taken(words.ctypes.data, 3, 7, place)
        seen.append(place)
    assert seen == [3, 4, 6, 3, 4]
    assert next_taken(words.ctypes.data, 5, 5, 5) == 0


# -- cores ------------------------------------------------------------------------------------------


@linux
def test_a_thread_leaves_a_core_and_may_come_back() -> None:
    current, leave = cores._current, cores.leave

    @numba.njit
    def left(core):  # type: ignore[no-untyped-def]
        if core < 0:
            core = np.int64(current())
        leave(core)
        return core != current()

    allowed = os.sched_getaffinity(0)
    moves = []
    for _ in range(20):
        moves.append(left(-1))
        assert os.sched_getaffinity(0) == allowed
    assert any(moves) == (len(allowed) > 1)


@linux
def test_a_thread_is_fetched_and_may_leave_again() -> None:
    """It waits for the core that the caller was on, or has run there if the caller is on another one by then."""
    current, fetch = cores._current, cores.fetch

    @numba.njit
    def fetched(thread):  # type: ignore[no-untyped-def]
        core = current()
        fetch(thread)
        return core

    def core_of(thread: int) -> int:
        return int(Path(f"/proc/self/task/{thread}/stat").read_text().rsplit(")", 1)[1].split()[36])

    @numba.njit(nogil=True)
    def spin(stop, looks):  # type: ignore[no-untyped-def]
        while load(stop) == 0:
            looks[current()] += 1

    stop, looks = np.ones(1, np.int64), np.zeros(max(os.sched_getaffinity(0)) + 1, np.int64)
    spin(stop.ctypes.data, looks)  # compiles
    stop[0] = 0
    other = threading.Thread(target=spin, args=(stop.ctypes.data, looks))
    other.start()
    try:
        thread = other.native_id
        assert thread is not None
        allowed = os.sched_getaffinity(thread)
        moves = []
        for place in sorted(allowed) * 25:
            os.sched_setaffinity(thread, {place})
            os.sched_setaffinity(thread, allowed)
            before = looks.copy()
            core = fetched(thread)
            came = looks[core] > before[core] or core_of(thread) == core
            moves.append(core != place and came)
            assert os.sched_getaffinity(thread) == allowed
        assert sum(moves) > 5 or len(allowed) == 1  # of about 25; by chance 1
    finally:
        stop[0] = 1
        other.join()
    assert fetched(2**22 + 1) >= 0  # one that has ended


# -- processes --------------------------------------------------------------------------------------

PARALLEL = f"{min(machine.threads(), 2)} thread{'s' * (machine.threads() > 1)}"


@linux
@pytest.mark.parametrize("name", ["fork_before_use", "fork_after_use", "fork_of_fork", "fork_after_openmp"])
def test_a_child_has_helpers_of_its_own(run_python: RunPython, name: str) -> None:
    child = run_python(str(STRESS / "start_methods.py"), "--situation", name)
    assert (child.returncode, child.stdout) == (0, PARALLEL + "\n"), child.stderr


@pytest.mark.parametrize("name", ["in_threads", "nested", "beside_another_library", "daemon_at_exit", "atexit_handler"])
def test_no_situation_ends_the_process(run_python: RunPython, name: str) -> None:
    child = run_python(str(STRESS / "start_methods.py"), "--situation", name, NUMBA_THREADING_LAYER="omp")
    assert child.returncode == 0, child.stderr
    assert child.stdout in ("1 thread\n", "2 threads\n")


def test_calls_after_the_helpers_have_ended_do_without(run_python: RunPython) -> None:
    code = """
import atexit
def last():
    print((fastconv1d.conv1d(x, w, algorithm="direct") == 192).all(), fastconv1d.helpers._helpers)
atexit.register(last)
import numpy as np, fastconv1d, fastconv1d.helpers
x, w = np.ones((1, 64, 20_000), np.float32), np.ones((64, 64, 3), np.float32)
fastconv1d.machine.threads = lambda: 2
fastconv1d.conv1d(x, w, algorithm="direct")
"""
    child = run_python("-W", "error", "-c", code)
    assert (child.stdout, child.stderr) == ("True []\n", "")


def test_many_threads_at_once(run_python: RunPython) -> None:
    child = run_python(str(STRESS / "threads.py"), "--calls", "10000")
    assert child.returncode == 0, child.stdout + child.stderr
    assert child.stdout.startswith("8 threads, 10,000 calls")
    assert ("on 2" in child.stdout) == (machine.threads() > 1)


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
def test_slices_cover_a_call_and_are_no_shorter_than_its_workers(fresh: pytest.MonkeyPatch, algorithm: str) -> None:
    chosen = plan.plan_for(explain((1, 1280, 3000), (1280, 1280, 3)).problem, algorithm, True)
    slices: list[tuple[int, int]] = []
    now = 0.0

    def record(*arguments: Any) -> None:
        nonlocal now
        first, last, workers, *_ = arguments[-5:]
        slices.append((first, last))
        assert workers == 2
        now += 0.3 * tuning.SLICE_SECONDS * (last - first)  # so that three items would fill a slice

    fresh.setitem(chosen.__dict__, "compute", record)
    fresh.setattr(plan, "perf_counter", lambda: now)
    fresh.setattr(tuning, "SLICE_SECONDS", chosen.seconds / 100)
    none = np.empty((1, 1, 1), np.float32)
    chosen.run(none, (none, none), none)
    assert len(slices) > 1
    assert [first for first, _ in slices] == [0, *(last for _, last in slices[:-1])]
    assert slices[-1][1] == chosen.items
    assert all((last - first) % 2 == 0 for first, last in slices[:-1])


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


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("times", [0, 1, 2])
def test_ctrl_c_waits_for_machine_code_unless_it_comes_twice(times: int) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
    done, interrupted = 0, False
    try:
        with compile._late_interrupts():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
                done += 1
            done = times
    except KeyboardInterrupt:
        interrupted = True
    finally:
        assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert interrupted == (times > 0)
    assert done == min(times, 1)


def test_ctrl_c_is_let_alone_in_other_threads() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def look() -> None:
        with compile._late_interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]
