"""Random problems for conv1d, hard memory for their arrays, and the comparison with the oracle.

Shared by the tests and by fuzz.py. Nothing in here calls conv1d; the lengths and dtypes that it expects are its own.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv1d import reference

Array = np.ndarray[Any, Any]


def remembering(oracle: Callable[..., Array]) -> Callable[..., Array]:
    """The oracle, which is asked for the same problem once for each algorithm, and remembers its last answers."""
    answers: dict[bytes, Array] = {}

    def answer(*arrays: Array | None, **options: Any) -> Array:
        problem = pickle.dumps((arrays, options))
        if problem not in answers:
            if len(answers) == 4:
                del answers[next(iter(answers))]  # the oldest
            answers[problem] = oracle(*arrays, **options)
            answers[problem].flags.writeable = False
        return answers[problem]

    return answer


conv1d_reference = remembering(reference.conv1d_reference)
conv1d_magnitude = remembering(reference.conv1d_magnitude)

FLOATS = ("float32", "float64")
HALF_AND_COMPLEX = ("float16", "complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = FLOATS + HALF_AND_COMPLEX + INTEGERS

# Dtypes of x and w that make another one, or one of the two. A selection: each pair is compiled for itself.
MIXED = (
    ("int8", "uint8"),  # int16
    ("uint32", "int32"),  # int64
    ("int64", "uint64"),  # float64
    ("int16", "float32"),
    ("int8", "float16"),
    ("float32", "int64"),  # float64
    ("float64", "float32"),
    ("float32", "float64"),
    ("float32", "complex64"),
    ("complex64", "float64"),  # complex128
    ("int32", "int8"),
    ("float64", "float16"),
)

PADDING_NAMES = ("valid", "same", "same_lower", "causal", "full")
PADDING_MODES = ("zeros", "reflect", "replicate", "circular", "symmetric")
LAYOUTS = ("NCW", "NWC")

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _logistic(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(x / 2))


#: Each activation as its textbook writes it, for float64 and moderate x.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _logistic(x),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "tanh": np.tanh,
    "sigmoid": _logistic,
    "softplus": lambda x: np.logaddexp(0, x),  # log(1 + exp(x))
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "elu": lambda x: np.where(x >= 0, x, np.expm1(x)),
}

# The steepest slope of them: gelu has 1.13, silu 1.10, the others at most 1.
STEEPEST = 1.13


# -- values -----------------------------------------------------------------------------------------


def small_integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return -3..3 (wrapped, if unsigned): every sum of up to 1.8 million products is exact in float32."""
    values = rng.integers(-3, 4, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.integers(-3, 4, shape)
    return values.astype(dtype)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    values = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return values.astype(dtype)


def positive(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return numbers whose sums only grow, and the errors with them: nothing cancels."""
    return rng.random(shape).astype(dtype)


def any_integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return integers from the whole range of the dtype: their products wrap."""
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def in_layout(data_format: str, x: Array, w: Array) -> tuple[Array, Array]:
    """Return x (N, C, L) and w (C_out, C_in/groups, K) in the layout, contiguous."""
    if data_format == "NCW":
        return x, w
    return np.ascontiguousarray(x.swapaxes(-1, -2)), np.ascontiguousarray(w.transpose(2, 1, 0))


# -- memory -----------------------------------------------------------------------------------------


def _reversed(a: Array) -> Array:
    back = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[back])[back]


def _every_other(a: Array) -> Array:
    wide = np.zeros(tuple(2 * n for n in a.shape), a.dtype)
    view = wide[(slice(1, None, 2),) * a.ndim]
    view[...] = a
    return view


def _inside(a: Array) -> Array:
    """Cut from a larger array: contiguous along the last axis only, not aligned to a vector."""
    large = np.zeros(tuple(n + 3 for n in a.shape), a.dtype)
    view = large[tuple(slice(1, 1 + n) for n in a.shape)]
    view[...] = a
    return view


def _transposed(a: Array) -> Array:
    return np.ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1)


