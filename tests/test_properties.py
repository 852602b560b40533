"""Properties that hold for every problem, on problems that hypothesis makes up, and a small share of the fuzzing.

Small integers keep every sum exact, so that the two sides of a property are equal, not nearly so.
"""

from __future__ import annotations

from typing import Any

import fuzz
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    LAYOUTS,
    MEMORY,
    PADDING_MODES,
    PADDING_NAMES,
    assert_exact,
    assert_within_bound,
    assert_within_units_of_the_row,
    in_layout,
    normal,
    result_dtype,
    small_integers,
)

from fastconv1d import conv1d, explain
from fastconv1d.plan import ALGORITHMS

UNITS = {algorithm.name: algorithm.units for algorithm in ALGORITHMS}

# Each pair of dtypes takes seconds to compile; all of them are the business of test_conv1d.py and fuzz.py.
COMPILED = ("float32", "float64", "int64")
SIZES = st.integers(1, 9) | st.sampled_from([15, 16, 17, 33])
LENGTHS = st.integers(1, 40) | st.sampled_from([63, 64, 65, 127, 128, 129, 300])
EXACT_DTYPES = st.sampled_from(["float32", "float64", "int64", "complex128"])


@st.composite
def problems(draw: Any, dtypes: Any = EXACT_DTYPES, **fixed: Any) -> dict[str, Any]:
    """Return x, w and the options of a legal call, in NCW. A fixed option is not drawn."""

    def option(name: str, strategy: Any) -> Any:
        return fixed[name] if name in fixed else draw(strategy, label=name)

    groups = option("groups", st.sampled_from([1, 1, 2, 3, 5]))
    options = {
        "stride": option("stride", st.integers(1, 4)),
        "dilation": option("dilation", st.integers(1, 4)),
        "padding_mode": option("padding_mode", st.sampled_from(PADDING_MODES)),
        "padding": option(
            "padding",
            st.integers(0, 20) | st.tuples(st.integers(0, 20), st.integers(0, 20)) | st.sampled_from(PADDING_NAMES),
        ),
        "groups": groups,
    }
    C_in_g, C_out_g, K = draw(SIZES), draw(SIZES), draw(st.integers(1, 6) | st.just(40))
    L = draw(LENGTHS) + (K - 1) * options["dilation"]
    N = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(dtypes)
    x = small_integers(rng, (N, groups * C_in_g, L), dtype)
    return {"x": x, "w": small_integers(rng, (groups * C_out_g, C_in_g, K), dtype), **options}


