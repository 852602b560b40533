"""Nothing is read or written outside of the arrays: each lies against an inaccessible page, first at its end, then at
its start, and the memory around out keeps its bytes.

A touch of such a page kills the process, so the cases run in a child, which names the case that it died in:

    python tests/test_guard_pages.py float32
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import mmap
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import RunPython
from problems import (
    CHANNEL_EDGES,
    LAYOUTS,
    WIDE_CHANNELS,
    assert_exact,
    assert_within_units_of_the_row,
    in_layout,
    small_integers,
)

from fastconv1d import conv1d, machine
from fastconv1d.plan import ALGORITHMS
from fastconv1d.problem import describe

PAGE = mmap.PAGESIZE
CANARY = 0xA5

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="guard pages are made with mprotect")


def guarded(shape: tuple[int, ...], dtype: str, side: str) -> tuple[Any, Any]:
    """Return an array that ends (or starts) at an inaccessible page, and the accessible bytes around it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    body = -(-max(size, 1) // PAGE) * PAGE
    pages = mmap.mmap(-1, body + 2 * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    for guard in (base, base + PAGE + body):
        if libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    memory = np.frombuffer(pages, np.uint8, body, PAGE)
    memory[:] = CANARY
    start = body - size if side == "end" else 0
    return memory[start : start + size].view(dtype).reshape(shape), memory


def place(values: Any, side: str) -> Any:
    array, _ = guarded(values.shape, values.dtype.name, side)
    array[...] = values
    return array


# C_in, C_out, L, K, and the options of the call
Case = tuple[int, int, int, int, dict[str, Any]]


def cases(dtype: str) -> Iterator[Case]:
    """Every length from 0 to two tiles, every number of channels around the panel, and what packing makes of them."""
    tile = 8 * machine.lanes(np.dtype(dtype))  # none is longer than 8 vectors
    for L in range(2 * tile + 1):
        yield 2, 5, L, 3, {"padding": 1 if L else 2}
        yield 3, 3, L, 4, {"groups": 3, "padding": "causal" if L else (3, 1)}
        yield 2, 3, L + 3, 3, {}
        yield 3, 6, L + 4, 4, {"groups": 3}
    for C, L in itertools.product(CHANNEL_EDGES, (1, 7, 16, 19, 65)):
        yield C, 3, L + 1, 2, {}
        yield 3, C, L, 1, {}
        yield 2 * C, 2 * C, L, 3, {"padding": 1, "groups": 2}
        yield C, C, L + 2, 3, {"groups": C}
        yield C, 2 * C, L, 3, {"groups": C, "padding": "same"}
    for C, L in itertools.product(WIDE_CHANNELS, (1, 2, 5)):
        yield 2, C, L, 1, {}
        yield C, C, L, 1, {"groups": C}
    for L in (1, 8, 24, 25, 65):  # blocks in panels
        yield 17, 256, L, 1, {}
    for stride, dilation, L in itertools.product((1, 2, 3, 4), (1, 2, 3), (1, 8, 31, 64, 100)):
        options = {"stride": stride, "dilation": dilation}
        yield 3, 5, L * stride + 3 * dilation, 4, options
        yield 9, 9, L * stride + 3 * dilation, 4, options | {"groups": 9}
    for mode, L in itertools.product(("reflect", "replicate", "circular", "symmetric"), (1, 5, 40)):
        yield 3, 5, L, 3, {"padding": (7, 9), "padding_mode": mode}
        yield 3, 3, L, 3, {"padding": (7, 9), "padding_mode": mode, "groups": 3}


def walk(dtype: str) -> None:
    """Solve every case with every algorithm that accepts it, and say before each what it is."""
    rng = np.random.default_rng(0)
    for layout, case in itertools.product(LAYOUTS, cases(dtype)):
        C_in, C_out, L, K, options = case
        w_shape = (C_out, C_in // options.get("groups", 1), K)
        x, w = in_layout(layout, small_integers(rng, (2, C_in, L), dtype), small_integers(rng, w_shape, dtype))
        arrays = {"x": x, "w": w, "bias": small_integers(rng, (C_out,), dtype)}
        described = describe(x.shape, x.dtype, w.shape, w.dtype, data_format=layout, **options)
        accepted = [algorithm for algorithm in ALGORITHMS if algorithm.refuse(described) is None]
        for side in ("end", "start"):
            problem = {name: place(values, side) for name, values in arrays.items()}
            problem |= {"data_format": layout, **options}
            for algorithm in accepted:
                print(algorithm.name, dtype, layout, side, case, flush=True)
                out, memory = guarded(described.out_shape, dtype, side)
                out[...] = np.nan
                conv1d(**problem, algorithm=algorithm.name, out=out)
                if algorithm.units is None:
                    assert_exact(out, **problem)
                else:
                    assert_within_units_of_the_row(out, **problem, units=algorithm.units)
                around = memory[: memory.size - out.nbytes] if side == "end" else memory[out.nbytes :]
                np.testing.assert_array_equal(around, CANARY)
    print("all done")


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.generic), "float64"])
def test_no_byte_outside_of_the_arrays_is_touched(run_python: RunPython, dtype: str) -> None:
    # Where malloc is glibc's, fresh memory of the kernels holds huge numbers, which no result may show.
    child = run_python(__file__, dtype, GLIBC_TUNABLES="glibc.malloc.perturb=1:glibc.malloc.tcache_count=0")
    *_, last = child.stdout.splitlines() or [""]
    assert (last, child.returncode) == ("all done", 0), child.stderr
    for algorithm, layout in itertools.product(ALGORITHMS, LAYOUTS):
        assert child.stdout.count(f"{algorithm.name} {dtype} {layout}") > 500


@pytest.mark.parametrize(("side", "index"), [("end", 8), ("start", -1)])
def test_one_element_too_far_is_fatal(run_python: RunPython, side: str, index: int) -> None:
    """The guard itself: reading one float before or after an array of 8 kills, reading inside does not."""
    read = (
        "import ctypes, test_guard_pages as t; a, _ = t.guarded((8,), 'float32', '{}');"
        "print('read', ctypes.c_float.from_address(a.ctypes.data + 4 * {}).value)"
    )
    assert run_python("-c", read.format(side, 7 if side == "end" else 0)).stdout.startswith("read")
    child = run_python("-c", read.format(side, index))
    assert child.returncode != 0
    assert "read" not in child.stdout


if __name__ == "__main__":
    faulthandler.enable()
    walk(*sys.argv[1:])
