"""Large results stand where earlier ones were; nobody who still looks at those may notice."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import RunPython
from problems import LAYOUTS, assert_exact, assert_within_units_of_the_row, in_layout, small_integers

from fastconv1d import Conv1d, conv1d, explain, functional, memory, plan, tuning


@pytest.fixture
def x(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """An input whose result counts as large."""
    monkeypatch.setattr(tuning, "LARGE_RESULT_BYTES", 2**16)
    memory._dropped.clear()
    return np.random.default_rng(0).standard_normal((3, 2**14)).astype(np.float32)


def test_the_memory_of_a_dropped_result_is_used_again(x: np.ndarray) -> None:
    if not memory._SUPPORTED:
        pytest.skip("the system can't take marked pages back")
    first = conv1d(x, np.ones(3, np.float32))
    address = first.ctypes.data
    del first
    gc.collect()
    assert conv1d(x, np.ones(3, np.float32)).ctypes.data == address


def test_a_view_keeps_its_result(x: np.ndarray) -> None:
    y = conv1d(x, np.ones(3, np.float32))
    view, copy = y[1, 5:100:3], y[1, 5:100:3].copy()
    del y
    gc.collect()
    conv1d(2 * x, np.ones(3, np.float32))
    np.testing.assert_array_equal(view, copy)


def test_a_much_smaller_result_leaves_the_memory_alone(x: np.ndarray) -> None:
    del_me = conv1d(np.tile(x, 4), np.ones(3, np.float32))
    address = del_me.ctypes.data
    del del_me
    gc.collect()
    assert conv1d(x, np.ones(3, np.float32)).ctypes.data != address


@pytest.mark.parametrize(("room", "kept"), [(2.5, 2), (0.5, 1)])
def test_dropped_results_are_kept_up_to_a_size(
    monkeypatch: pytest.MonkeyPatch, x: np.ndarray, room: float, kept: int
) -> None:
    """And one that is larger by itself."""
    results = [conv1d(x, np.ones(3, np.float32)) for _ in range(4)]
    monkeypatch.setattr(tuning, "KEPT_RESULT_BYTES", int(room * results[0].nbytes))
    last = results[-1].ctypes.data
    while results:
        del results[0]
    gc.collect()
    assert len(memory._dropped) == (kept if memory._SUPPORTED else 0)
    if memory._SUPPORTED:
        assert conv1d(x, np.ones(3, np.float32)).ctypes.data == last


def test_dropped_results_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch, x: np.ndarray) -> None:
    monkeypatch.setattr(tuning, "KEPT_RESULTS", 2)
    results = [conv1d(x, np.ones(3, np.float32)) for _ in range(4)]
    while results:
        del results[0]
    gc.collect()
    assert len(memory._dropped) == (2 if memory._SUPPORTED else 0)


def test_a_view_of_what_a_result_is_made_of_drops_nothing(x: np.ndarray) -> None:
    if not memory._SUPPORTED:
        pytest.skip("results are made of what NumPy gives")
    y = conv1d(x, np.ones(3, np.float32))
    assert isinstance(y.base, np.ndarray)
    lent = y.base.base
    assert isinstance(lent, memory._Lent)
    view = lent[:5]
    assert type(view) is memory._Lent
    del view
    gc.collect()
    assert memory._dropped == []


def test_what_another_finaliser_holds_is_not_dropped(x: np.ndarray) -> None:
    """The collector calls the finalisers of all that it finds, and one of them may keep what it has."""
    kept = []

    class Holder:
        def __init__(self, value: np.ndarray | None):
            self.value, self.itself = value, self

        def __del__(self) -> None:
            kept.append(self.value)

    Holder(conv1d(x, np.ones(3, np.float32)).base)
    gc.collect()
    assert len(kept) == 1
    assert memory._dropped == []


KEPT_UNTIL_THE_END = """
import os
import numpy as np
from fastconv1d import conv1d
os.keep = conv1d(np.ones((1, 1, 60_000), np.float32), np.ones((1, 1, 1), np.float32))[0]
"""


def test_a_result_that_outlives_the_interpreter_is_silent(run_python: RunPython) -> None:
    child = run_python("-W", "error", "-c", KEPT_UNTIL_THE_END)
    assert (child.returncode, child.stderr) == (0, "")


def test_where_there_are_no_pages_numpy_finds_memory(monkeypatch: pytest.MonkeyPatch, x: np.ndarray) -> None:
    """Linux gives a process 65,530 of the maps that the pages are; here it gives none."""

    def no_maps(*_: object, **__: object) -> None:
        raise OSError("no maps")

    expected = conv1d(x, np.ones(3, np.float32)).copy()
    memory._dropped.clear()
    monkeypatch.setattr(memory.mmap, "mmap", no_maps)
    np.testing.assert_array_equal(conv1d(x, np.ones(3, np.float32)), expected)


def test_a_small_dropped_result_leaves_a_large_one(monkeypatch: pytest.MonkeyPatch, x: np.ndarray) -> None:
    large, small = np.tile(x, 4), x
    results = [conv1d(value, np.ones(3, np.float32)) for value in (large, small)]
    address = results[0].ctypes.data
    monkeypatch.setattr(tuning, "KEPT_RESULT_BYTES", results[1].nbytes + 1)  # the large one is marked as free
    while results:
        del results[0]
        gc.collect()
    assert conv1d(large, np.ones(3, np.float32)).ctypes.data == address


def test_a_large_result_is_an_ordinary_array(x: np.ndarray) -> None:
    y = conv1d(x, np.ones(3, np.float32))
    assert type(y) is np.ndarray
    assert y.flags.writeable
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(y)), y)
    y[:] = 0


def test_threads_do_not_share_results(x: np.ndarray) -> None:
    wrong = []

    def work(factor: int) -> None:
        want = conv1d(factor * x, np.ones(3, np.float32)).copy()
        for _ in range(50):
            if not np.array_equal(conv1d(factor * x, np.ones(3, np.float32)), want):
                wrong.append(factor)

    threads = [threading.Thread(target=work, args=(factor,)) for factor in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_memory_is_an_error_that_tells_how_much() -> None:
    with pytest.raises(MemoryError, match=r"4\.00 TiB"):
        conv1d(np.broadcast_to(np.float32(0), (1, 2**40)), np.ones(3, np.float32))


def test_an_absurd_result_is_an_error_that_tells_how_much() -> None:
    with pytest.raises(MemoryError, match=r"909\. TiB"):
        conv1d(np.broadcast_to(0.0, (125, 10**12)), np.ones(1))


# -- scratch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("C_in_g", "groups"), [(1, 32), (4, 1)])
def test_taps_far_apart_need_little_memory(layout: str, C_in_g: int, groups: int) -> None:
    x, w = ((1, C_in_g * groups, 10**7), (32, C_in_g, 10_000))
    if layout == "NWC":
        x, w = ((x[0], x[2], x[1]), w[::-1])
    assert explain(x, w, dilation=900, groups=groups, data_format=layout).scratch_bytes < 64 * 2**20


@pytest.mark.parametrize(
    ("algorithm", "layout", "x", "w", "options"),
    [
        ("direct", "NWC", (1, 256, 4000), (2049, 256, 15), {}),
        ("direct", "NCW", (1, 256, 250), (52032, 4, 25), {"groups": 64, "stride": 2}),
        ("winograd", "NWC", (1, 2, 400000), (33, 2, 2), {}),
        ("winograd", "NWC", (1, 4, 196608), (768, 4, 15), {}),
    ],
)
def test_outputs_that_wait_to_be_turned_are_few(
    algorithm: str, layout: str, x: tuple[int, ...], w: tuple[int, ...], options: dict[str, int]
) -> None:
    x, w = (x, w) if layout == "NCW" else ((x[0], x[2], x[1]), w[::-1])
    arguments = np.broadcast_to(0.0, x), np.broadcast_to(0.0, w)
    assert explain(*arguments, **options, data_format=layout, algorithm=algorithm).scratch_bytes < 8 * 2**20
    layer = Conv1d(arguments[1], **options, data_format=layout, algorithm=algorithm)
    assert layer.explain(arguments[0]).scratch_bytes < 8 * 2**20


def test_winograd_refuses_taps_that_are_too_far_apart() -> None:
    explanation = explain((1, 302, 64703), (527, 302, 108), dilation=500)
    assert "samples of the least block" in explanation.refusals["winograd"]


UNITS = {a.name: a.units for a in plan.ALGORITHMS}


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packed blocks of the size that taps far apart have."""
    monkeypatch.setattr(tuning, "LARGEST_PACKED_BYTES", 2000)
    for cache in (functional._looked_up_call, plan.plan_for):
        cache.cache_clear()
    yield
    for cache in (functional._looked_up_call, plan.plan_for):
        cache.cache_clear()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("algorithm", [a.name for a in plan.ALGORITHMS])
