"""Each algorithm of the list on every problem of a table that it accepts, and the promises about its bits.

An algorithm that is in the list is tested here without being named; one that is not does not exist.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest
from conftest import RunPython
from numpy.lib.stride_tricks import sliding_window_view
from problems import (
    ACTIVATIONS,
    CHANNEL_EDGES,
    EDGES,
    FLOATS,
    LAYOUTS,
    MEMORY,
    PADDING_MODES,
    PADDING_NAMES,
    WIDE_CHANNELS,
    any_integers,
    assert_exact,
    assert_within_bound,
    assert_within_units_of_the_row,
    in_layout,
    normal,
    positive,
    row_magnitude,
    small_integers,
)

from fastconv1d import Conv1d, conv1d, explain, functional, machine, plan, tuning
from fastconv1d.algorithms import depthwise, direct, winograd
from fastconv1d.call import Call
from fastconv1d.geometry import cheaper_lanes, parts_for, slots_for
from fastconv1d.plan import ALGORITHMS, Plan
from fastconv1d.problem import Conv1dProblem, describe
from fastconv1d.simd.tiles import CHANNELS, PAIRED_CHANNELS, STEPS_TOGETHER, TIMES

# -- the table --------------------------------------------------------------------------------------

Case = dict[str, Any]


def case(C_in: int, C_out: int, L: int, K: int, *, N: int = 2, groups: int = 1, **options: Any) -> Case:
    return {"sizes": (N, C_in, C_out, L, K), "groups": groups, **options}


def edge(n: int) -> str:
    """Name n as the tail that it leaves in a tile: 31 is 32-1."""
    return next((f"{base}{n - base:+d}" for base in (n - 1, n + 1) if base % 8 == 0 and n > 9), str(n))


def lengths() -> dict[str, Case]:
    cases = {}
    for n in (*range(1, 10), *EDGES[3:]):
        cases[f"L_out={edge(n)}"] = case(2, 5, n, 3, padding=1)
        cases[f"L_out={edge(n)},depthwise"] = case(3, 3, n, 4, groups=3, padding="causal")
    return cases


def channels() -> dict[str, Case]:
    cases = {}
    for c in CHANNEL_EDGES:
        cases[f"C_out={edge(c)}"] = case(3, c, 19, 3)
        cases[f"C_in={edge(c)}"] = case(c, 4, 19, 2)
        cases[f"C_out_g={edge(c)},groups=3"] = case(6, 3 * c, 18, 3, groups=3)
        for multiplier in (1, 2, 3):
            cases[f"C_in={edge(c)},depthwise_x{multiplier}"] = case(c, multiplier * c, 37, 4, groups=c)
    for c, n in itertools.product(WIDE_CHANNELS, (1, 5)):
        cases[f"C_out={c},L_out={n}"] = case(2, c, n + 1, 2, N=1)
        cases[f"C_in={c},L_out={n},depthwise"] = case(c, c, n + 2, 3, N=1, groups=c)
    return cases


def strides() -> dict[str, Case]:
    cases = {}
    for stride, n in itertools.product((2, 3, 4), (1, 2, 7, 8, 9, 16, 17, 33, 65)):
        cases[f"stride={stride},L_out={edge(n)}"] = case(3, 5, (n - 1) * stride + 3, 3, stride=stride)
    for stride, dilation in itertools.product((1, 2, 3, 4), (1, 2, 3, 4, 6)):
        options = {"stride": stride, "dilation": dilation}
        cases[f"stride={stride},dilation={dilation}"] = case(3, 4, 100, 5, **options)
        cases[f"stride={stride},dilation={dilation},depthwise"] = case(9, 9, 100, 5, groups=9, **options)
        cases[f"stride={stride},dilation={dilation},groups=2"] = case(
            4, 10, 101, 4, groups=2, padding=(3, 8), **options
        )
    cases["stride>L"] = case(2, 3, 5, 2, stride=50)
    cases["stride>K"] = case(2, 3, 200, 2, stride=7)
    cases["dilation=100"] = case(2, 3, 450, 4, dilation=100)
    return cases


def long_kernels() -> dict[str, Case]:
    cases = {}
    for K in (16, 31, 100, 128, 255, 300, 1000):
        cases[f"K={K}"] = case(2, 3, K + 70, K, N=1)
        cases[f"K={K},depthwise"] = case(3, 3, K + 70, K, N=1, groups=3)
        cases[f"K={K},same"] = case(2, 3, 90, K, N=1, padding="same")
    for K, C in ((40, 32), (200, 16)):  # for transforms: channels in all lanes, in some, and several parts
        cases[f"K={K},wide"] = case(C + 1, C + 18, K + 90, K, padding="same")
        cases[f"K={K},wide,depthwise_x2"] = case(C + 1, 2 * C + 2, K + 90, K, groups=C + 1, padding="causal")
        cases[f"K={K},wide,groups,stride=3,dilation=2"] = case(
            C + 8, C + 16, 3 * K, K, groups=2, stride=3, dilation=2, padding=K
        )
    cases["K=9000"] = case(1, 1, 9300, 9000, N=1)
    cases["K=L"] = case(3, 4, 50, 50)
    cases["K=1"] = case(17, 9, 33, 1)
    cases["K=1,depthwise"] = case(17, 17, 33, 1, groups=17)
    return cases


def paddings() -> dict[str, Case]:
    cases = {}
    for name, stride, K in itertools.product(PADDING_NAMES, (1, 2, 3), (3, 4)):
        cases[f"padding={name},stride={stride},K={K}"] = case(3, 5, 22, K, padding=name, stride=stride, dilation=2)
    for pads in ((5, 0), (0, 5), (1, 9), (70, 3)):
        cases[f"padding={pads}"] = case(3, 5, 20, 3, padding=pads)
        cases[f"padding={pads},depthwise"] = case(3, 3, 20, 3, groups=3, padding=pads)
    for mode in PADDING_MODES:
        cases[f"{mode}"] = case(3, 5, 40, 4, padding=(6, 7), padding_mode=mode)
        cases[f"{mode},stride=3,dilation=2"] = case(
            3, 5, 40, 4, padding=(6, 7), padding_mode=mode, stride=3, dilation=2
        )
        cases[f"{mode},depthwise"] = case(9, 9, 40, 4, groups=9, padding=(6, 7), padding_mode=mode)
        cases[f"{mode},wider_than_x"] = case(2, 3, 4, 3, padding=(11, 17), padding_mode=mode)
        cases[f"{mode},wider_than_L=1"] = case(2, 3, 1, 3, padding=(4, 5), padding_mode=mode)
        cases[f"{mode},same"] = case(2, 3, 33, 5, padding="same", padding_mode=mode)
    cases["L=0"] = case(2, 3, 0, 3, padding=(4, 2))
    cases["L=0,depthwise"] = case(3, 3, 0, 3, groups=3, padding=(4, 2))
    cases["L=1,K_span>L"] = case(2, 3, 1, 5, padding="same", dilation=9)
    return cases


def blocks() -> dict[str, Case]:
    """More than one block of time, of C_in, of C_out, and work for more than one thread."""
    return {
        "N=0": case(2, 3, 9, 3, N=0),
        "N=1": case(2, 3, 9, 3, N=1),
        "N=7": case(2, 3, 9, 3, N=7),
        "long": case(2, 3, 20_011, 3, N=1, padding="same"),
        "long,strided": case(2, 3, 20_011, 5, N=1, stride=2, padding="causal"),
        "long,depthwise": case(4, 4, 20_011, 4, N=1, groups=4, padding="causal"),
        "long,reflect": case(2, 3, 20_011, 5, N=1, padding=600, padding_mode="reflect"),
        "wide": case(301, 70, 45, 3, N=1, padding=1),
        "deep": case(1500, 9, 30, 5, N=1),
        "wide,K=1": case(700, 33, 45, 1, N=1),
        "wide,C_out": case(3, 300, 45, 3, N=1, padding=1),
        "wide,depthwise": case(300, 300, 130, 4, N=1, groups=300, padding="causal"),
        "wide,groups": case(128, 96, 140, 3, groups=4, padding=1),
        "wide,groups=C_out": case(96, 24, 140, 3, groups=24, padding=1),
        "large": case(48, 56, 530, 3, N=4, padding=1),
        "panels": case(550, 258, 130, 1, N=1),
        "panels,strided": case(40, 256, 61, 2, N=1, stride=3, padding=3),
        "panels,groups": case(40, 514, 51, 1, N=1, groups=2),
    }


TABLE = lengths() | channels() | strides() | long_kernels() | paddings() | blocks()


def arrays(rng: np.random.Generator, make: Any, case: Case, dtype: str, layout: str) -> dict[str, Any]:
    """Return the arguments of conv1d for the case, bias included."""
    options = dict(case)
    N, C_in, C_out, L, K = options.pop("sizes")
    x = make(rng, (N, C_in, L), dtype)
    x, w = in_layout(layout, x, make(rng, (C_out, C_in // case["groups"], K), dtype))
    return {"x": x, "w": w, "bias": make(rng, (C_out,), dtype), "data_format": layout, **options}


UNITS = {algorithm.name: algorithm.units for algorithm in ALGORITHMS}


def assert_solved(y: Any, algorithm: str, **problem: Any) -> None:
    """Within what the algorithm promises: the bound of the direct sum, or its own."""
    units = UNITS[algorithm]
    if units is None:
        assert_within_bound(y, **problem)
    else:
        assert_within_units_of_the_row(y, **problem, units=units)


def assert_solved_exactly(y: Any, algorithm: str, **problem: Any) -> None:
    """The same for sums of small integers, which are exact where no transform rounds."""
    if UNITS[algorithm] is None:
        assert_exact(y, **problem)
    else:
        assert_solved(y, algorithm, **problem)


def describe_call(x: Any, w: Any, bias: Any, **options: Any) -> Conv1dProblem:
    return describe(x.shape, x.dtype, w.shape, w.dtype, bias.shape, bias.dtype, **options)


def problem_of(case: Case, dtype: str, layout: str) -> Conv1dProblem:
    return describe_call(**arrays(np.random.default_rng(0), small_integers, case, dtype, layout))


def accepted(dtypes: tuple[str, ...], table: dict[str, Case]) -> list[Any]:
    """Return each (algorithm, case, layout, dtype) that the algorithm accepts, marked for the passes that run it."""
    params = []
    for (name, case_), layout, dtype in itertools.product(table.items(), LAYOUTS, dtypes):
        problem = problem_of(case_, dtype, layout)
        for algorithm in ALGORITHMS:
            if algorithm.refuse(problem) is None:
                marks = [pytest.mark.generic] if dtype == "float32" and problem.flops < 1e6 else []
                marks += [pytest.mark.nojit] if algorithm.name == "scalar" and problem.flops < 1000 else []
                call = f"{algorithm.name}-{name}-{layout}-{dtype}"
                params.append(pytest.param(algorithm.name, case_, layout, dtype, id=call, marks=marks))
    return params


# Every tenth case is enough for the dtypes that one loop serves all alike.
SOME = dict(list(TABLE.items())[::10])
OTHER_DTYPES = ("float16", "complex64", "complex128", "int8", "int64", "uint16", "uint64")


# -- values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "case", "layout", "dtype"), accepted(FLOATS, TABLE) + accepted(OTHER_DTYPES, SOME)
)
def test_small_integers_are_exact(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    problem = arrays(rng, small_integers, case, dtype, layout)
    assert_solved_exactly(conv1d(**problem, algorithm=algorithm), algorithm, **problem)
    del problem["bias"]
    assert_solved_exactly(conv1d(**problem, algorithm=algorithm), algorithm, **problem)


@pytest.fixture
def new_plans() -> Iterator[None]:
    """Plans are made anew, and not kept."""
    for cache in (functional._looked_up_call, plan.plan_for):
        cache.cache_clear()
    yield
    for cache in (functional._looked_up_call, plan.plan_for):
        cache.cache_clear()


@pytest.fixture
def small_caches(monkeypatch: pytest.MonkeyPatch, new_plans: None) -> None:
    """A CPU whose caches hold next to nothing, so that there are many blocks, and what does not fit is asked for."""
    monkeypatch.setattr(machine, "cache_bytes", {1: 2**11, 2: 2**13}.__getitem__)


@pytest.fixture
def fine_items(monkeypatch: pytest.MonkeyPatch, new_plans: None) -> None:
    """Blocks are cut into as many items as there can be."""
    monkeypatch.setattr(tuning, "ITEM_SECONDS", 1e-12)


@pytest.mark.parametrize("cut", ["small_caches", "fine_items"])
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(("float32",), blocks() | SOME))
def test_blocks_however_they_are_cut(
    request: pytest.FixtureRequest,
    rng: np.random.Generator,
    algorithm: str,
    case: Case,
    layout: str,
    dtype: str,
    cut: str,
) -> None:
    request.getfixturevalue(cut)
    problem = arrays(rng, small_integers, case, dtype, layout)
    assert_solved_exactly(conv1d(**problem, algorithm=algorithm), algorithm, **problem)


@pytest.mark.generic
@pytest.mark.parametrize("dtype", FLOATS)
def test_blocks_in_panels(
    new_plans: None, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, dtype: str
) -> None:
    """Whatever the outputs and the width of a tile."""
    monkeypatch.setattr(machine, "threads", lambda: 2)  # with one, both groups would stand in a block
    monkeypatch.setattr(direct, "lanes_along", lambda *_: TIMES)
    monkeypatch.setattr(direct, "pays_in_panels", lambda problem, *_: problem.C_in_g * problem.K > tuning.CHAIN)
    names = set()
    for name, case_ in TABLE.items():
        arguments = arrays(rng, small_integers, case_, dtype, "NCW")
        problem = describe_call(**arguments)
        if problem.L_out and plan.plan_for(problem, "direct", False).geometry[0].into_panels:
            names.add(name)
            assert_exact(conv1d(**arguments, algorithm="direct"), **arguments)
    assert names >= {"K=1", "wide,K=1", "panels", "panels,strided", "panels,groups"}


@pytest.mark.parametrize("C_in", [512, 513])
def test_channels_are_cut_where_that_costs_little(fine_items: None, monkeypatch: pytest.MonkeyPatch, C_in: int) -> None:
    """Where a block has no room for all steps, each part packs them again."""
    monkeypatch.setattr(machine, "threads", lambda: 1)
    monkeypatch.setattr(tuning, "PACKING_SHARE", 1e-9)
    g = plan.plan_for(explain((1, C_in, 300), (400, C_in, 1)).problem, "direct", True).geometry[0]
    assert g.row_blocks == (g.row_units if C_in <= tuning.BLOCK_STEPS else 1)


@pytest.mark.parametrize(("L", "K", "C_in", "C_out"), [(8000, 200, 64, 48), (4000, 300, 32, 32), (9000, 500, 16, 16)])
def test_fft_cuts_pairs_where_threads_have_too_few_channels(
    new_plans: None, monkeypatch: pytest.MonkeyPatch, L: int, K: int, C_in: int, C_out: int
) -> None:
    monkeypatch.setattr(machine, "threads", lambda: 8)
    problem = explain((1, C_in, L), (C_out, C_in, K), algorithm="fft").problem
    g = plan.plan_for(problem, "fft", True).geometry[0]
    assert g.lanes_along == CHANNELS
    assert g.pair_blocks == min(g.pairs, 8)


@pytest.mark.generic
def test_parts_give_threads_equal_shares_and_take_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "threads", lambda: 4)
    monkeypatch.setattr(tuning, "ITEM_SECONDS", 1.0)
    few = {
        (1, 0.0, 9): 4,
        (1, 0.0, 3): 3,
        (1, 6.5, 99): 8,
        (1, 6.5, 7): 4,
        (2, 0.0, 9): 4,
        (4, 0.0, 9): 1,
        (0, 0.0, 9): 1,
    }
    many = {(33, 0.0, 9): 1, (1, 33.0, 99): 33, (4, 21.0, 99): 5, (1, 99.0, 7): 4, (33, 99.0, 2): 2}
    for arguments, parts in (few | many).items():
        assert parts_for(*arguments) == parts, arguments


@pytest.mark.generic
@pytest.mark.parametrize(
    ("algorithm", "layout", "along"),
    [
        *itertools.product(["direct", "winograd"], LAYOUTS, [TIMES, CHANNELS]),
        *itertools.product(["depthwise"], ["NCW"], [TIMES, PAIRED_CHANNELS]),
    ],
)
def test_lanes_along_either_axis(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, algorithm: str, layout: str, along: int
) -> None:
    """Both on all problems, as which is cheaper depends on the CPU; x of any memory, out inside of a larger array."""
    module = {"direct": direct, "depthwise": depthwise, "winograd": winograd}[algorithm]
    monkeypatch.setattr(module, "lanes_along", lambda *_: along)
    for (name, case_), (memory, keep) in zip(TABLE.items(), itertools.cycle(MEMORY.items()), strict=False):
        arguments = arrays(rng, small_integers, case_, "float32", layout)
        arguments["x"] = keep(arguments["x"])
        problem = describe_call(**arguments)
        if module.refuse(problem) or problem.flops > 1e6 or (along == PAIRED_CHANNELS and problem.C_out_g > 1):
            continue
        plan = Plan(problem, next(one for one in ALGORITHMS if one.name == algorithm), True)
        assert plan.geometry["lanes_along"][0] == along
        call = Call(plan, arguments["x"].shape, 3)
        x, w, bias = (arguments[key] for key in ("x", "w", "bias"))
        N, rows, columns = problem.out_shape
        around = np.full((N, rows + 1, columns + 3), 7, np.float32)
        y = call.run(x, call.prepare(w, bias), None, around[:, :-1, 1:-2], (x, w, bias))
        try:
            assert_solved_exactly(y, algorithm, **arguments)
            for outside in (around[:, -1], around[..., [0, -2, -1]]):
                assert (outside == 7).all(), "written outside of out"
        except AssertionError as error:
            raise AssertionError(f"{name}, {memory}: {error}") from error


@pytest.mark.generic
@pytest.mark.parametrize(
    ("C", "L", "K", "dilation", "along"),
    [
        (256, 500, 33, 1, PAIRED_CHANNELS),
        (4096, 40, 5, 1, PAIRED_CHANNELS),
        (256, 4000, 33, 16, TIMES),  # all vectors start on lines
        (256, 40_000, 33, 999, TIMES),  # each block would turn its halo of 32,000 samples
        (2, 4000, 33, 1, TIMES),  # most lanes would be empty
    ],
)
def test_depthwise_turns_x_where_that_pays(C: int, L: int, K: int, dilation: int, along: int) -> None:
    problem = explain((1, C, L), (C, 1, K), groups=C, dilation=dilation, padding="same").problem
    assert depthwise.lanes_along(problem, True) == along


@pytest.mark.generic
@pytest.mark.parametrize(("layout", "along"), [("NCW", CHANNELS), ("NWC", TIMES)])
def test_turned_outputs_of_some_channels_of_several_groups_have_room(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, layout: str, along: int
) -> None:
    """Where two threads share the channels, groups still stand all of their channels apart in the block."""
    monkeypatch.setattr(machine, "threads", lambda: 2)
    monkeypatch.setattr(direct, "lanes_along", lambda *_: along)
    shapes = ((1, 40, 20), (5 * 256, 8, 1)) if layout == "NCW" else ((1, 20, 40), (1, 8, 5 * 256))
    x, w = (small_integers(rng, shape, "float32") for shape in shapes)
    bias, options = np.zeros(5 * 256, np.float32), {"groups": 5, "data_format": layout}
    plan = Plan(describe_call(x, w, bias, **options), next(one for one in ALGORITHMS if one.name == "direct"), True)
    g = plan.geometry[0]
    assert g.turned
    assert g.row_blocks == 2
    assert g.group_blocks < 5
    call = Call(plan, x.shape, 3)
    assert_exact(call.run(x, call.prepare(w, bias), None, None, ()), x=x, w=w, bias=bias, **options)


@pytest.mark.parametrize(
    ("algorithm", "case", "layout", "dtype"),
    accepted(FLOATS, TABLE) + accepted(("float16", "complex64", "complex128"), SOME),
)
def test_floats_are_within_the_bound(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    for make in (normal, positive):
        problem = arrays(rng, make, case, dtype, layout)
        assert_solved(conv1d(**problem, algorithm=algorithm), algorithm, **problem)


def summed_in_order(terms: np.ndarray) -> np.ndarray:
    """The sum of terms, rounded to float32 after each as direct does: in chains, those in chunks, those in all."""
    chain = tuning.LONG_CHAIN if len(terms) <= tuning.LONG_CHAIN_STEPS else tuning.CHAIN
    chunks = []
    for chunk in (terms[first : first + tuning.CHUNK] for first in range(0, len(terms), tuning.CHUNK)):
        whole = len(chunk) - len(chunk) % STEPS_TOGETHER
        chains = np.split(chunk, range(chain, whole, chain))
        chunks.append(added([added(chain) for chain in chains]))
    return added(chunks)


def added(terms: Any) -> np.ndarray:
    """The sum of terms one after the other."""
    total = np.float32(0)
    for term in terms:
        total = (total.astype(np.float64) + term).astype(np.float32)
    return total


@pytest.mark.generic
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("steps", [3, 16, 17, 19, 33, 35, 36, 512, 513, 2048, 2049])
def test_floats_are_summed_in_this_order(rng: np.random.Generator, steps: int, depthwise: bool, layout: str) -> None:
    """Products of 22 bits are exact, and with 24 bits of a sum fit into float64."""
    C_in, C_in_g, K, groups = (5, 1, steps, 5) if depthwise else (steps, steps, 1, 1)
    x, w = (rng.integers(-2047, 2048, shape).astype(np.float32) for shape in ((1, C_in, K + 40), (5, C_in_g, K)))
    windows = sliding_window_view(x[0].astype(np.float64), K, axis=-1)
    if depthwise:
        terms = np.einsum("ctk,ck->kct", windows, w[:, 0])
    else:
        terms = np.einsum("ct,rc->crt", windows[..., 0], w[..., 0])
    expected = summed_in_order(terms)
    x, w = in_layout(layout, x, w)
    y = conv1d(x, w, groups=groups, data_format=layout, algorithm="depthwise" if depthwise else "direct")
    np.testing.assert_array_equal(y[0].T if layout == "NWC" else y[0], expected)


# Enough steps for the sums of chains and for those of blocks; the last tiles have each width.
LIKE_TERMS = {
    "one chain": case(16, 41, 85, 1, N=9),
    "one long chain": case(35, 41, 85, 1, N=9),
    "one block": case(32, 41, 85, 16, N=9),
    "most of long chains": case(761, 41, 85, 2, N=9),
    "many channels": case(2048, 41, 30, 2, N=1),
    "dense": case(96, 41, 85, 16, N=9),
    "many steps": case(480, 45, 20, 16, N=5),
    "depthwise": case(25, 25, 7681, 7680, N=9, groups=25),
    "depthwise, short": case(40, 40, 520, 500, N=9, groups=40),
}


@pytest.mark.generic
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(("float32",), LIKE_TERMS))
def test_sums_of_like_terms_are_within_the_bound(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    """Rounding errors of like terms are alike and add up, in one chain of 128 to 35 units instead of 16."""

    def alike(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """The same in each item of a batch, or in each filter."""
        return np.broadcast_to(rng.uniform(1, 2, (shape[0],) + (1,) * (len(shape) - 1)), shape).astype(dtype)

    problem = arrays(rng, alike, case, dtype, layout)
    assert_solved(conv1d(**problem, algorithm=algorithm), algorithm, **problem)


@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(("int8", "uint32", "int64"), SOME))
def test_integers_wrap(rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str) -> None:
    problem = arrays(rng, any_integers, case, dtype, layout)
    assert_exact(conv1d(**problem, algorithm=algorithm), **problem)


ODD_SIZES = {
    "dense": case(5, 9, 45, 3, padding=1),
    "depthwise": case(19, 19, 45, 4, groups=19, padding="causal"),
}


@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(FLOATS, ODD_SIZES))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_within_the_bound(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str, activation: str
) -> None:
    problem = arrays(rng, normal, case, dtype, layout) | {"activation": activation}
    assert_solved(conv1d(**problem, algorithm=algorithm), algorithm, **problem)


@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(FLOATS, ODD_SIZES))
@pytest.mark.parametrize("memory", MEMORY)
def test_odd_memory_gives_the_bits_of_contiguous_memory(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str, memory: str
) -> None:
    problem = arrays(rng, normal, case, dtype, layout)
    expected = conv1d(**problem, algorithm=algorithm)
    for name in ("x", "w", "bias"):
        y = conv1d(**problem | {name: MEMORY[memory](problem[name])}, algorithm=algorithm)
        np.testing.assert_array_equal(y, expected, strict=True)


def test_every_algorithm_accepts_a_good_part_of_the_table() -> None:
    """The tests above are as good as what is accepted."""
    calls = [param.values[0] for param in accepted(("float32",), TABLE)]
    least = {algorithm.name: 100 for algorithm in ALGORITHMS}
    if numba.config.DISABLE_JIT:
        least = {"scalar": 100}
    assert {name: calls.count(name) for name in least if calls.count(name) < least[name]} == {}


# -- refusals ---------------------------------------------------------------------------------------

REFUSED = {
    "integers": (case(2, 3, 9, 3), "int32"),
    "complex": (case(2, 3, 9, 3), "complex64"),
    "dense": (case(2, 3, 9, 3), "float32"),
    "depthwise": (case(3, 3, 9, 3, groups=3), "float32"),
}


@pytest.mark.nojit
@pytest.mark.parametrize(("case", "dtype"), REFUSED.values(), ids=REFUSED)
def test_a_forced_algorithm_that_refuses_says_why(rng: np.random.Generator, case: Case, dtype: str) -> None:
    problem = arrays(rng, small_integers, case, dtype, "NCW")
    refusals = {a.name: a.refuse(describe_call(**problem)) for a in ALGORITHMS}
    for name, reason in refusals.items():
        if reason is None:
            assert_solved_exactly(conv1d(**problem, algorithm=name), name, **problem)
        else:
            with pytest.raises(ValueError, match=re.escape(reason)):
                conv1d(**problem, algorithm=name)


@pytest.mark.nojit
def test_what_is_refused_by_whom() -> None:
    problems = {name: problem_of(case_, dtype, "NCW") for name, (case_, dtype) in REFUSED.items()}
    refused = {a.name: {name for name, p in problems.items() if a.refuse(p) is not None} for a in ALGORITHMS}
    assert refused["scalar"] == set()
    if numba.config.DISABLE_JIT:
        assert refused["direct"] == refused["depthwise"] == refused["fft"] == set(REFUSED)
    else:
        assert refused["direct"] == refused["fft"] == {"integers", "complex"}
        assert refused["depthwise"] == {"integers", "complex", "dense"}


def test_fft_refuses_more_channels_than_its_bound_holds_for() -> None:
    assert "fft" not in explain((1, 8192, 30), (4, 8192, 5)).refusals
    assert "of the 8,193 channels" in explain((1, 8193, 30), (4, 8193, 5)).refusals["fft"]


@pytest.mark.nojit
def test_an_unknown_algorithm_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=".*".join(a.name for a in ALGORITHMS)):
        conv1d(np.ones(5), np.ones(2), algorithm="quick")


# -- choice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["dense", "depthwise"])
def test_auto_gives_the_bits_of_the_algorithm_that_explain_names(
    rng: np.random.Generator, name: str, layout: str
) -> None:
    problem = arrays(rng, normal, ODD_SIZES[name], "float32", layout)
    chosen = explain(**problem).algorithm
    np.testing.assert_array_equal(conv1d(**problem), conv1d(**problem, algorithm=chosen), strict=True)


@pytest.mark.nojit
@pytest.mark.parametrize(("case", "dtype"), REFUSED.values(), ids=REFUSED)
def test_explain_gives_the_choice_and_every_refusal(rng: np.random.Generator, case: Case, dtype: str) -> None:
    problem = arrays(rng, small_integers, case, dtype, "NCW")
    explanation = explain(**problem)
    described = describe_call(**problem)
    assert explanation.problem == described
    assert explanation.refusals == {a.name: a.refuse(described) for a in ALGORITHMS if a.refuse(described)}
    assert explanation.algorithm not in explanation.refusals
    assert explanation.flops == described.flops
    assert explanation.algorithm == min(explanation.estimates, key=lambda name: explanation.estimates[name])
    assert not explanation.estimates.keys() & explanation.refusals.keys()
    for word in (explanation.algorithm, *explanation.refusals.values(), *explanation.estimates):
        assert word in repr(explanation)


@pytest.mark.nojit
def test_explain_says_that_the_algorithm_was_forced() -> None:
    w = np.zeros((4, 3, 5), np.float32)
    for options, forced in (({}, False), ({"algorithm": "auto"}, False), ({"algorithm": "scalar"}, True)):
        for explanation in (explain((3, 50), w, **options), Conv1d(w, **options).explain((3, 50))):
            assert explanation.forced is forced
            assert ("scalar, forced by algorithm=" in repr(explanation)) is forced


def test_explain_takes_shapes_for_arrays_of_float32() -> None:
    x, w = np.zeros((2, 3, 50), np.float32), np.zeros((4, 3, 5), np.float32)
    assert repr(explain(x.shape, w.shape, padding="same")) == repr(explain(x, w, padding="same"))


@pytest.mark.parametrize(
    ("cpu", "bits", "half_cycles"), [("znver4", 512, 2), ("znver4", 256, 1), ("sapphirerapids", 512, 1)]
)
def test_a_cpu_may_halve_its_widest_vectors(
    monkeypatch: pytest.MonkeyPatch, cpu: str, bits: int, half_cycles: int
) -> None:
    monkeypatch.setattr(machine, "_vector_unit", lambda: (bits, 32))
    monkeypatch.setattr(machine, "cpu_name", lambda: cpu)
    monkeypatch.setattr(machine, "fma_half_cycles", machine.fma_half_cycles.__wrapped__)
    assert machine.fma_half_cycles() == half_cycles
    f4 = np.dtype(np.float32)
    running, _ = direct.counts(describe((1, 4, 130), f4, (8, 4, 3), f4), False)
    assert running["fma"] == half_cycles * 12 * 8 * 128 * 32 // bits  # steps, channels, times


def test_taps_share_their_samples_where_they_are_near_enough() -> None:
    f4 = np.dtype(np.float32)
    one_output = describe((1, 4, 302), f4, (6, 4, 302), f4)
    assert slots_for(one_output, 1, TIMES) == slots_for(one_output, 1, CHANNELS) == 1
    lanes = machine.lanes(f4)
    for dilation, block in itertools.product(range(1, 100), (1, 15, 16, 40)):
        by_time = describe((1, 1, 1000), f4, (1, 1, 9), f4, dilation=dilation)
        assert slots_for(by_time, block, TIMES) == (1 if dilation <= max(block - 1, 2 * lanes) else 9)
        by_place = describe((1, 1000, 2), f4, (9, 2, 2), f4, dilation=dilation, data_format="NWC")
        near = min(2 * block, 2 * lanes)
        assert slots_for(by_place, block, CHANNELS) == (1 if dilation <= max(block - 1, near) else 9)


@pytest.mark.parametrize(("C", "outputs"), [(64, 2), (4, 108), (2, 1), (1, 1)])
def test_depthwise_in_nwc_has_the_blocks_of_direct_but_for_many_channels_of_one_output(C: int, outputs: int) -> None:
    f4 = np.dtype(np.float32)
    problem = describe((1, 500, C), f4, (3, 1, C * outputs), f4, groups=C, data_format="NWC")
    assert depthwise.geometry(problem, True) == direct.geometry(problem, True)
    few = describe((1, 4, C), f4, (3, 1, C * outputs), f4, groups=C, data_format="NWC")
    like_direct = depthwise.geometry(few, True) == direct.geometry(few, True)
    assert like_direct == (outputs > 1 or C < few.L_out)
    many = describe((1, 500, 64), f4, (3, 1, 64), f4, groups=64, data_format="NWC")
    assert depthwise.geometry(many, True)["lanes_along"] == PAIRED_CHANNELS


def test_what_transforms_must_promise_some_time() -> None:
    by_name = {algorithm.name: algorithm for algorithm in ALGORITHMS}
    for plain, other in itertools.product(("direct", "depthwise"), ("winograd", "fft")):
        assert plan.choose({by_name[plain]: 1.09, by_name[other]: 1.0}).name == plain
        assert plan.choose({by_name[plain]: 1.11, by_name[other]: 1.0}).name == other
    assert plan.choose({by_name["winograd"]: 1.01, by_name["fft"]: 1.0}).name == "fft"


@pytest.mark.parametrize(("layout", "own", "other"), [("NCW", TIMES, CHANNELS), ("NWC", CHANNELS, TIMES)])
def test_turned_lanes_must_promise_some_time(layout: str, own: int, other: int) -> None:
    f4 = np.dtype(np.float32)
    problem = describe((1, 8, 8), f4, (8, 8, 1), f4, data_format=layout)
    for promised, chosen in ((1.09, own), (1.11, other)):
        calls = {own: promised, other: 1.0}
        assert (
            cheaper_lanes("direct", lambda _, along, calls=calls: ({"call": calls[along]}, {}), problem, True) == chosen
        )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("C_in", "C_out", "groups"), [(48, 32, 1), (1, 5, 1), (8, 8, 8), (8, 24, 8), (64, 64, 64), (8, 6, 2)]
)
def test_every_count_has_a_price(layout: str, C_in: int, C_out: int, groups: int) -> None:
    f4, (x_shape, w_shape) = np.dtype(np.float32), ((1, C_in, 300), (C_out, C_in // groups, 7))
    if layout == "NWC":
        x_shape, w_shape = (1, 300, C_in), w_shape[::-1]
    for stride, dilation, prepared in itertools.product((1, 2), (1, 3), (True, False)):
        problem = describe(x_shape, f4, w_shape, f4, None, None, stride, "same", dilation, groups, data_format=layout)
        for algorithm in ALGORITHMS:
            if algorithm.refuse(problem) is None:
                for counts in algorithm.counts(problem, prepared):
                    assert counts.keys() <= tuning.COSTS[algorithm.name].keys()


@pytest.mark.parametrize("name", ["dense", "depthwise"])
def test_the_choice_looks_at_neither_batch_nor_threads(name: str) -> None:
    _, C_in, C_out, _, K = ODD_SIZES[name]["sizes"]
    groups = ODD_SIZES[name]["groups"]

    def choice(N: int) -> str:
        return explain((N, C_in, 4096), (C_out, C_in // groups, K), groups=groups).algorithm

    choices = {choice(N) for N in (1, 2, 64, 1000)}
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        choices.add(choice(1))
    finally:
        numba.set_num_threads(threads)
    assert len(choices) == 1


# -- bits -------------------------------------------------------------------------------------------

BITS = {
    "dense": case(5, 11, 160, 3, N=3),
    "strided": case(5, 11, 331, 4, N=3, stride=2),
    "dilated": case(5, 11, 170, 4, N=3, dilation=3),
    "strided,dilated,groups": case(6, 10, 500, 4, N=3, groups=2, stride=3, dilation=2),
    "wide": case(260, 11, 100, 3, N=3),
    "wide,K=1": case(40, 260, 103, 1, N=3),
    "depthwise": case(19, 19, 170, 4, N=3, groups=19),
    "depthwise_x2,strided": case(7, 14, 340, 5, N=3, groups=7, stride=2),
    "depthwise,K=31": case(3, 3, 190, 31, N=3, groups=3),
    "wide,K=31": case(20, 33, 390, 31, N=3),
}


@pytest.mark.generic
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(FLOATS, BITS))
def test_a_slice_of_the_batch_gives_the_slice_of_the_result(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    problem = arrays(rng, normal, case, dtype, layout) | {"algorithm": algorithm}
    x = problem.pop("x")
    whole = conv1d(x, **problem)
    for part in (slice(0, 1), slice(1, 3), slice(2, 3)):
        np.testing.assert_array_equal(conv1d(x[part], **problem), whole[part], strict=True)
    np.testing.assert_array_equal(conv1d(x[1], **problem), whole[1], strict=True)


@pytest.mark.generic
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(FLOATS, BITS))
def test_a_given_out_gets_the_bits_of_a_new_one(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    problem = arrays(rng, normal, case, dtype, layout) | {"algorithm": algorithm}
    expected = conv1d(**problem)
    for memory in ("contiguous", "offset", "every other", "reversed", "transposed"):
        out = MEMORY[memory](np.full(expected.shape, np.nan, dtype))
        assert conv1d(**problem, out=out) is out
        np.testing.assert_array_equal(out, expected, strict=True)


STREAMS = [param for param in accepted(FLOATS, BITS) if param.values[0] in ("direct", "depthwise")]


@pytest.mark.generic
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), STREAMS)
def test_any_position_in_time_gives_the_same_bits(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    """From every start to the end, and from random starts to random ends: each result as a tail and in the body."""
    problem = arrays(rng, normal, case, dtype, layout) | {"algorithm": algorithm}
    x = problem.pop("x")
    time = -1 if layout == "NCW" else -2
    stride, K_span = case.get("stride", 1), (case["sizes"][4] - 1) * case.get("dilation", 1) + 1
    whole = np.moveaxis(conv1d(x, **problem), time, -1)
    L_out = whole.shape[-1]
    some = np.sort(rng.choice(np.arange(L_out + 1), (60, 2)), axis=1)
    for start, end in [(t, L_out) for t in range(L_out)] + [(a, b) for a, b in some.tolist() if a < b]:
        window = slice(start * stride, (end - 1) * stride + K_span)
        part = x[..., window] if layout == "NCW" else x[..., window, :]
        y = np.moveaxis(conv1d(part, **problem), time, -1)
        np.testing.assert_array_equal(y, whole[..., start:end])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("algorithm", "K", "C", "groups"), [("direct", 5, 6, 1), ("depthwise", 4, 9, 9)])
def test_a_stream_in_chunks_equals_the_whole(
    rng: np.random.Generator, algorithm: str, K: int, C: int, groups: int, layout: str
) -> None:
    """Causal chunks, each with the last K_span - 1 samples of what came before it."""
    x, w = in_layout(layout, normal(rng, (1, C, 9000), "float32"), normal(rng, (C, C // groups, K), "float32"))
    time = -1 if layout == "NCW" else -2
    options = {"dilation": 3, "groups": groups, "data_format": layout, "algorithm": algorithm}
    whole = conv1d(x, w, padding="causal", **options)
    past = np.zeros_like(x.take(range((K - 1) * 3), time))
    chunks = []
    for samples in np.split(x, np.sort(rng.choice(np.arange(1, 9000), 20, replace=False)), time):
        chunk = np.concatenate([past, samples], time)
        chunks.append(conv1d(chunk, w, **options))
        past = chunk.take(range(chunk.shape[time] - (K - 1) * 3, chunk.shape[time]), time)
    np.testing.assert_array_equal(np.concatenate(chunks, time), whole, strict=True)


@pytest.mark.generic
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize(("algorithm", "C_in"), [("direct", 1), ("direct", 300), ("depthwise", 300)])
def test_a_tile_goes_through_several_panels(
    rng: np.random.Generator, algorithm: str, C_in: int, K: int, layout: str
) -> None:
    """Also of channels: with one step their panels are as far apart as those of times are."""
    x, w = small_integers(rng, (1, C_in, 700), "float32"), small_integers(rng, (300, 1, K), "float32")
    x, w = in_layout(layout, x, w)
    options = {"groups": C_in, "data_format": layout}
    assert_exact(conv1d(x, w, **options, algorithm=algorithm), x=x, w=w, **options)


#: x in memory of which blocks read some rows where they stand, and in which they can't or should not.
STANDING: dict[str, Any] = MEMORY | {
    "a page apart": lambda x: np.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % 1024)))[..., : x.shape[2]],
    "between others": lambda x: np.pad(x, ((1, 1), (2, 3), (5, 7)), constant_values=3)[1:-1, 2:-3, 5:-7],
    "channels alike": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "channels reversed": lambda x: x[:, ::-1].copy()[:, ::-1],
}


@pytest.mark.generic
@pytest.mark.parametrize("memory", STANDING)
@pytest.mark.parametrize(
    ("C_out", "K", "groups", "dilation"), [(8, 4, 8, 1), (16, 4, 8, 3), (4, 2, 1, 1), (8, 3, 4, 9), (16, 1, 1, 1)]
)
def test_blocks_read_x_where_it_stands(
    rng: np.random.Generator, C_out: int, K: int, groups: int, dilation: int, memory: str
) -> None:
    """But for those that meet padding: the first and the last of several, or all there is."""
    standing = 0
    w = small_integers(rng, (C_out, 8 // groups, K), "float32")
    a_few_left = machine.cache_bytes(1) // 2 // w.itemsize + 5 + (K - 1) * dilation  # for the last block of depthwise
    for L, padding in itertools.product((30, 60, 101, 130, a_few_left, 9001), (0, (9, 0), (0, 9), 40)):
        x = STANDING[memory](small_integers(rng, (2, 8, L), "float32"))
        options = {"padding": padding, "groups": groups, "dilation": dilation}
        problem = describe(x.shape, x.dtype, w.shape, w.dtype, **options)
        algorithm = depthwise if groups == 8 else direct
        standing += int(algorithm.geometry(problem, True)["in_place"][0])
        y = conv1d(x, w, **options, algorithm=algorithm.__name__.rpartition(".")[2])
        assert_exact(y, x=x, w=w, **options)
    assert (standing > 0) == (memory != "byte-swapped")


THREADS = """
import numba, numpy as np
from fastconv1d import conv1d, explain, tuning
rng = np.random.default_rng(0)
shapes = [  # x, w, groups: many rows, one long row, one row of many channels
    ((64, 16, 500), (24, 16, 3), 1), ((1, 4, 400_000), (6, 4, 5), 1), ((1, 256, 130), (256, 256, 3), 1),
    ((2, 64, 20_000), (64, 1, 4), 64), ((1, 1, 3_000_000), (1, 1, 7), 1), ((5, 64, 3000), (64, 16, 3), 4),
]
for (N, C_in, L), (C_out, C_in_g, K), groups in shapes:
    for data_format in ("NCW", "NWC"):
        x, w = rng.standard_normal((N, C_in, L), np.float32), rng.standard_normal((C_out, C_in_g, K), np.float32)
        if data_format == "NWC":
            x, w = x.swapaxes(1, 2).copy(), w.transpose(2, 1, 0).copy()
        options = dict(groups=groups, padding="same", data_format=data_format)
        for algorithm in ("auto", "fft"):
            results = {}
            for threads in (1, 2, 3):
                numba.set_num_threads(threads)
                results[threads] = conv1d(x, w, **options, algorithm=algorithm)
                used = explain(x, w, **options, algorithm=algorithm).threads
                assert (used > 1) == (threads > 1), (x.shape, data_format, used, threads)
            np.testing.assert_array_equal(results[2], results[1])
            np.testing.assert_array_equal(results[3], results[1])
