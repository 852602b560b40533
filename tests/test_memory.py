"""Large results stand where earlier ones were; nobody who still looks at those may notice."""

from __future__ import annotations

import gc
import pickle
import threading

import numpy as np
import pytest

from fastconv1d import conv1d, memory, tuning


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
    with pytest.raises(MemoryError, match=r"4,398,046,511,096 bytes|4\.00 TiB"):
        conv1d(np.broadcast_to(np.float32(0), (1, 2**40)), np.ones(3, np.float32))