def test_blocks_that_were_cut_for_memory(
    tiny_blocks: None, rng: np.random.Generator, layout: str, groups: int, algorithm: str
) -> None:
    x = small_integers(rng, (2, 4, 700), "float32")
    x, w = in_layout(layout, x, small_integers(rng, (12, 4 // groups, 9), "float32"))
    for stride, dilation in ((1, 1), (1, 70), (2, 33), (3, 2)):
        options = {"stride": stride, "dilation": dilation, "groups": groups, "data_format": layout, "padding": 7}
        if algorithm not in explain(x, w, **options).refusals:
            y, units = conv1d(x, w, **options, algorithm=algorithm), UNITS[algorithm]
            if units is None:
                assert_exact(y, x, w, **options)
            else:
                assert_within_units_of_the_row(y, x, w, units=units, **options)


NO_MEMORY = """
import resource, sys
import numpy as np
from fastconv1d import conv1d, explain, tuning
if sys.argv[1] == "serial":
    tuning.PARALLEL_SECONDS = np.inf
else:
    tuning.PARALLEL_SECONDS = tuning.WAKING_SECONDS = 1e-9
options = dict(groups=32, dilation=900, data_format="NWC", algorithm="depthwise")
x, w = np.ones((1, 2_250_200, 32), np.float32), np.ones((2500, 1, 32), np.float32)
out = np.empty((1, 2_250_200 - 2499 * 900, 32), np.float32)
conv1d(x[:, :20_000], w[:17], **options)  # compiles, and starts the threads
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**20 * 8, resource.RLIM_INFINITY))
try:
    conv1d(x, w, **options, out=out)
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
conv1d(x, w, **options, out=out)
print(explain(x, w, **options).scratch_bytes, (out == 2500).all())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system for its limits")
@pytest.mark.parametrize("threads", ["serial", "parallel"])
def test_no_memory_for_a_block_is_an_error_too(run_python: RunPython, threads: str) -> None:
    child = run_python("-c", NO_MEMORY, threads)
    assert child.returncode == 0, child.stderr
    message, last = child.stdout.splitlines()
    scratch, right = last.split()
    assert right == "True"
    assert message == f"no memory for {int(scratch):,} bytes a thread beside the result"


# -- leaks ------------------------------------------------------------------------------------------


def test_nothing_leaks(run_python: RunPython) -> None:
    child = run_python(str(Path(__file__).parent / "stress" / "memory.py"), "--calls", "10000")
    assert child.returncode == 0, child.stdout + child.stderr