def copies(problem: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return problem | changes


def sums(**problem: Any) -> Any:
    """conv1d by an algorithm that transforms nothing: the others round small integers too."""
    refused = explain(**problem).refusals
    plain = next(a.name for a in ALGORITHMS if a.units is None and a.name not in refused)
    return conv1d(**problem, algorithm=plain)


# -- the whole contract --------------------------------------------------------------------------------


@settings(max_examples=150)
@given(
    problem=problems(st.sampled_from(COMPILED)),
    w_dtype=st.sampled_from([None, "float32"]),
    layout=st.sampled_from(LAYOUTS),
    memory=st.tuples(*[st.sampled_from(sorted(MEMORY))] * 3),
    bias=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_the_oracle_agrees(
    problem: Any, w_dtype: str | None, layout: str, memory: tuple[str, ...], bias: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, w = in_layout(layout, problem.pop("x"), problem.pop("w"))
    if w_dtype is not None:  # no negative number becomes an unsigned one, which is exact in every float
        x, w = abs(x.real).astype(x.dtype), abs(w.real).astype(w_dtype)
    C_out = w.shape[0 if layout == "NCW" else 2]
    problem |= {"x": MEMORY[memory[0]](x), "w": MEMORY[memory[1]](w), "data_format": layout}
    problem["bias"] = MEMORY[memory[2]](small_integers(rng, (C_out,), w.dtype)) if bias else None
    out_dtype = result_dtype(*(problem[name] for name in ("x", "w", "bias")))
    y = conv1d(**problem)
    assert y.dtype == out_dtype
    units = UNITS[explain(**problem).algorithm]
    if units is None:
        assert_exact(y, **problem)
    else:
        assert_within_units_of_the_row(y, **problem, units=units)


@given(
    problem=problems(st.sampled_from(["float32", "float64", "float16", "complex64"])),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 2**32),
)
def test_floats_stay_within_the_bound(problem: Any, layout: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = (normal(rng, problem[name].shape, problem[name].dtype) for name in ("x", "w"))
    x, w = in_layout(layout, x, w)
    problem = copies(problem, x=x, w=w, data_format=layout)
    units = UNITS[explain(**problem).algorithm]
    if units is None:
        assert_within_bound(conv1d(**problem), **problem)
    else:
        assert_within_units_of_the_row(conv1d(**problem), **problem, units=units)


@given(problem=problems(st.sampled_from(COMPILED)), layout=st.sampled_from(LAYOUTS))
def test_the_algorithms_agree(problem: Any, layout: str) -> None:
    x, w = in_layout(layout, problem["x"], problem["w"])
    problem = copies(problem, x=x, w=w, data_format=layout)
    refusals = explain(**problem).refusals
    y = sums(**problem)
    for algorithm in (a for a in ALGORITHMS if a.name not in refusals):
        result = conv1d(**problem, algorithm=algorithm.name)
        if algorithm.units is None:
            np.testing.assert_array_equal(result, y, strict=True)
        else:
            assert_within_units_of_the_row(result, **problem, units=algorithm.units)


# -- what changes and what does not --------------------------------------------------------------------


@given(problem=problems(), a=st.integers(-3, 3), b=st.integers(-3, 3), seed=st.integers(0, 2**32))
def test_linear_in_x_and_in_w(problem: Any, a: int, b: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = sums(**problem)
    for name in ("x", "w"):
        other = small_integers(rng, problem[name].shape, problem[name].dtype)
        mixed = (a * problem[name] + b * other).astype(other.dtype)
        expected = a * y + b * sums(**copies(problem, **{name: other}))
        np.testing.assert_array_equal(sums(**copies(problem, **{name: mixed})), expected)


@given(problem=problems(padding=0, padding_mode="zeros"), windows=st.integers(1, 30))
def test_a_shift_by_strides_shifts_the_windows(problem: Any, windows: int) -> None:
    x, stride = problem["x"], problem["stride"]
    before = np.ones((*x.shape[:2], windows * stride), x.dtype)
    shifted = sums(**copies(problem, x=np.concatenate([before, x], axis=2)))
    np.testing.assert_array_equal(shifted[..., windows:], sums(**problem), strict=True)


@given(problem=problems(padding="causal", padding_mode="zeros"), data=st.data())
def test_causal_does_not_look_ahead(problem: Any, data: Any) -> None:
    x, stride = problem["x"], problem["stride"]
    now = data.draw(st.integers(0, x.shape[2] - 1))
    future = x.copy()
    future[..., now + 1 :] += 7
    y, z = sums(**problem), sums(**copies(problem, x=future))
    np.testing.assert_array_equal(z[..., : now // stride + 1], y[..., : now // stride + 1], strict=True)


@given(problem=problems())
def test_groups_are_calls_side_by_side(problem: Any) -> None:
    xs = np.split(problem["x"], problem["groups"], axis=1)
    ws = np.split(problem["w"], problem["groups"], axis=0)
    calls = [sums(**copies(problem, x=x, w=w, groups=1)) for x, w in zip(xs, ws, strict=True)]
    np.testing.assert_array_equal(sums(**problem), np.concatenate(calls, axis=1), strict=True)


@given(problem=problems())
def test_dilation_is_a_kernel_with_zeros_in_it(problem: Any) -> None:
    w, dilation = problem["w"], problem["dilation"]
    stuffed = np.zeros((*w.shape[:2], (w.shape[2] - 1) * dilation + 1), w.dtype)
    stuffed[..., ::dilation] = w
    np.testing.assert_array_equal(sums(**problem), sums(**copies(problem, w=stuffed, dilation=1)), strict=True)


@given(problem=problems(padding=0))
def test_stride_is_every_other_window(problem: Any) -> None:
    dense = sums(**copies(problem, stride=1))
    np.testing.assert_array_equal(sums(**problem), dense[..., :: problem["stride"]], strict=True)


@given(problem=problems(), padding=st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_padding_is_np_pad(problem: Any, padding: tuple[int, int]) -> None:
    modes = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}
    mode = modes.get(problem["padding_mode"], problem["padding_mode"])
    padded = np.pad(problem["x"], ((0, 0), (0, 0), padding), mode)
    expected = sums(**copies(problem, x=padded, padding=0))
    np.testing.assert_array_equal(sums(**copies(problem, padding=padding)), expected, strict=True)


@given(problem=problems(), seed=st.integers(0, 2**32))
def test_the_order_of_batch_and_channels_is_kept(problem: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = sums(**problem)
    batch = rng.permutation(len(problem["x"]))
    np.testing.assert_array_equal(sums(**copies(problem, x=problem["x"][batch])), y[batch], strict=True)
    if problem["groups"] == 1:
        c_out, c_in = (rng.permutation(n) for n in problem["w"].shape[:2])
        swapped = copies(problem, x=problem["x"][:, c_in], w=problem["w"][c_out][:, c_in])
        np.testing.assert_array_equal(sums(**swapped), y[:, c_out], strict=True)


@given(problem=problems())
def test_the_layouts_agree(problem: Any) -> None:
    x, w = in_layout("NWC", problem["x"], problem["w"])
    last = sums(**copies(problem, x=x, w=w, data_format="NWC"))
    np.testing.assert_array_equal(last.swapaxes(1, 2), sums(**problem), strict=True)


@given(problem=problems(padding=0, padding_mode="zeros", stride=1))
def test_reversing_time_reverses_the_result(problem: Any) -> None:
    backwards = sums(**copies(problem, x=problem["x"][..., ::-1], w=problem["w"][..., ::-1]))
    np.testing.assert_array_equal(backwards[..., ::-1], sums(**problem), strict=True)


# -- a share of the fuzzing ----------------------------------------------------------------------------


def test_three_hundred_random_problems() -> None:
    report = fuzz.run(range(300), seed=20240312, dtypes=COMPILED)
    assert report.failures == []
    assert report.kinds["dtype"].total() == 300


@pytest.mark.parametrize(
    "wrong",
    [
        lambda **problem: conv1d(**problem) * 1.0001,
        lambda **problem: conv1d(**problem | {"bias": None}),
        lambda **problem: conv1d(**problem).copy(),
        lambda **problem: conv1d(**problem | {"padding_mode": "zeros"}),
    ],
    ids=["inaccurate", "no bias", "a copy of out", "modes ignored"],
)
def test_the_fuzzing_finds_what_is_wrong(wrong: Any) -> None:
    assert fuzz.run(range(60), seed=1, dtypes=COMPILED, conv1d=wrong).failures
