"""What is to be computed: the arguments of conv1d as one frozen value.

``describe`` turns shapes, dtypes and options into a ``Conv1dProblem`` and raises every error that they deserve. Behind
it no named padding, no scalar-or-pair and no unbatched shape exists. The formula of the output length lives here only.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import reprlib
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Number
from typing import TYPE_CHECKING, Any, ParamSpec, SupportsIndex

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
P = ParamSpec("P")

PADDING_MODES = {mode: mode for mode in ("zeros", "reflect", "replicate", "circular", "symmetric")}
PADDING_MODES |= {"constant": "zeros", "edge": "replicate", "wrap": "circular"}  # NumPy's names

#: Whether the channels come last.
DATA_FORMATS = {"NCW": False, "channels_first": False, "NWC": True, "channels_last": True}

ACTIVATIONS = ("relu", "silu", "gelu", "tanh", "sigmoid", "softplus", "leaky_relu", "elu")

#: (pad_left, pad_right) from ``reach``, how far a window extends beyond its first sample, and ``lack``, the samples
#: that x is short of for ceil(L / stride) windows.
PADDINGS: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "valid": lambda reach, lack: (0, 0),
    "same": lambda reach, lack: (lack // 2, lack - lack // 2),
    "same_lower": lambda reach, lack: (lack - lack // 2, lack // 2),
    "causal": lambda reach, lack: (reach, 0),
    "full": lambda reach, lack: (reach, reach),
}

# The least value, how many of them, and what fits, in words.
_COUNTS = {
    "stride": (1, 1, "an int >= 1"),
    "dilation": (1, 1, "an int >= 1 (1 is a dense kernel)"),
    "groups": (1, 1, "an int >= 1"),
    "padding": (0, 2, f"an int >= 0 (to crop, slice x), a pair (left, right) or one of {', '.join(PADDINGS)}"),
}

# By scalar type, as third-party dtypes (ml_dtypes) reuse the characters of NumPy's.
_SUPPORTED = frozenset(np.dtype(char).type for char in "bhilqBHILQefdFD")
_CASTS = {np.bool_: "int32", np.object_: "float64", np.longdouble: "float64", np.clongdouble: "complex128"}

# By whether the channels come last: x batched and not, and w.
_AXES = {
    False: ("(N, C_in, L) or (C_in, L)", "(C_out, C_in/groups, K)"),
    True: ("(N, L, C_in) or (L, C_in)", "(K, C_in/groups, C_out)"),
}

# Kernels count in int64. No array comes near this, and products with a tile or a stride of it do not wrap.
_LARGEST = 2**40


def output_length(L_in: int, K: int, stride: int, dilation: int, pad_left: int, pad_right: int) -> int:
    """Return the number of windows that fit; below 1 when the kernel is longer than the padded input.

    Examples
    --------
    >>> output_length(100, K=3, stride=2, dilation=1, pad_left=1, pad_right=1)
    50
    """
    K_span = (K - 1) * dilation + 1
    return (L_in + pad_left + pad_right - K_span) // stride + 1


@dataclass(frozen=True, slots=True)
class Conv1dProblem:
    """One convolution as numbers: always batched, the padding in samples, every name in its canonical spelling."""

    N: int
    C_in: int
    L_in: int
    C_out: int
    K: int
    stride: int
    dilation: int
    groups: int
    pad_left: int
    pad_right: int
    padding_mode: str
    channels_last: bool
    x_dtype: np.dtype[Any]  # as given, the byte order kept
    w_dtype: np.dtype[Any]
    dtype: np.dtype[Any]  # of the result, native
    has_bias: bool
    activation: str | None  # "callable" for a function, which is applied to the finished array

    @property
    def K_span(self) -> int:
        return (self.K - 1) * self.dilation + 1

    @property
    def L_out(self) -> int:
        return output_length(self.L_in, self.K, self.stride, self.dilation, self.pad_left, self.pad_right)

    @property
    def C_in_g(self) -> int:
        return self.C_in // self.groups

    @property
    def C_out_g(self) -> int:
        return self.C_out // self.groups

    @property
    def compute_dtype(self) -> np.dtype[Any]:
        """The dtype of the arithmetic: float16 is computed in float32 and rounded once."""
        return np.dtype(np.float32) if self.dtype == np.float16 else self.dtype

    @property
    def x_shape(self) -> tuple[int, int, int]:
        return (self.N, self.L_in, self.C_in) if self.channels_last else (self.N, self.C_in, self.L_in)

    @property
    def w_shape(self) -> tuple[int, int, int]:
        return (self.K, self.C_in_g, self.C_out) if self.channels_last else (self.C_out, self.C_in_g, self.K)

    @property
    def out_shape(self) -> tuple[int, int, int]:
        return (self.N, self.L_out, self.C_out) if self.channels_last else (self.N, self.C_out, self.L_out)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum, the measure by which all algorithms are compared."""
        return 2 * self.N * self.C_out * self.L_out * self.C_in_g * self.K

    def __str__(self) -> str:
        return (
            f"{'NWC' if self.channels_last else 'NCW'} x {self.x_shape} {self.x_dtype}, w {self.w_shape} {self.w_dtype}"
            f" -> {self.out_shape} {self.dtype}; stride={self.stride} dilation={self.dilation} groups={self.groups}"
            f" padding=({self.pad_left}, {self.pad_right}) {self.padding_mode}"
            f" bias={self.has_bias} activation={self.activation}"
        )


