"""The same bits, however the work is cut, wherever the arrays lie, and whatever else is in the batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest
from problems import LAYOUTS, MEMORY, in_layout, normal

from fastconv1d import conv1d, helpers, machine, plan, tuning
from fastconv1d.plan import ALGORITHMS
from fastconv1d.problem import describe

# N, C_in, L, C_out, K, and the options: more than one block, and tails of everything
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "dense": ((3, 37, 1111, 29, 5), {"padding": "same"}),
    "deep": ((2, 700, 61, 21, 3), {}),
    "pointwise": ((3, 65, 1003, 18, 1), {"activation": "gelu"}),
    "pointwise,panels": ((2, 40, 1003, 260, 1), {}),
    "strided": ((3, 11, 2017, 23, 7), {"stride": 3, "padding": (4, 1)}),
    "dilated": ((3, 11, 1301, 9, 3), {"dilation": 17, "padding": "causal"}),
    "strided,dilated,groups": ((2, 12, 1501, 18, 4), {"stride": 2, "dilation": 3, "groups": 3, "padding": 5}),
    "reflected": ((2, 5, 1201, 7, 4), {"padding": 40, "padding_mode": "reflect"}),
    "long kernel": ((2, 3, 2001, 5, 301), {"padding": "same"}),
    "one channel": ((3, 1, 5003, 1, 9), {"padding": "full"}),
    "depthwise": ((3, 35, 1303, 35, 4), {"groups": 35, "padding": "causal", "activation": "silu"}),
    "depthwise,multiplier": ((2, 17, 901, 51, 3), {"groups": 17, "stride": 2}),
    "depthwise,dilated": ((2, 21, 1303, 21, 5), {"groups": 21, "dilation": 9, "padding": "same"}),
}
DTYPES = ("float32", "float64", "complex64")

#: An output has the same bits wherever in x its window stands.  Those that transform blocks are not among them.
ANYWHERE = ("depthwise", "direct", "scalar")


def arguments(case: str, dtype: str, layout: str, **changes: Any) -> dict[str, Any]:
    """Return the arguments of conv1d; bias included."""
    (N, C_in, L, C_out, K), options = CASES[case]
    options = options | changes
    rng = np.random.default_rng(len(case))
    if np.dtype(dtype).kind == "c":
        options = {name: value for name, value in options.items() if name != "activation"}
    x, w = normal(rng, (N, C_in, L), dtype), normal(rng, (C_out, C_in // options.get("groups", 1), K), dtype)
    x, w = in_layout(layout, x, w)
    return {"x": x, "w": w, "bias": normal(rng, (C_out,), dtype), "data_format": layout, **options}


def plan_of(problem: dict[str, Any], algorithm: str) -> plan.Plan:
    options = {name: value for name, value in problem.items() if name not in ("x", "w", "bias")}
    x, w, bias = problem["x"], problem["w"], problem["bias"]
    return plan.plan_for(
        describe(x.shape, x.dtype, w.shape, w.dtype, bias.shape, bias.dtype, **options), algorithm, False
    )


def accepted(names: tuple[str, ...], layouts: tuple[str, ...] = LAYOUTS) -> Iterator[Any]:
    """Yield each (algorithm, case, layout, dtype) that the algorithm accepts; one dtype is enough for plain loops."""
    for case, layout, dtype in itertools.product(CASES, layouts, DTYPES):
        problem = plan_of(arguments(case, dtype, layout), "scalar").problem
        for algorithm in ALGORITHMS:
            if algorithm.name in names and algorithm.refuse(problem) is None:
                if (algorithm.name == "scalar") == (dtype == "complex64"):
                    call = f"{algorithm.name}-{case}-{layout}-{dtype}"
                    yield pytest.param(algorithm.name, case, layout, dtype, id=call)


PARAMETERS = ("algorithm", "case", "layout", "dtype")
every_problem = pytest.mark.parametrize(PARAMETERS, list(accepted(tuple(a.name for a in ALGORITHMS))))


def assert_same_bits(y: Any, expected: Any) -> None:
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected, strict=True)
    assert np.ascontiguousarray(y).tobytes() == np.ascontiguousarray(expected).tobytes()  # the sign of a zero too


@every_problem
def test_any_slices_by_any_team(algorithm: str, case: str, layout: str, dtype: str) -> None:
    """In one slice or several, which are made in any order."""
    problem = arguments(case, dtype, layout)
    expected = conv1d(**problem, algorithm=algorithm)
    chosen = plan_of(problem, algorithm)
    x, w, result = problem["x"], problem["w"], np.empty_like(expected)
    if layout == "NWC":
        x, w, y = x.transpose(0, 2, 1), w.transpose(2, 1, 0), result.transpose(0, 2, 1)
    else:
        y = result
    prepared, items = chosen.prepare_weights(w), chosen.items * len(x)
    for workers, cuts in itertools.product((1, 2, 5), ([0, items], sorted({0, items // 3, items // 2, items}))):
        result[...] = np.nan
        for first, last in reversed(list(itertools.pairwise(cuts))):
            helpers.summon(min(workers - 1, 1))  # those that do not come are places that nobody takes
            chosen.compute(x, prepared, problem["bias"], y, chosen.geometry, first, last, workers, True, 1000)
        assert_same_bits(result, expected)


@every_problem
def test_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, algorithm: str, case: str, layout: str, dtype: str
) -> None:
    """Through the front door, in one slice and in many."""
    problem = arguments(case, dtype, layout) | {"algorithm": algorithm}
    monkeypatch.setattr(tuning, "PARALLEL_SECONDS", np.inf)
    expected = conv1d(**problem)
    monkeypatch.setattr(tuning, "PARALLEL_SECONDS", 1e-9)
    monkeypatch.setattr(tuning, "WAKING_SECONDS", 1e-9)
    for threads, seconds in itertools.product({1, machine.threads()}, (1, 1e-5)):
        monkeypatch.setattr(tuning, "SLICE_SECONDS", seconds)
        before = numba.get_num_threads()
        try:
            numba.set_num_threads(threads)
            assert_same_bits(conv1d(**problem), expected)
            assert numba.get_num_threads() == threads
        finally:
            numba.set_num_threads(before)


@every_problem
def test_any_slice_of_the_batch(algorithm: str, case: str, layout: str, dtype: str) -> None:
    problem = arguments(case, dtype, layout) | {"algorithm": algorithm}
    expected = conv1d(**problem)
    N = len(problem["x"])
    for start, end in itertools.combinations(range(N + 1), 2):
        assert_same_bits(conv1d(**problem | {"x": problem["x"][start:end]}), expected[start:end])
    assert_same_bits(conv1d(**problem | {"x": problem["x"][0]}), expected[0])
    assert_same_bits(conv1d(**problem | {"x": problem["x"][::-1]}), expected[::-1])


@pytest.mark.parametrize(PARAMETERS, list(accepted(ANYWHERE)))
def test_any_place_in_a_longer_array(algorithm: str, case: str, layout: str, dtype: str) -> None:
    problem = arguments(case, dtype, layout, padding=0, padding_mode="zeros") | {"algorithm": algorithm}
    expected = conv1d(**problem)
    time, stride = (2 if layout == "NCW" else 1), problem.get("stride", 1)
    for start in (1, 2, 3, 5, 16, 17, expected.shape[time] - 2):
        window = np.s_[..., start * stride :] if layout == "NCW" else np.s_[:, start * stride :]
        moved = np.s_[..., start:] if layout == "NCW" else np.s_[:, start:]
        assert_same_bits(conv1d(**problem | {"x": problem["x"][window]}), expected[moved])


@every_problem
def test_any_memory(algorithm: str, case: str, layout: str, dtype: str) -> None:
    """Any strides and alignment of what comes in and of out."""
    problem = arguments(case, dtype, layout) | {"algorithm": algorithm}
    expected = conv1d(**problem)
    for way, place in MEMORY.items():
        arrays = {name: place(problem[name]) for name in ("x", "w", "bias")}
        assert_same_bits(np.asarray(conv1d(**problem | arrays)), expected)
        if way not in ("read-only", "byte-swapped"):
            out = place(np.full_like(expected, np.nan))
            conv1d(**problem, out=out)
            assert_same_bits(np.array(out, order="C"), expected)


@pytest.mark.parametrize(PARAMETERS, list(accepted(ANYWHERE, ("NWC",))))
def test_either_layout(algorithm: str, case: str, layout: str, dtype: str) -> None:
    """A view with the axes exchanged is no other problem than the array that it is a view of."""
    problem = arguments(case, dtype, layout) | {"algorithm": algorithm}
    transposed = {"x": problem["x"].transpose(0, 2, 1), "w": problem["w"].transpose(2, 1, 0), "data_format": "NCW"}
    assert_same_bits(conv1d(**problem | transposed), conv1d(**problem).transpose(0, 2, 1))