"""


def test_any_number_of_threads_gives_the_same_bits(run_python: RunPython) -> None:
    """In a process of its own, which has three threads on any machine."""
    child = run_python("-c", THREADS, NUMBA_NUM_THREADS="3")
    assert child.returncode == 0, child.stderr


ASSEMBLER = """
import numpy as np
from fastconv1d.simd.tiles import TIMES
from fastconv1d.sweep import sweep_of
sweep_of(TIMES, 64).address(np.dtype(np.float32))
(result,) = sweep_of(TIMES, 64)._compiled[np.dtype(np.float32)].overloads.values()
print("fmaf" in result.library.get_asm_str())
"""


def test_a_cpu_without_fma_does_not_call_the_c_library_for_it(run_python: RunPython) -> None:
    """For every lane of every vector: 22 times slower."""
    child = run_python("-c", ASSEMBLER, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", FASTCONV1D_CACHE="0")
    assert child.stdout == "False\n", child.stderr


REGISTERS = """
import numpy as np
import fastconv1d
from fastconv1d import machine
machine.registers = lambda: 32
rng = np.random.default_rng(0)
for C_in, K, C_out in (520, 1, 33), (40, 13, 9), (3, 5, 33), (17, 1, 8):
    x, w = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((1, C_in, 75), (C_out, C_in, K)))
    windows = np.lib.stride_tricks.sliding_window_view(x[0], K, axis=-1)
    expected = np.einsum("ctk,ock->ot", windows, w)[None]
    np.testing.assert_array_equal(fastconv1d.conv1d(x, w, algorithm="direct"), expected)
    x, w = x.transpose(0, 2, 1), w.transpose(2, 1, 0)
    y = fastconv1d.conv1d(x, w, data_format="NWC", algorithm="direct")
    np.testing.assert_array_equal(y, expected.transpose(0, 2, 1))