def as_array(value: object, name: str) -> NDArray[Any]:
    """Return value as a plain ndarray of a dtype that conv1d computes with, without a copy where it is one already.

    Raises
    ------
    TypeError
        For a masked array, for a dtype without arithmetic here (bool, object, strings, dates, long double) and for
        what a framework does not hand over, such as a tensor that requires a gradient.
    ValueError
        For nested lists of unequal lengths.
    """
    if type(value) is np.ndarray:
        _check_dtype(value.dtype, name, value)
        return value
    # Only a subclass can be masked, and only it pays for the import of np.ma.
    if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost: pass {name}.filled(0) or {name}.data")
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name}, of type {type(value).__name__}, does not convert to a NumPy array: {error}") from error
    _check_dtype(array.dtype, name, array)
    return array


def check_out(out: object, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Raise TypeError or ValueError unless out is a writeable array of exactly this shape and dtype."""
    kind: type[Exception] = TypeError
    if not isinstance(out, np.ndarray):
        wrong = f"must be a NumPy array, got {type(out).__name__}"
    elif type(out) is not np.ndarray and isinstance(out, np.ma.MaskedArray):
        wrong = "is a masked array, whose mask would go stale"
    elif out.dtype != dtype:
        wrong = f"has dtype {out.dtype}, not {dtype}"
    elif out.shape != shape:
        kind, wrong = ValueError, f"has shape {out.shape}, not {shape}"
    elif not out.flags.writeable:
        kind, wrong = ValueError, "is read-only"
    else:
        return
    raise kind(f"out {wrong}: pass np.empty({shape}, np.{dtype})")


class _ShapeError(ValueError):
    """Shapes that do not go together; to the caller of describe a ValueError that ends with the changes that help."""


def _with_ways_out(describe: Callable[P, Conv1dProblem]) -> Callable[P, Conv1dProblem]:
    """Add to the error the likely changes that describe itself accepts, so that no hint misleads."""
    signature = inspect.signature(describe)

    def is_accepted(arguments: Mapping[str, Any]) -> bool:
        try:
            describe(**arguments)  # type: ignore[call-arg]
        except (TypeError, ValueError):
            return False
        return True

    @functools.wraps(describe)
    def describe_or_advise(*args: P.args, **kwargs: P.kwargs) -> Conv1dProblem:
        try:
            return describe(*args, **kwargs)
        except _ShapeError as error:
            call = signature.bind(*args, **kwargs)
            call.apply_defaults()
            ways = [way for way, change in _likely_changes(call.arguments) if is_accepted(call.arguments | change)]
            raise ValueError(f"{error}. Did you mean {' or '.join(ways)}?" if ways else f"{error}") from None

    return describe_or_advise


@_with_ways_out
def describe(
    x_shape: Shape,
    x_dtype: np.dtype[Any],
    w_shape: Shape,
    w_dtype: np.dtype[Any],
    bias_shape: Shape | None = None,
    bias_dtype: np.dtype[Any] | None = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    padding: SupportsIndex | Sequence[SupportsIndex] | str = 0,
    dilation: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex | Sequence[SupportsIndex] = 1,
    *,
    padding_mode: str = "zeros",
    data_format: str = "NCW",
    activation: str | Callable[..., Any] | None = None,
) -> Conv1dProblem:
    """Return the problem that these arguments of conv1d pose.

    Parameters
    ----------
    x_shape, w_shape
        x of rank 3 or 2 with w of rank 3, in the data format; or w of rank 1, one filter along the last axis of x,
        which makes a problem of one channel whose batch is all the other axes of x.
    x_dtype, w_dtype, bias_dtype
        The result has the dtype that NumPy promotes them to.
    bias_shape
        (C_out,); with w of rank 1 also (). None: no bias.
    stride, padding, dilation, groups, padding_mode, data_format, activation
        As in conv1d.

    Raises
    ------
    ValueError
        For values and shapes that pose no problem, L_out < 1 included.
    TypeError
        For arguments of the wrong type, and for dtypes that conv1d does not compute with.

    Examples
    --------
    >>> f4 = np.dtype(np.float32)
    >>> describe((2, 4, 100), f4, (8, 4, 3), f4, padding="same").out_shape
    (2, 8, 100)
    """
    (stride,) = _counts("stride", stride)
    (dilation,) = _counts("dilation", dilation)
    (groups,) = _counts("groups", groups)
    padding_mode = PADDING_MODES[choice("padding_mode", padding_mode, PADDING_MODES)]
    channels_last = DATA_FORMATS[choice("data_format", data_format, DATA_FORMATS)] and len(w_shape) == 3
    dtype = _result_dtype(x_dtype, w_dtype, bias_dtype)
    N, C_in, L_in, C_out, C_in_g, K = _sizes(x_shape, w_shape, channels_last)
    _check_channels(C_in, C_out, C_in_g, K, groups, f"x of shape {x_shape}", f"w of shape {w_shape}", data_format)
    if bias_shape not in (None, (C_out,)) and (bias_shape, len(w_shape)) != ((), 1):
        raise _ShapeError(
            f"bias must have shape (C_out,) = ({C_out},) to go with w of shape {w_shape}, got {bias_shape}"
        )
    pad_left, pad_right = _pads(padding, L_in, K, stride, dilation)
    problem = Conv1dProblem(
        N, C_in, L_in, C_out, K, stride, dilation, groups, pad_left, pad_right, padding_mode, channels_last,
        x_dtype, w_dtype, dtype, bias_shape is not None, _activation_name(activation, dtype),
    )  # fmt: skip
    _check_length(problem)
    return problem


def describe_weights(
    w_shape: Shape,
    w_dtype: np.dtype[Any],
    bias_shape: Shape | None,
    bias_dtype: np.dtype[Any] | None,
    *options: Any,
    data_format: str = "NCW",
    **names: Any,
) -> Conv1dProblem:
    """Raise what describe would, whatever x is; else return the least demanding problem, one without outputs.

    Its x goes with w and has float32, which gives floats with all that can.  It is as long as need be for describe.
    """
    stride, padding, dilation, groups = options
    (span,), (count,) = _counts("dilation", dilation), _counts("groups", groups)
    channels_last = DATA_FORMATS[choice("data_format", data_format, DATA_FORMATS)]
    C_in = w_shape[1] * count if len(w_shape) == 3 else 1
    K = w_shape[:1] if channels_last else w_shape[-1:]
    L_in = span * max(K, default=1) + 1
    x_shape = (L_in,) if len(w_shape) == 1 else (L_in, C_in) if channels_last else (C_in, L_in)
    problem = describe(
        x_shape, np.dtype(np.float32), w_shape, w_dtype, bias_shape, bias_dtype, stride, padding, dilation, groups,
        data_format=data_format, **names,
    )  # fmt: skip
    return replace(problem, L_in=problem.L_in - problem.L_out * problem.stride)


def _counts(name: str, value: object) -> list[int]:
    """Return an int, or a tuple or list of them, as Python's ints; True and 1.0 are refused, though they equal 1."""
    least, most, fits = _COUNTS[name]
    try:
        numbers = [_index(item) for item in (value if isinstance(value, (tuple, list)) else (value,))]
    except TypeError:
        raise TypeError(f"{name} must be {fits}, got {value!r}") from None
    if not 1 <= len(numbers) <= most or min(numbers) < least:
        raise ValueError(f"{name} must be {fits}, got {value!r}")
    return numbers


def _index(item: Any) -> int:
    if isinstance(item, bool):  # NumPy's bool has no index
        raise TypeError
    return operator.index(item)


#: What other libraries call a value of an argument, where that is spelt otherwise.
_ELSEWHERE = {
    ("activation", "swish"): "silu",
    ("activation", "linear"): None,
    ("data_format", "ncl"): "NCW",
    ("data_format", "nlc"): "NWC",
    ("padding_mode", "mirror"): "reflect",
    ("padding_mode", "nearest"): "replicate",
}

#: Arguments that are taken for one another, and the values of the other one.
_TAKEN_FOR: dict[str, tuple[str, Collection[str]]] = {
    "padding": ("padding_mode", PADDING_MODES),
    "padding_mode": ("padding", PADDINGS),
}


def choice(name: str, value: object, legal: Collection[str], others: str = "") -> str:
    """Return value, one of the legal names; others tells what else the argument may be."""
    if isinstance(value, str) and value in legal:
        return value
    message = f"{name} must be {others}one of {', '.join(legal)}, got {value!r}"
    if not isinstance(value, str):
        raise TypeError(message)
    raise ValueError(message + "".join(f"; did you mean {meant}?" for meant in _meant(name, value.casefold(), legal)))


def _meant(name: str, value: str, legal: Collection[str]) -> list[str]:
    """What was meant, if it can be told."""
    from difflib import get_close_matches  # 2 ms

    if (name, value) in _ELSEWHERE:
        return [repr(_ELSEWHERE[name, value])]
    other, values = _TAKEN_FOR.get(name, ("", ()))
    if value in values:
        return [f"{other}={value!r}"]
    spelt = {one.casefold(): one for one in legal}
    return [repr(spelt[one]) for one in get_close_matches(value, spelt, 1)]


def as_dtype(value: Any, name: str) -> np.dtype[Any]:
    """Return value as a dtype that can be convolved in; else raise TypeError."""
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.type not in _SUPPORTED:
        legal = ", ".join(sorted({np.dtype(kind).name for kind in _SUPPORTED}))
        raise TypeError(f"{name} must be one or more of {legal}, got {value!r}")
    return dtype


def _check_dtype(dtype: np.dtype[Any], name: str, array: NDArray[Any] | None = None) -> None:
    if dtype.type not in _SUPPORTED:
        for item in array.flat if array is not None and dtype.type is np.object_ else ():
            if not isinstance(item, Number):  # a conversion is hardly what was meant
                fits = f"{name} must hold numbers, in an array or in nested lists of equal lengths"
                raise TypeError(f"{fits}, got {reprlib.repr(item)}")
        cast = f"pass {name}.astype(np.{_CASTS[dtype.type]})" if dtype.type in _CASTS else "convert it to one of them"
        raise TypeError(
            f"{name} has dtype {dtype}, conv1d computes with float16/32/64, complex64/128 and integers: {cast}"
        )


def _result_dtype(x: np.dtype[Any], w: np.dtype[Any], bias: np.dtype[Any] | None) -> np.dtype[Any]:
    given = {"x": x, "w": w} if bias is None else {"x": x, "w": w, "bias": bias}
    for name, dtype in given.items():
        _check_dtype(dtype, name)
    return np.result_type(*given.values())


def _sizes(x_shape: Shape, w_shape: Shape, channels_last: bool) -> tuple[int, int, int, int, int, int]:
    """Return N, C_in, L_in, C_out, C_in_g, K."""
    x_axes, w_axes = _AXES[channels_last]
    if not x_shape:
        raise _ShapeError(f"x is a scalar: it needs an axis to slide along, or to be {x_axes}")
    if len(w_shape) == 1:
        return math.prod(x_shape[:-1]), 1, x_shape[-1], 1, 1, w_shape[0]
    if len(w_shape) != 3:
        raise _ShapeError(f"w must be {w_axes}, or (K,) for one filter along the last axis of x, got shape {w_shape}")
    if len(x_shape) not in (2, 3):
        raise _ShapeError(f"x must be {x_axes} to go with w of shape {w_shape}, got shape {x_shape}")
    N = x_shape[0] if len(x_shape) == 3 else 1
    C_in, L_in = x_shape[:-3:-1] if channels_last else x_shape[-2:]
    C_out, C_in_g, K = w_shape[::-1] if channels_last else w_shape
    return N, C_in, L_in, C_out, C_in_g, K


def _check_channels(C_in: int, C_out: int, C_in_g: int, K: int, groups: int, x: str, w: str, data_format: str) -> None:
    # Those of w first: what is wrong with w alone is said without the x that describe_weights makes up.
    sizes = (("C_in/groups", C_in_g, w), ("K", K, w), ("C_out", C_out, w), ("C_in", C_in, x))
    for name, size, array in sizes:
        if size == 0:
            raise _ShapeError(f"{array} in {data_format} has {name}=0: only the batch and the length may be empty")
    for name, size, array in sizes[2:]:
        if size % groups:
            raise _ShapeError(f"groups={groups} does not divide {name}={size} ({array} in {data_format})")
    if C_in != C_in_g * groups:
        x_axes, w_axes = _AXES[DATA_FORMATS[data_format]]
        raise _ShapeError(
            f"{x} and {w} in {data_format} do not agree: x has C_in={C_in} channels, w with C_in/groups={C_in_g}"
            f" and groups={groups} takes {C_in_g * groups}. It takes x {x_axes.replace('C_in', f'{C_in_g * groups}')},"
            f" or w {w_axes.replace('C_in/groups', f'{C_in // groups}')}"
        )


def _pads(padding: object, L_in: int, K: int, stride: int, dilation: int) -> tuple[int, int]:
    if not isinstance(padding, str):
        numbers = _counts("padding", padding)
        return numbers[0], numbers[-1]
    name = choice("padding", padding, PADDINGS, "an int, a pair (left, right) or ")
    reach = (K - 1) * dilation
    last_start = (L_in - 1) // stride * stride
    return PADDINGS[name](reach, max(last_start + reach + 1 - L_in, 0))


def _activation_name(activation: object, dtype: np.dtype[Any]) -> str | None:
    if activation is None:
        return None
    if callable(activation):
        return "callable"
    name = choice("activation", activation, ACTIVATIONS, "None, a function or ")
    if dtype.kind == "c" or (dtype.kind in "iu" and name != "relu"):
        raise TypeError(f'activation="{name}" of a result of dtype {dtype} is undefined: cast x, or pass a function')
    return name


def _check_length(p: Conv1dProblem) -> None:
    padded = p.L_in + p.pad_left + p.pad_right
    if p.L_in == 0 and p.padding_mode != "zeros" and padded:
        raise ValueError(f'padding_mode="{p.padding_mode}" finds nothing to repeat in L=0: use padding_mode="zeros"')
    if p.L_out < 1:
        raise _ShapeError(
            f"the kernel does not fit: L={p.L_in}, padding ({p.pad_left}, {p.pad_right}), K={p.K},"
            f" dilation={p.dilation} (K_span={p.K_span}), stride={p.stride} would give L_out={p.L_out}."
            f" It takes {p.K_span - padded} more in L or padding"
        )
    if max(padded, p.stride, p.dilation) > _LARGEST:
        raise ValueError(f"stride, dilation and the padded length may be at most 2**40, got {p}")


# Views of an argument in which shapes may fit: the argument, its ranks, the expression, the shape it gives.
_VIEWS: tuple[tuple[str, Container[int], str, Callable[[Shape], Shape]], ...] = (
    ("x", (1,), "x[None, :]", lambda s: (1, *s)),
    ("x", (1,), "x[:, None]", lambda s: (*s, 1)),
    ("x", (2, 3), "x.swapaxes(-1, -2)", lambda s: (*s[:-2], s[-1], s[-2])),
    ("x", range(4, 65), "x.reshape(-1, *x.shape[-2:])", lambda s: (math.prod(s[:-2]), *s[-2:])),
    ("w", (2,), "w[None]", lambda s: (1, *s)),
    ("w", (2,), "w[:, :, None]", lambda s: (*s, 1)),
    ("w", (3,), "w.transpose(2, 1, 0)", lambda s: (s[2], s[1], s[0])),
    ("w", (3,), "w.transpose(0, 2, 1)", lambda s: (s[0], s[2], s[1])),
    ("bias", (2, 3), "bias.ravel()", lambda s: (math.prod(s),)),
)


def _likely_changes(arguments: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what users often mean instead: the words for it, and the arguments of describe that it changes."""
    x_shape, w_shape = arguments["x_shape"], arguments["w_shape"]
    channels_last = DATA_FORMATS[arguments["data_format"]]
    C_in = (1, 1, *x_shape)[-1 if channels_last else -2]
    if len(w_shape) == 2:
        yield f"w[:, None, :] with groups={C_in}", {"w_shape": (w_shape[0], 1, w_shape[1]), "groups": C_in}
    if len(w_shape) == 3 and w_shape[1]:
        yield f"groups={C_in // w_shape[1]}", {"groups": C_in // w_shape[1]}
    other = "NCW" if channels_last else "NWC"
    yield f'data_format="{other}" (w is then {_AXES[not channels_last][1]})', {"data_format": other}
    for name, ranks, expression, view in _VIEWS:
        shape = arguments[f"{name}_shape"]
        if shape is not None and len(shape) in ranks:
            yield expression, {f"{name}_shape": view(shape)}
    if len(x_shape) == len(w_shape) == 1:
        yield "conv1d(w, x)", {"x_shape": w_shape, "w_shape": x_shape}
    for padding in ("same", "causal"):
        yield f'padding="{padding}"', {"padding": padding}
