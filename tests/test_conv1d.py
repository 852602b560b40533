"""The public function, row by row of its contract. The errors of its arguments are in test_problem.py."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import (
    ACTIVATIONS,
    DTYPES,
    FLOATS,
    INTEGERS,
    LAYOUTS,
    MEMORY,
    MIXED,
    PADDING_MODES,
    PADDING_NAMES,
    Subclass,
    any_integers,
    assert_exact,
    assert_within_bound,
    broadcast,
    in_layout,
    normal,
    small_integers,
)

from fastconv1d import conv1d, explain
from fastconv1d.tuning import LARGE_RESULT_BYTES

Rng = np.random.Generator


def some_arrays(rng: Rng, dtype: Any = "float32", layout: str = "NCW", make: Any = small_integers) -> dict[str, Any]:
    """Return x, w, bias and layout of an ordinary dense problem."""
    x, w = in_layout(layout, make(rng, (2, 5, 37), dtype), make(rng, (9, 5, 3), dtype))
    return {"x": x, "w": w, "bias": make(rng, (9,), dtype), "data_format": layout}


# -- the call ---------------------------------------------------------------------------------------


@pytest.mark.nojit
def test_two_plain_arrays() -> None:
    y = conv1d(np.array([0, 3, 4, 5]), np.array([1, 2]))
    np.testing.assert_array_equal(y, np.array([6, 11, 14]), strict=True)


@pytest.mark.nojit
def test_lists_are_arrays() -> None:
    y = conv1d([[0, 3, 4, 5]], [[[1, 2]], [[0.5, -1]]], [0, 1])
    np.testing.assert_array_equal(y, np.array([[6, 11, 14], [-2, -1.5, -2]]), strict=True)


def test_the_first_seven_arguments_are_positional_in_the_order_of_pytorch(rng: Rng) -> None:
    x, w, bias = (small_integers(rng, shape, "float32") for shape in ((2, 6, 40), (4, 3, 5), (4,)))
    named = conv1d(x, w, bias=bias, stride=2, padding=3, dilation=4, groups=2)
    np.testing.assert_array_equal(conv1d(x, w, bias, 2, 3, 4, 2), named, strict=True)
    assert_exact(named, x, w, bias, stride=2, padding=3, dilation=4, groups=2)


@pytest.mark.nojit
def test_no_flip_and_no_conjugation() -> None:
    y = conv1d(np.array([1 + 1j, 2, 3j]), np.array([1j, 1]))
    np.testing.assert_array_equal(y, np.array([1 + 1j, 5j]), strict=True)


# -- shapes -----------------------------------------------------------------------------------------

SHAPES = {
    "NCW": ("NCW", (2, 4, 30), (6, 4, 3), (2, 6, 28)),
    "channels_first": ("channels_first", (2, 4, 30), (6, 4, 3), (2, 6, 28)),
    "NCW, unbatched": ("NCW", (4, 30), (6, 4, 3), (6, 28)),
    "NWC": ("NWC", (2, 30, 4), (3, 4, 6), (2, 28, 6)),
    "channels_last": ("channels_last", (2, 30, 4), (3, 4, 6), (2, 28, 6)),
    "NWC, unbatched": ("NWC", (30, 4), (3, 4, 6), (28, 6)),
    "N=0": ("NCW", (0, 4, 30), (6, 4, 3), (0, 6, 28)),
    "N=0, NWC": ("NWC", (0, 30, 4), (3, 4, 6), (0, 28, 6)),
    "one filter": ("NCW", (30,), (3,), (28,)),
    "one filter, NWC": ("NWC", (30,), (3,), (28,)),
    "one filter, rank 2": ("NCW", (7, 30), (3,), (7, 28)),
    "one filter, rank 3": ("NWC", (2, 7, 30), (3,), (2, 7, 28)),
    "one filter, rank 5": ("NCW", (2, 1, 3, 2, 30), (3,), (2, 1, 3, 2, 28)),
    "one filter, no rows": ("NCW", (3, 0, 30), (3,), (3, 0, 28)),
}


@pytest.mark.parametrize(("layout", "x_shape", "w_shape", "y_shape"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_shapes(rng: Rng, dtype: str, layout: str, x_shape: Any, w_shape: Any, y_shape: Any) -> None:
    x, w = small_integers(rng, x_shape, dtype), small_integers(rng, w_shape, dtype)
    y = conv1d(x, w, data_format=layout)
    assert y.shape == y_shape
    assert_exact(y, x, w, data_format=layout)


@pytest.mark.parametrize("bias", [np.float32(3), np.array(3, np.float32), np.array([3], np.float32)])
def test_the_bias_of_one_filter(rng: Rng, bias: Any) -> None:
    x, w = small_integers(rng, (2, 3, 30), "float32"), small_integers(rng, (4,), "float32")
    np.testing.assert_array_equal(conv1d(x, w, bias), conv1d(x, w) + np.float32(3), strict=True)


# L, K, stride, padding, dilation, L_out: by hand.
LENGTHS = [
    (4, 2, 1, 0, 1, 3), (4, 4, 1, 0, 1, 1), (10, 3, 2, 0, 1, 4), (11, 3, 2, 0, 1, 5), (10, 3, 1, 1, 1, 10),
    (10, 3, 1, 0, 4, 2), (9, 3, 1, 0, 4, 1), (7, 3, 3, (2, 1), 1, 3), (0, 3, 1, (1, 2), 1, 1), (0, 1, 1, 3, 1, 6),
    (10, 3, 1, "valid", 1, 8), (10, 4, 3, "same", 1, 4), (10, 4, 3, "same_lower", 2, 4), (10, 3, 2, "causal", 5, 5),
    (9, 3, 2, "causal", 1, 5), (10, 3, 1, "full", 2, 14), (1, 5, 1, "full", 1, 5), (1, 4, 7, "same", 3, 1),
]  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize(("L", "K", "stride", "padding", "dilation", "L_out"), LENGTHS)
def test_lengths(rng: Rng, L: int, K: int, stride: int, padding: Any, dilation: int, L_out: int) -> None:
    x, w = small_integers(rng, (1, 1, L), "int64"), small_integers(rng, (1, 1, K), "int64")
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    y = conv1d(x, w, **options)
    assert y.shape == (1, 1, L_out)
    assert_exact(y, x, w, **options)


# -- padding ----------------------------------------------------------------------------------------

# With w = [1] and stride 1 the result is the padded input itself.
PADDED = {
    ("zeros", 2): [0, 0, 1, 2, 3, 0, 0],
    ("constant", (1, 0)): [0, 1, 2, 3],
    ("reflect", 2): [3, 2, 1, 2, 3, 2, 1],
    ("reflect", (0, 5)): [1, 2, 3, 2, 1, 2, 3, 2],
    ("replicate", (2, 1)): [1, 1, 1, 2, 3, 3],
    ("edge", 1): [1, 1, 2, 3, 3],
    ("circular", 2): [2, 3, 1, 2, 3, 1, 2],
    ("wrap", (4, 0)): [3, 1, 2, 3, 1, 2, 3],
    ("symmetric", 2): [2, 1, 1, 2, 3, 3, 2],
    ("symmetric", (0, 4)): [1, 2, 3, 3, 2, 1, 1],
}


@pytest.mark.nojit
@pytest.mark.parametrize(("mode", "padding"), PADDED)
def test_what_a_padding_mode_repeats(mode: str, padding: Any) -> None:
    y = conv1d(np.array([1, 2, 3]), np.array([1]), padding=padding, padding_mode=mode)
    np.testing.assert_array_equal(y, PADDED[mode, padding])


# Seven ones through three ones: how many of its samples each window has.
NAMED = {
    ("valid", 1): [3, 3, 3, 3, 3],
    ("valid", 2): [3, 3, 3],
    ("same", 1): [2, 3, 3, 3, 3, 3, 2],
    ("same", 2): [2, 3, 3, 2],
    ("same", 3): [2, 3, 2],
    ("same_lower", 2): [2, 3, 3, 2],
    ("causal", 1): [1, 2, 3, 3, 3, 3, 3],
    ("causal", 2): [1, 3, 3, 3],
    ("causal", 4): [1, 3],
    ("full", 1): [1, 2, 3, 3, 3, 3, 3, 2, 1],
    ("full", 2): [1, 3, 3, 3, 1],
}


@pytest.mark.nojit
@pytest.mark.parametrize(("padding", "stride"), NAMED)
def test_where_a_named_padding_puts_the_windows(padding: str, stride: int) -> None:
    y = conv1d(np.ones(7, int), np.ones(3, int), padding=padding, stride=stride)
    np.testing.assert_array_equal(y, NAMED[padding, stride])


@pytest.mark.nojit
def test_one_filter_over_many_empty_rows_sees_their_padding() -> None:
    y = conv1d(np.zeros((2, 3, 0)), np.arange(3.0), padding=(2, 1))
    np.testing.assert_array_equal(y, np.zeros((2, 3, 1)))


@pytest.mark.nojit
def test_the_odd_zero_of_same_is_on_the_right_and_of_same_lower_on_the_left() -> None:
    x, w = np.array([0, 3, 4, 5]), np.array([1, 2])
    np.testing.assert_array_equal(conv1d(x, w, padding="same"), [6, 11, 14, 5])
    np.testing.assert_array_equal(conv1d(x, w, padding="same_lower"), np.correlate(x, w, "same"))
    ones = np.ones(6, int)
    np.testing.assert_array_equal(conv1d(ones, np.ones(3, int), padding="same", stride=2), [3, 3, 2])
    np.testing.assert_array_equal(conv1d(ones, np.ones(3, int), padding="same_lower", stride=2), [2, 3, 3])


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("name", PADDING_NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_name_with_every_mode(rng: Rng, layout: str, name: str, mode: str) -> None:
    problem = some_arrays(rng, layout=layout)
    for stride, dilation in itertools.product((1, 2, 3), (1, 2)):
        options = {"padding": name, "padding_mode": mode, "stride": stride, "dilation": dilation}
        assert_exact(conv1d(**problem, **options), **problem, **options)


def test_tuples_of_one_stand_for_ints(rng: Rng) -> None:
    problem = some_arrays(rng)
    expected = conv1d(**problem, stride=2, padding=3, dilation=2)
    y = conv1d(**problem, stride=(2,), padding=[3], dilation=(np.int64(2),), groups=[1])
    np.testing.assert_array_equal(y, expected, strict=True)


# -- dtypes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(rng: Rng, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout)
    y = conv1d(**problem, padding=1)
    assert y.dtype == dtype
    assert_exact(y, **problem, padding=1)


# Pairs of which NumPy makes a third dtype, or one of the two; spelled out, not computed.
PROMOTIONS = [
    ("int8", "int8", "int8"), ("int8", "uint8", "int16"), ("int16", "uint16", "int32"), ("int32", "int8", "int32"),
    ("int64", "uint64", "float64"), ("uint8", "uint32", "uint32"), ("int32", "uint32", "int64"),
    ("int8", "float16", "float16"), ("int16", "float16", "float32"), ("uint8", "float32", "float32"),
    ("int16", "float32", "float32"), ("int32", "float32", "float64"), ("int64", "float32", "float64"),
    ("float16", "float32", "float32"), ("float16", "float64", "float64"), ("float32", "float64", "float64"),
    ("float32", "complex64", "complex64"), ("float64", "complex64", "complex128"), ("int8", "complex64", "complex64"),
    ("int64", "complex64", "complex128"), ("complex64", "complex128", "complex128"),
]  # fmt: skip


@pytest.mark.nojit
@pytest.mark.parametrize(("one", "other", "result"), PROMOTIONS)
def test_the_dtype_of_the_result(one: str, other: str, result: str) -> None:
    x, w = np.ones((1, 3, 20)), np.ones((4, 3, 3))
    for x_dtype, w_dtype in ((one, other), (other, one)):
        assert explain(x.astype(x_dtype), w.astype(w_dtype)).problem.dtype == result


@pytest.mark.parametrize(("x_dtype", "w_dtype"), MIXED)
def test_mixed_dtypes(rng: Rng, x_dtype: str, w_dtype: str) -> None:
    """A selection of them, as each pair is compiled for itself."""
    x = abs(small_integers(rng, (2, 3, 20), int)).astype(x_dtype)
    w = abs(small_integers(rng, (4, 3, 3), int)).astype(w_dtype)
    assert_exact(conv1d(x, w), x, w)


def test_the_bias_promotes_too(rng: Rng) -> None:
    x, w = small_integers(rng, (2, 3, 20), "float32"), small_integers(rng, (4, 3, 3), "float32")
    results = {"int8": "float32", "int64": "float64", "float64": "float64"}
    for dtype, result in results.items():
        bias = small_integers(rng, (4,), dtype)
        y = conv1d(x, w, bias)
        assert y.dtype == result
        assert_exact(y, x, w, bias)


@pytest.mark.nojit
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_as_in_numpy(rng: Rng, dtype: str) -> None:
    limits = np.iinfo(dtype)
    x = np.array([limits.max, limits.min, limits.max, 3, limits.max], dtype)
    w = np.array([2, limits.max], dtype)
    with np.errstate(over="ignore"):
        expected = x[:-1] * w[0] + x[1:] * w[1]
    np.testing.assert_array_equal(conv1d(x, w), expected, strict=True)
    x, w = any_integers(rng, (2, 3, 11), dtype), any_integers(rng, (4, 3, 3), dtype)
    assert_exact(conv1d(x, w), x, w)


@pytest.mark.nojit
def test_four_hundred_in_eight_bits() -> None:
    for dtype, wrapped in (("int8", -112), ("uint8", 144)):
        np.testing.assert_array_equal(conv1d(np.full(4, 100, dtype), np.ones(4, dtype)), np.array([wrapped], dtype))


def test_float16_is_rounded_once() -> None:
    """3000 ones count to 3000 in float32 and only to 2048 in float16; 2049 halves are 1024.5, which float16 has not."""
    half = np.float16
    for ones, value, total in ((3000, 1.0, 3000), (2049, 0.5, 1024)):
        y = conv1d(np.full((1, 1, ones), value, half), np.ones((1, 1, ones), half))
        np.testing.assert_array_equal(y, np.full((1, 1, 1), total, half), strict=True)


def test_float16_that_leaves_its_range_is_infinite() -> None:
    y = conv1d(np.array([60000, 5000, -60000, 60000], np.float16), np.ones(2, np.float16))
    np.testing.assert_array_equal(y, np.array([65000, -55000, 0], np.float16), strict=True)
    with np.errstate(over="ignore"):
        y = conv1d(np.array([60000, 6000], np.float16), np.ones(2, np.float16))
    np.testing.assert_array_equal(y, np.array([np.inf], np.float16), strict=True)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", *FLOATS, "complex64", "complex128"])
def test_floats_are_within_the_bound(rng: Rng, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout, normal)
    assert_within_bound(conv1d(**problem), **problem)


# -- memory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64", "int16"])
@pytest.mark.parametrize("memory", MEMORY)
def test_odd_memory(rng: Rng, memory: str, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout)
    for name in ("x", "w", "bias"):
        odd = problem | {name: MEMORY[memory](problem[name])}
        for options in ({}, {"padding": "same", "stride": 2, "padding_mode": "reflect"}):
            assert_exact(conv1d(**odd, **options), **problem, **options)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_broadcast_memory(rng: Rng, layout: str, dtype: str) -> None:
    problem = some_arrays(rng, dtype, layout)
    for name, axis in (("x", 0), ("x", 1), ("x", 2), ("w", 0), ("w", 1), ("w", 2), ("bias", 0)):
        odd = problem | {name: broadcast(problem[name], axis)}
        assert 0 in odd[name].strides
        assert_exact(conv1d(**odd), **odd)
    everywhere = problem | {"x": np.broadcast_to(np.array(2, dtype), problem["x"].shape)}
    assert_exact(conv1d(**everywhere), **everywhere)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_window_view_of_one_signal(rng: Rng, layout: str) -> None:
    """Batches that overlap in memory, as np.lib.stride_tricks makes them."""
    signal = small_integers(rng, (200,), "float32")
    x = np.lib.stride_tricks.sliding_window_view(signal, 60)[::20][:, None, :]
    w = np.ones((3, 1, 5), np.float32)
    if layout == "NWC":
        x, w = x.swapaxes(1, 2), w.transpose(2, 1, 0)
    assert_exact(conv1d(x, w, data_format=layout), x, w, data_format=layout)


def test_a_memmap(rng: Rng, tmp_path: Path) -> None:
    problem = some_arrays(rng)
    problem["x"].tofile(tmp_path / "x")
    x = np.memmap(tmp_path / "x", np.float32, "r", shape=problem["x"].shape)
    y = conv1d(**problem | {"x": x})
    assert_exact(y, **problem)
    out = np.memmap(tmp_path / "y", np.float32, "w+", shape=y.shape)
    conv1d(**problem | {"x": x}, out=out).flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y", np.float32), y.ravel())


@pytest.mark.nojit
def test_the_result_is_a_plain_native_contiguous_array(rng: Rng) -> None:
    x = small_integers(rng, (2, 3, 12), ">f4").view(Subclass)
    y = conv1d(x, small_integers(rng, (4, 3, 3), ">f4"))
    assert type(y) is np.ndarray
    assert y.dtype == np.dtype("=f4")
    assert y.dtype.isnative
    assert y.flags.c_contiguous
    assert y.flags.writeable


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_never_written_to(rng: Rng, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout)
    before = {name: problem[name].tobytes() for name in ("x", "w", "bias")}
    for options in ({}, {"padding": "full", "padding_mode": "circular", "stride": 2}):
        conv1d(**problem, **options)
    conv1d(**problem, activation=np.negative)
    assert {name: problem[name].tobytes() for name in before} == before


# -- out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory", [name for name in MEMORY if name not in ("read-only", "byte-swapped")])
def test_out_is_filled_and_returned(rng: Rng, memory: str, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout)
    expected = conv1d(**problem)
    # Whatever is not written stays NaN, or 85.
    garbage = np.full(expected.shape, 85 if np.dtype(dtype).kind in "iu" else np.nan, dtype)
    out = MEMORY[memory](garbage)
    assert conv1d(**problem, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("layout", "x_shape", "w_shape", "y_shape"), SHAPES.values(), ids=SHAPES)
def test_out_of_every_rank(rng: Rng, layout: str, x_shape: Any, w_shape: Any, y_shape: Any) -> None:
    x, w = small_integers(rng, x_shape, "float32"), small_integers(rng, w_shape, "float32")
    for memory in ("contiguous", "every other", "transposed"):
        out = MEMORY[memory](np.full(y_shape, np.nan, np.float32))
        assert conv1d(x, w, data_format=layout, out=out) is out
        assert_exact(out, x, w, data_format=layout)


def test_what_lies_between_the_elements_of_out_is_left_alone(rng: Rng) -> None:
    for layout in LAYOUTS:
        problem = some_arrays(rng, layout=layout)
        expected = conv1d(**problem)
        wide = np.full(tuple(2 * n + 6 for n in expected.shape), 7, np.float32)
        holes = np.full(wide.shape, True)
        window = tuple(slice(3, 3 + 2 * n, 2) for n in expected.shape)
        holes[window] = False
        conv1d(**problem, out=wide[window])
        np.testing.assert_array_equal(wide[window], expected)
        np.testing.assert_array_equal(wide[holes], 7)


def test_out_that_does_not_fit_is_refused(rng: Rng) -> None:
    problem = some_arrays(rng)
    shape = conv1d(**problem).shape
    read_only = np.empty(shape, np.float32)
    read_only.flags.writeable = False
    for out, error, message in (
        (np.empty((*shape[:2], 36), np.float32), ValueError, r"\(2, 9, 36\).*\(2, 9, 35\)"),
        (np.empty(shape[1:], np.float32), ValueError, r"\(9, 35\).*\(2, 9, 35\)"),
        (np.empty(shape, np.float64), TypeError, "float64.*float32"),
        (np.empty(shape, np.dtype(np.float32).newbyteorder()), TypeError, "f4.*float32"),
        (read_only, ValueError, "read-only"),
        (np.ma.empty(shape, np.float32), TypeError, "masked"),
        ([[1.0]], TypeError, "list"),
    ):
        with pytest.raises(error, match=message):
            conv1d(**problem, out=out)


OVERLAPS = {
    "x itself": lambda x, w, bias: x,
    "x backwards": lambda x, w, bias: x[:, :, ::-1],
    "x, batch exchanged": lambda x, w, bias: x[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_out_may_be_x(rng: Rng, overlap: str, dtype: str, layout: str) -> None:
    x, w = in_layout(layout, small_integers(rng, (2, 6, 300), dtype), small_integers(rng, (6, 6, 3), dtype))
    options = {"padding": "same", "data_format": layout}
    expected = conv1d(x, w, **options)
    out = OVERLAPS[overlap](x, w, None)
    assert conv1d(x, w, **options, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
@pytest.mark.parametrize("shift", [-40, -3, -1, 1, 2, 40])
def test_out_may_be_x_some_samples_on(rng: Rng, shift: int, dtype: str) -> None:
    memory = small_integers(rng, (400,), dtype)
    w = small_integers(rng, (3,), dtype)
    x, out = memory[50:302], memory[50 + shift : 300 + shift]
    expected = conv1d(x, w)
    conv1d(x, w, out=out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("operand", ["w", "bias"])
def test_out_may_overlap_w_or_bias(rng: Rng, operand: str, dtype: str) -> None:
    memory = small_integers(rng, (2000,), dtype)
    x = small_integers(rng, (1, 4, 52), dtype)
    w, bias = small_integers(rng, (8, 4, 3), dtype), small_integers(rng, (8,), dtype)
    if operand == "w":
        w = memory[100:196].reshape(8, 4, 3)
    else:
        bias = memory[150:158]
    expected = conv1d(x, w, bias)
    out = memory[90:490].reshape(1, 8, 50)
    conv1d(x, w, bias, out=out)
    np.testing.assert_array_equal(out, expected)


def test_out_may_overlap_with_an_activation_that_is_a_function(rng: Rng) -> None:
    x = small_integers(rng, (300,), "float32")
    expected = conv1d(x, np.ones(3, np.float32), padding="same", activation=np.negative)
    y = conv1d(x, np.ones(3, np.float32), padding="same", activation=np.negative, out=x)
    assert y is x
    np.testing.assert_array_equal(x, expected)


# -- activation -------------------------------------------------------------------------------------

VALUES = np.concatenate([np.linspace(-12, 12, 2001), np.geomspace(1e-6, 80, 500), -np.geomspace(1e-6, 80, 500), [0.0]])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", *FLOATS])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_follow_their_formula(name: str, dtype: str, layout: str) -> None:
    """The sum is exact here, so that what remains is the activation: within 4 eps of its value at an argument that is 4
    eps away (1 where the arithmetic is in a wider dtype), and what the formula itself loses in float64 by cancellation.
    """
    x = VALUES.astype(dtype)
    data, w = in_layout(layout, x.reshape(1, 1, -1), np.ones((1, 1, 1), dtype))
    y = conv1d(data, w, data_format=layout, activation=name).ravel()
    assert y.dtype == dtype
    eps = float(np.finfo(dtype).eps) * (1 if dtype == "float16" else 4)
    exact = x.astype(np.float64)
    expected, below, above = (ACTIVATIONS[name](exact * factor) for factor in (1, 1 - eps, 1 + eps))
    tolerance = eps * abs(expected) + abs(above - below) + 2.0**-50 * (1 + abs(exact))
    np.testing.assert_array_less(abs(y - expected), tolerance + float(np.finfo(dtype).smallest_subnormal))


SPECIAL = {
    "relu": (0.0, np.inf),
    "silu": (np.nan, np.inf),
    "gelu": (np.nan, np.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "softplus": (0.0, np.inf),
    "leaky_relu": (-np.inf, np.inf),
    "elu": (-1.0, np.inf),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_special_values(name: str, dtype: str) -> None:
    """Large sums do not overflow on the way, NaN stays, and infinity is what the formula makes of it."""
    x = np.array([np.nan, -np.inf, np.inf, -1e4, 1e4], dtype)
    y = conv1d(x, np.ones(1, dtype), activation=name)
    low, high = SPECIAL[name]
    far = {"leaky_relu": -100.0}.get(name, 0.0 if np.isnan(low) else low)
    np.testing.assert_array_equal(y, np.array([np.nan, low, high, far, min(high, 1e4)], dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_relu_of_integers(rng: Rng, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout)
    y = conv1d(**problem, activation="relu")
    np.testing.assert_array_equal(y, np.maximum(conv1d(**problem), 0), strict=True)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int32"])
def test_an_activation_may_be_a_function_of_the_array(rng: Rng, dtype: str) -> None:
    problem = some_arrays(rng, dtype)
    seen = []

    def squared(y: Any) -> Any:
        seen.append((y.shape, y.dtype))
        return y * y

    y = conv1d(**problem, activation=squared)
    plain = conv1d(**problem)
    np.testing.assert_array_equal(y, plain * plain, strict=True)
    assert seen == [(plain.shape, plain.dtype)]
    out = np.empty_like(plain)
    assert conv1d(**problem, activation=squared, out=out) is out
    np.testing.assert_array_equal(out, y, strict=True)


# -- errors --------------------------------------------------------------------------------------------

ONES, W = np.ones((2, 4, 9), np.float32), np.ones((6, 4, 3), np.float32)
Sides = namedtuple("Sides", "left right")
ERRORS = {
    "channels": ((np.ones((2, 5, 9)), W), {}, ValueError, r"\(2, 5, 9\).*\(6, 4, 3\)"),
    "rank of x": ((np.ones((1, 2, 4, 9)), W), {}, ValueError, r"\(1, 2, 4, 9\)"),
    "rank of w": ((ONES, np.ones((6, 4))), {}, ValueError, r"\(6, 4\)"),
    "scalar": ((np.float32(1), np.ones(1)), {}, ValueError, "x"),
    "bias": ((ONES, W, np.ones(5)), {}, ValueError, r"\(6,\).*\(5,\)"),
    "too long": ((np.ones(4), np.ones(5)), {}, ValueError, "L=4.*K=5.*L_out=0"),
    "too long, dilated": ((ONES, W), {"dilation": 5}, ValueError, "L=9.*K=3.*dilation=5.*stride=1.*L_out=-1"),
    "groups": ((ONES, W), {"groups": 3}, ValueError, "groups=3"),
    "no taps": ((ONES, W[..., :0]), {}, ValueError, "K=0"),
    "nothing to reflect": ((ONES[..., :0], W), {"padding": 3, "padding_mode": "reflect"}, ValueError, "L=0"),
    "negative padding": ((ONES, W), {"padding": -1}, ValueError, "-1"),
    "three paddings": ((ONES, W), {"padding": (1, 2, 3)}, ValueError, r"\(1, 2, 3\)"),
    "unknown padding": ((ONES, W), {"padding": "SAME"}, ValueError, "same.*SAME"),
    "unknown mode": ((ONES, W), {"padding_mode": "mirror"}, ValueError, "reflect.*mirror"),
    "unknown layout": ((ONES, W), {"data_format": "NLC"}, ValueError, "NWC.*NLC"),
    "unknown activation": ((ONES, W), {"activation": "swish"}, ValueError, "silu.*swish"),
    "activation of a wrong type": ((ONES, W), {"activation": 3}, TypeError, "3"),
    "gelu of integers": ((ONES.astype(int), W.astype(int)), {"activation": "gelu"}, TypeError, "int64"),
    "relu of complex": ((ONES.astype("F"), W), {"activation": "relu"}, TypeError, "complex64"),
    "stride 0": ((ONES, W), {"stride": 0}, ValueError, "stride.*0"),
    "two strides": ((ONES, W), {"stride": (1, 2)}, ValueError, r"\(1, 2\)"),
    "stride of a float": ((ONES, W), {"stride": 1.0}, TypeError, "stride"),
    "stride of a bool": ((ONES, W), {"stride": True}, TypeError, "stride"),
    "groups of a bool": ((ONES, W), {"groups": True}, TypeError, "groups"),
    "dilation of a float": ((ONES, W), {"dilation": 1.0}, TypeError, "dilation"),
    "padding of a float": ((ONES, W), {"padding": 0.0}, TypeError, "padding"),
    "stride of a bool in a tuple": ((ONES, W), {"stride": (True,)}, TypeError, "stride"),
    "dilation of a float in a tuple": ((ONES, W), {"dilation": (1.0,)}, TypeError, "dilation"),
    "groups of a bool in a tuple": ((ONES, W), {"groups": (True,)}, TypeError, "groups"),
    "padding of a bool in a tuple": ((ONES, W), {"padding": (False, 0)}, TypeError, "padding"),
    "padding of a float in a named tuple": ((ONES, W), {"padding": Sides(0.0, 0)}, TypeError, "padding"),
    "bool": ((ONES > 0, W), {}, TypeError, "bool"),
    "object": ((ONES.astype(object), W), {}, TypeError, "object"),
    "string": ((np.array(["a", "b"]), np.ones(1)), {}, TypeError, "<U1"),
    "dates": ((ONES.astype(int).astype("M8[s]"), W), {}, TypeError, "datetime64"),
    "bool w": ((ONES, W > 0), {}, TypeError, "bool"),
    "bool bias": ((ONES, W, np.ones(6, bool)), {}, TypeError, "bool"),
    "masked x": ((np.ma.array(ONES), W), {}, TypeError, "mask"),
    "masked w": ((ONES, np.ma.array(W)), {}, TypeError, "mask"),
    "ragged": (([[1, 2], [3]], [1]), {}, ValueError, "x"),
}


@pytest.mark.nojit
@pytest.mark.parametrize(("arrays", "options", "error", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(arrays: Any, options: Any, error: type[Exception], message: str) -> None:
    """After calls with the defaults, also in tuples, so that no cache takes True or 1.0 for the 1 that it knows."""
    conv1d(ONES[..., :3], W)
    conv1d(ONES, W)
    for name, default in {"stride": (1,), "padding": (0, 0), "dilation": (1,), "groups": (1,)}.items():
        conv1d(ONES, W, **{name: default})  # type: ignore[arg-type]
    conv1d(ONES, W, padding=Sides(0, 0))
    with pytest.raises(error, match=message):
        conv1d(*arrays, **options)


def test_a_number_that_changes_is_looked_at_each_time() -> None:
    class Number:
        value = 1

        def __index__(self) -> int:
            return self.value

    stride = Number()
    for stride.value in (1, 2, 3):
        assert conv1d(ONES, W, stride=stride).shape == (2, 6, 6 // stride.value + 1)
        assert conv1d(ONES, W, stride=(stride,)).shape == conv1d(ONES, W, stride=stride.value).shape


# -- memory of a call ----------------------------------------------------------------------------------

VIEWS = {
    "contiguous": lambda large: large[:, :1_000_000, :4],
    "reversed": lambda large: large[:, 999_999::-1, 3::-1],
    "every other": lambda large: large[:, ::2, ::2],
    "transposed": lambda large: large[:, :4, :1_000_000].swapaxes(1, 2),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("view", VIEWS)
def test_x_is_not_copied_whole(view: str, layout: str) -> None:
    """x in any strides, padded, strided and dilated: what NumPy allocates for a call is less than half of it."""
    shape = (1, 2_000_000, 8) if view != "transposed" else (1, 8, 2_000_000)
    x = VIEWS[view](np.ones(shape, np.float32))
    w, bias = np.ones((5, 4, 4), np.float32), np.ones(4, np.float32)
    if layout == "NCW":
        x, w = x.swapaxes(1, 2), w.transpose(2, 1, 0)
    for options in (
        {"padding": "same"},
        {"padding": 900, "padding_mode": "reflect", "dilation": 7},
        {"padding": "causal", "stride": 3},
    ):
        options |= {"data_format": layout, "activation": "relu"}
        out = conv1d(x, w, bias, **options)
        tracemalloc.start()
        try:
            conv1d(x, w, bias, **options, out=out)
            assert tracemalloc.get_traced_memory()[1] < x.nbytes / 2
        finally:
            tracemalloc.stop()


def test_a_large_result_keeps_its_memory_for_as_long_as_a_view_of_it_lives() -> None:
    """The memory of a dropped result may serve the next: never while something still looks at it."""
    w = np.ones(2, np.float32)
    shape = (4, LARGE_RESULT_BYTES // 16 + 1001)

    def result(value: float) -> Any:
        return conv1d(np.full(shape, value, np.float32), w)

    first, second = result(1), result(2)
    assert first.nbytes >= LARGE_RESULT_BYTES
    np.testing.assert_array_equal(first[:, ::999], 2)
    views = [first[1:, ::7], memoryview(second).cast("B"), second.T]
    del first, second
    for value in (3, 4, 5):
        kept = result(value)
        np.testing.assert_array_equal(kept[:, ::999], 2 * value)
        del kept
    np.testing.assert_array_equal(views[0][:, ::99], 2)
    np.testing.assert_array_equal(np.frombuffer(views[1], np.float32)[::999], 4)
    np.testing.assert_array_equal(views[2][::999], 4)


# -- the same again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float16", *FLOATS, "complex64"])
def test_the_same_call_gives_the_same_bits(rng: Rng, dtype: str, layout: str) -> None:
    problem = some_arrays(rng, dtype, layout, normal)
    first = conv1d(**problem, padding="same")
    for _ in range(5):
        np.testing.assert_array_equal(conv1d(**problem, padding="same"), first, strict=True)


def test_an_error_leaves_out_as_it_was(rng: Rng) -> None:
    problem = some_arrays(rng)
    out = np.full((2, 9, 35), 7, np.float32)
    with pytest.raises(ValueError, match="groups"):
        conv1d(**problem, groups=2, out=out)
    np.testing.assert_array_equal(out, 7)