"""


def test_tiles_for_more_registers(run_python: RunPython) -> None:
    """The shapes of AVX-512 and NEON on any CPU: a tile that has no code does nothing."""
    child = run_python("-c", REGISTERS, FASTCONV1D_CACHE="0")
    assert child.returncode == 0, child.stderr


# -- NaN and infinity -------------------------------------------------------------------------------

LOCAL = {
    "dense": case(5, 11, 100, 3, padding=1),
    "strided,dilated,groups": case(6, 10, 150, 4, groups=2, stride=3, dilation=2, padding=(4, 5)),
    "K=1": case(9, 5, 67, 1),
    "depthwise": case(19, 19, 100, 4, groups=19, padding="causal"),
    "depthwise_x2": case(5, 10, 100, 5, groups=5, padding="same"),
    "wide,K=31": case(20, 33, 390, 31, padding=7),
}


@pytest.mark.generic
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(FLOATS, LOCAL))
def test_nan_and_infinity_in_x_stay_inside_their_windows(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str, value: float
) -> None:
    problem = arrays(rng, normal, case, dtype, layout) | {"algorithm": algorithm}
    clean = conv1d(**problem)
    # Which results a sample reaches: those that move with it when all weights are 1.
    indicator = {**problem, "w": np.ones_like(problem["w"]), "bias": None}
    for index in rng.choice(problem["x"].size, 12, replace=False):
        x, mark = problem["x"].copy(), np.zeros_like(problem["x"])
        x.flat[index], mark.flat[index] = value, 1
        reached = conv1d(**indicator | {"x": mark}) > 0.5
        y = conv1d(**problem | {"x": x})
        np.testing.assert_array_equal(np.isfinite(y), ~reached)
        if UNITS[algorithm] is None:
            np.testing.assert_array_equal(y[~reached], clean[~reached])
        else:  # the block is computed another way
            plain = {k: v for k, v in problem.items() if k != "algorithm"}
            tolerance = 2 * (UNITS[algorithm] + 2) * np.finfo(dtype).eps / 2 * row_magnitude(**plain)
            assert (abs(y - clean) <= tolerance)[~reached].all()
        if np.isinf(value):
            assert not np.isnan(y).any()


@pytest.mark.generic
@pytest.mark.parametrize(("algorithm", "case", "layout", "dtype"), accepted(FLOATS, LOCAL))
def test_nan_in_a_filter_stays_in_its_channel(
    rng: np.random.Generator, algorithm: str, case: Case, layout: str, dtype: str
) -> None:
    problem = arrays(rng, normal, case, dtype, layout) | {"algorithm": algorithm}
    clean = np.moveaxis(conv1d(**problem), 1 if layout == "NCW" else 2, 0)
    filters = np.moveaxis(problem["w"], 0 if layout == "NCW" else 2, 0)
    for channel in (0, 1, len(filters) - 1):
        w = problem["w"].copy()
        np.moveaxis(w, 0 if layout == "NCW" else 2, 0)[channel].flat[-1] = np.nan
        y = np.moveaxis(conv1d(**problem | {"w": w}), 1 if layout == "NCW" else 2, 0)
        assert np.isnan(y[channel]).all()
        np.testing.assert_array_equal(np.delete(y, channel, 0), np.delete(clean, channel, 0))


@pytest.mark.generic
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("algorithm", [a.name for a in ALGORITHMS])
def test_an_infinite_weight_on_zero_padding_is_nan(algorithm: str, layout: str) -> None:
    C_in = 2 if algorithm == "winograd" else 1  # which refuses one channel, as depthwise does two
    w = np.array([[[1, 1, np.inf]] * C_in], np.float32)
    x, w = in_layout(layout, np.ones((1, C_in, 40), np.float32), w)
    y = conv1d(x, w, padding=(0, 5), data_format=layout, algorithm=algorithm).ravel()
    np.testing.assert_array_equal(y, [np.inf] * 38 + [np.nan] * 5)


@pytest.mark.nojit
def test_a_complex_infinity_stays_one() -> None:
    """Over more steps than a chain has: to add is not to multiply by 1, which makes NaN of it."""
    x = np.full(100, 1 + 1j)
    x[50] = np.inf + 1j
    y = conv1d(x, np.full(40, 1 + 1j))
    covered = (np.arange(61) <= 50) & (np.arange(61) > 10)
    assert np.all(np.isposinf(y.real) & np.isposinf(y.imag) == covered)
    np.testing.assert_array_equal(y[~covered], 80j)