def _unaligned(a: Array) -> Array:
    view = np.frombuffer(bytearray(a.nbytes + 1), np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _odd_pitch(a: Array) -> Array:
    """Rows with a byte after each, as those of records: most are not aligned, nor whole elements apart."""
    *outer, n = a.shape
    strides, pitch = [a.itemsize], n * a.itemsize + 1
    for size in reversed(outer):
        strides, pitch = [pitch, *strides], pitch * size
    view: Array = np.ndarray(a.shape, a.dtype, bytearray(max(pitch, 1)), strides=strides)
    view[...] = a
    return view


def _offset(a: Array) -> Array:
    """One element past wherever the allocator put it: aligned for the dtype, not for a vector."""
    view = np.zeros(a.size + 1, a.dtype)[1:].reshape(a.shape)
    view[...] = a
    return view


def _read_only(a: Array) -> Array:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


class Subclass(np.ndarray[Any, Any]):
    pass


#: Ways to keep the same values. All of them may also be written to, but for "read-only".
MEMORY: dict[str, Callable[[Array], Array]] = {
    "contiguous": np.array,
    "reversed": _reversed,
    "every other": _every_other,
    "inside": _inside,
    "transposed": _transposed,
    "Fortran": lambda a: np.array(a, order="F"),
    "unaligned": _unaligned,
    "offset": _offset,
    "odd pitch": _odd_pitch,
    "read-only": _read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "subclass": lambda a: a.copy().view(Subclass),
}


def broadcast(a: Array, axis: int) -> Array:
    """Return a with its first element along the axis everywhere: stride 0."""
    return np.broadcast_to(a.take([0], axis) if a.shape[axis] else a, a.shape)


# -- comparison with the oracle ---------------------------------------------------------------------


def result_dtype(x: Array, w: Array, bias: Array | None = None) -> np.dtype[Any]:
    return np.result_type(*(a.dtype for a in (x, w, bias) if a is not None)).newbyteorder("=")


def assert_exact(y: Array, x: Array, w: Array, bias: Array | None = None, **options: Any) -> None:
    """The oracle's result, rounded once to the dtype: for integers, and for floats whose sums are exact."""
    expected = conv1d_reference(x, w, bias, **options).astype(result_dtype(x, w, bias))
    np.testing.assert_array_equal(y, expected, strict=True)


def assert_within_bound(
    y: Array, x: Array, w: Array, bias: Array | None = None, *, units: float | None = None, **options: Any
) -> None:
    """At most so many units from the oracle; by default as many as the contract allows the direct sum."""
    allowed = bound(x, w, bias, **options) if units is None else units
    error = error_in_units(y, x, w, bias, **options)
    assert error <= allowed, f"off by {error:.2f} units, {allowed:.2f} are allowed"


def assert_within_units_of_the_row(
    y: Array, x: Array, w: Array, bias: Array | None = None, *, units: float, **options: Any
) -> None:
    """At most so many units of what sum|x||w| could be in each row: for algorithms that transform blocks."""
    magnitude = row_magnitude(x, w, bias, **options)
    allowed = (units + 2 * (bias is not None)) * (STEEPEST if options.get("activation") else 1)
    error = error_in_units(y, x, w, bias, magnitude=magnitude, **options)
    assert error <= allowed, f"off by {error:.2f} units of the row, {allowed:.2f} are allowed"


def row_magnitude(
    x: Array, w: Array, bias: Array | None = None, *, data_format: str = "NCW", groups: int = 1, **options: Any
) -> Array:
    """Return the sum over channels of max|x| times sum|w|, and |bias|: no window of the row has a larger sum|x||w|."""
    wide = np.float64
    rows, taps = np.nan_to_num(abs(x.astype(wide)), posinf=0), abs(w.astype(wide))
    if w.ndim == 1:
        return rows.max(-1, initial=0, keepdims=True) * taps.sum() + (0 if bias is None else abs(bias.astype(wide)))
    channels_last = data_format in ("NWC", "channels_last")
    if channels_last:
        rows, taps = rows.swapaxes(-1, -2), taps.transpose(2, 1, 0)
    peaks = rows.max(-1, initial=0)
    peaks = peaks.reshape(*peaks.shape[:-1], groups, taps.shape[1])
    sums = taps.sum(-1).reshape(groups, -1, taps.shape[1])
    scale = np.einsum("...gc,grc->...gr", peaks, sums).reshape(*peaks.shape[:-2], len(taps))
    scale = scale + (0 if bias is None else abs(bias.astype(wide)))
    return scale[..., None, :] if channels_last else scale[..., None]


def bound(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    data_format: str = "NCW",
    activation: object = None,
    **options: Any,
) -> float:
    """Return the units of error that the contract allows: min(n, 16), and what bias, dtype and activation add."""
    C_out = 1 if w.ndim == 1 else w.shape[2] if data_format in ("NWC", "channels_last") else w.shape[0]
    dtype = result_dtype(x, w, bias)
    units: float = min(w.size // C_out, 16) + (bias is not None)
    if dtype.kind == "c":
        units += 3  # a complex product is off by up to sqrt(8) units by itself
    if dtype in (np.float64, np.complex128):
        units += 1  # the oracle's result is rounded to float64 itself
        if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
            units *= 2  # and here its sums are too
    return units * (STEEPEST if activation else 1)


def error_in_units(
    y: Array,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    activation: str | None = None,
    sums: Array | None = None,
    magnitude: Array | None = None,
    **options: Any,
) -> float:
    """Return the largest |y - y64| in units of u * sum|x||w|, u = eps/2; infinity where y may not differ at all.

    sums are the exact ones, by default the oracle's; magnitude replaces sum|x||w|.

    That is for integers, and where the oracle has NaN or infinity. Not counted as errors of the sum are the one
    rounding to float16, and eight roundings of 1 + |sum| for the arithmetic of an activation.
    """
    dtype = result_dtype(x, w, bias)
    sums = conv1d_reference(x, w, bias, **options) if sums is None else sums
    if dtype.kind in "iu":
        sums = sums.astype(dtype)  # wrapped, before any activation
    magnitude = conv1d_magnitude(x, w, bias, **options) if magnitude is None else magnitude
    with np.errstate(all="ignore"):
        expected = sums if activation is None else ACTIVATIONS[activation](sums)
        np.testing.assert_equal((y.shape, y.dtype), (expected.shape, dtype))
        if dtype.kind in "iu":
            return 0.0 if np.array_equal(y, expected) else math.inf

        u = np.finfo(np.float32 if dtype == np.float16 else dtype).eps / 2
        free = np.zeros(expected.shape)
        if activation is not None:
            free += 8 * u * (1 + abs(sums))
        if dtype == np.float16:
            expected = np.where(abs(expected) < 65520, expected, expected.astype(np.float16))
            free += 2.0**-11 * abs(expected) + 2.0**-25
        exempt = ~np.isfinite(expected)
        wide = y.astype(expected.dtype)
        same = (wide == expected) | (np.isnan(wide) & np.isnan(expected))
        error = np.maximum(np.where(exempt, 0, abs(wide - expected) - free), 0)
        # Where an activation took an infinite sum to a finite value, there is nothing to be relative to.
        scale = np.where(np.isfinite(magnitude), u * magnitude, 0)
        ratio = np.where(error == 0, 0, error / scale)  # x / 0 is infinity
    ratio = np.where(exempt & ~same | np.isnan(ratio), math.inf, ratio)
    return float(ratio.max(initial=0))


# -- random problems --------------------------------------------------------------------------------

# Where the vectors and the panels of a register tile end, for any machine: multiples of 8 and 16, one less, one more.
EDGES = tuple(n + d for n in (8, 16, 32, 48, 64, 96, 128) for d in (-1, 0, 1))
CHANNEL_EDGES = (*range(1, 10), 15, 16, 17, 23, 24, 25)
# Where channels stand in the lanes they fill vectors and tiles as times do elsewhere, and every remainder can go wrong.
WIDE_CHANNELS = (31, 33, 38, 47, 49, 50, 58, 63, 65, 74, 90, 97, 113, 120, 127, 129, 180, 250)


def random_problem(
    rng: np.random.Generator, *, dtypes: tuple[str, ...] = DTYPES, largest: int = 200_000
) -> dict[str, Any]:
    """Return the arguments of a conv1d that is legal, from all corners of the contract: x, w and the options.

    Floats are normally distributed, one problem in thirty has NaN and infinities among them. Integers are of any size
    where they wrap. The arrays lie in memory in all sorts of ways. largest bounds the number of products.
    """
    while True:
        options = _random_options(rng)
        N, C_in_g, C_out_g, K, L = _random_sizes(rng, options)
        if N * options["groups"] * C_in_g * C_out_g * K * L <= largest * options["stride"]:
            break
    groups = options["groups"]
    L = _long_enough(L, K, options)
    x_dtype, w_dtype, bias_dtype = _random_dtypes(rng, dtypes)
    arrays = {"x": ((N, groups * C_in_g, L), x_dtype), "w": ((groups * C_out_g, C_in_g, K), w_dtype)}
    if rng.random() < 0.5:
        arrays["bias"] = ((groups * C_out_g,), bias_dtype)

    dtype = np.result_type(x_dtype, w_dtype, bias_dtype)
    problem: dict[str, Any] = {name: _random_values(rng, *array, dtype) for name, array in arrays.items()}
    if dtype.kind == "f" and rng.random() < 1 / 30:
        _plant(rng, problem["x"])
        if rng.random() < 0.3:
            _plant(rng, problem["w"])
    if groups * C_in_g * C_out_g == 1 and rng.random() < 0.5:  # one filter along the last axis
        problem["x"] = problem["x"].reshape([(L,), (N, L), (N, 1, L), (1, N, 1, L)][rng.integers(N != 1, 4)])
        problem["w"] = problem["w"].reshape(K)
        if "bias" in problem and rng.random() < 0.5:
            problem["bias"] = problem["bias"].reshape(())
    else:
        problem["x"], problem["w"] = in_layout(options["data_format"], problem["x"], problem["w"])
        if N == 1 and rng.random() < 0.3:
            problem["x"] = problem["x"][0]
    if dtype.kind == "f" and rng.random() < 0.2:
        options["activation"] = str(rng.choice(list(ACTIVATIONS)))
    elif dtype.kind in "iu" and rng.random() < 0.1:
        options["activation"] = "relu"
    return {name: _random_memory(rng, a) for name, a in problem.items()} | options


def _random_options(rng: np.random.Generator) -> dict[str, Any]:
    def mostly_1(most: int) -> int:
        return 1 if rng.random() < 0.5 else int(rng.integers(1, most + 1))

    options = {
        "stride": mostly_1(5),
        "dilation": mostly_1(6),
        "groups": 1 if rng.random() < 0.6 else int(rng.choice([2, 3, 4, 7, 8, 16, 17, 32])),
        "padding_mode": "zeros" if rng.random() < 0.5 else str(rng.choice(PADDING_MODES)),
        "data_format": str(rng.choice(LAYOUTS)),
    }
    kind = rng.integers(4)
    if kind == 0:
        options["padding"] = str(rng.choice(PADDING_NAMES))
    elif kind == 1:
        options["padding"] = int(rng.integers(0, 12))
    elif kind == 2:
        options["padding"] = (int(rng.integers(0, 40)), int(rng.integers(0, 40)))
    return options


def _random_sizes(rng: np.random.Generator, options: dict[str, Any]) -> tuple[int, ...]:
    """Return N, C_in_g, C_out_g, K, L of one of eight families."""

    def upto(most: int) -> int:
        return int(rng.integers(1, most + 1))

    N = int(rng.choice([0, 1, 1, 1, 2, 3], p=[0.02, 0.26, 0.26, 0.26, 0.1, 0.1]))
    channels = [int(c) for c in rng.choice((*CHANNEL_EDGES, *WIDE_CHANNELS), 2)]
    match rng.integers(8):
        case 0:  # tiny
            return N, upto(3), upto(3), upto(5), int(rng.integers(0, 20))
        case 1:  # tails of the tile
            return N, upto(4), upto(9), upto(4), int(rng.choice(EDGES)) * options["stride"]
        case 2:  # tails of the panel
            return N, *channels, upto(3), upto(40)
        case 3:  # depthwise
            options["groups"] = int(rng.choice([1, 2, 3, 5, 8, 16, 17, 33, 64]))
            return N, 1, upto(3), upto(12), int(rng.choice(EDGES)) + upto(30)
        case 4:  # long kernels
            return 1, upto(2), upto(3), int(rng.choice([31, 64, 100, 128, 255, 300])), int(rng.integers(0, 700))
        case 5:  # deep
            options["groups"] = int(rng.choice([1, 1, 2]))
            return N, upto(130), upto(40), upto(3), upto(40)
        case 6:  # long
            options["groups"] = int(rng.choice([1, 2, 4]))
            return N, upto(2), upto(4), upto(7), upto(6000)
        case _:  # large
            options["groups"] = int(rng.choice([1, 2, 4]))
            return N, upto(70), upto(70), upto(5), upto(2000)


def _long_enough(L: int, K: int, options: dict[str, Any]) -> int:
    """Return L, or the least length above it at which the kernel fits and the padding has something to repeat."""
    K_span = (K - 1) * options["dilation"] + 1
    padding = options.get("padding", 0)
    if padding == "valid":
        padding = 0
    if isinstance(padding, str):
        return max(L, 1)
    total = 2 * padding if isinstance(padding, int) else sum(padding)
    return max(L, K_span - total, 0 if options["padding_mode"] == "zeros" or total == 0 else 1)


def _random_dtypes(rng: np.random.Generator, dtypes: tuple[str, ...]) -> tuple[str, str, str]:
    """Return the dtypes of x, w and bias: mostly one, mostly a float."""
    mixed = [pair for pair in MIXED if set(pair) <= set(dtypes)]
    if mixed and rng.random() < 0.2:
        x, w = mixed[rng.integers(len(mixed))]
        return x, w, w
    floats = [name for name in dtypes if name in FLOATS] or dtypes
    one = str(rng.choice(floats if rng.random() < 0.5 else dtypes))
    return one, one, one


def _random_values(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, result: np.dtype[Any]) -> Array:
    if result.kind in "iu":
        return any_integers(rng, shape, dtype)
    if np.dtype(dtype).kind in "iu":
        return abs(small_integers(rng, shape, int)).astype(dtype)
    return normal(rng, shape, dtype)


def _plant(rng: np.random.Generator, a: Array) -> None:
    if a.size and a.dtype.kind == "f":
        a.flat[rng.integers(0, a.size, 2)] = rng.choice([np.nan, np.inf, -np.inf], 2)


def _random_memory(rng: np.random.Generator, a: Array) -> Array:
    if a.ndim == 0 or rng.random() < 0.5:
        return a
    if rng.random() < 0.1:
        return broadcast(a, int(rng.integers(a.ndim)))
    return MEMORY[str(rng.choice(list(MEMORY)))](a)
