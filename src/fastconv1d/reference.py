"""conv1d in plain NumPy, slow and obvious: the oracle of every test. It imports nothing of the package.

    y[n, co, t] = bias[co] + sum over ci, k of w[co, ci, k] * xp[n, ci, t*stride + k*dilation],    xp = x padded

No formula is shared either: padding is np.pad, and the length is the number of windows that a strided view has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

# Sums are taken in more bits than the result has, where the machine has more than float64, so that the oracle may judge
# float64 too. Integers are summed in the dtype of the result, where they wrap.
_WIDE = {"e": "float64", "f": "float64", "d": "longdouble", "F": "complex128", "D": "clongdouble"}
_RETURNED = {"f": "float64", "c": "complex128"}

_PAD_MODES = {
    "zeros": "constant",
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "edge": "edge",
    "circular": "wrap",
    "wrap": "wrap",
}

Activation = Callable[[NDArray[Any]], NDArray[Any]]

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(y: NDArray[Any]) -> NDArray[Any]:
    e = np.exp(-np.abs(y))  # never above 1, so that nothing overflows
    sigmoid: NDArray[Any] = np.where(y >= 0, 1, e) / (1 + e)
    return sigmoid


_ACTIVATIONS: dict[str, Activation] = {
    "relu": lambda y: np.maximum(y, 0),
    "silu": lambda y: y * _sigmoid(y),
    "gelu": lambda y: 0.5 * y * _erfc(-y / math.sqrt(2)),  # the exact one, not the approximation by tanh
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "softplus": lambda y: np.logaddexp(0, y),
    "leaky_relu": lambda y: np.where(y >= 0, y, 0.01 * y),
    "elu": lambda y: np.where(y >= 0, y, np.expm1(np.minimum(y, 0))),
}


def conv1d_reference(
    x: ArrayLike,
    w: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
    *,
    padding_mode: str = "zeros",
    data_format: str = "NCW",
    activation: str | Activation | None = None,
) -> NDArray[Any]:
    """Return what conv1d should: in float64 or complex128, rounded once; for integers exactly, wrapped in their dtype.

    It takes the arguments of conv1d and trusts them. A sum is a plain sum of products: where a window covers an
    infinity and the weight or the padding is 0, it is NaN. Named activations have PyTorch's default constants.

    Examples
    --------
    >>> conv1d_reference([0, 3, 4, 5], [1, 2])
    array([ 6, 11, 14])
    """
    x, w = np.asarray(x), np.asarray(w)
    bias = np.zeros(1, w.dtype) if bias is None else np.asarray(bias)
    stride, dilation, groups = (int(np.ravel(number)[0]) for number in (stride, dilation, groups))
    result = np.result_type(x.dtype, w.dtype, bias.dtype)
    wide, returned = _WIDE.get(result.char, result), _RETURNED.get(result.kind, result)
    channels_last = w.ndim == 3 and data_format in ("NWC", "channels_last")

    if w.ndim == 1:
        rows, taps = x[..., None, :], w[None, None, :]
    elif channels_last:
        rows, taps = x.swapaxes(-1, -2), w.transpose(2, 1, 0)
    else:
        rows, taps = x, w
    K_span = (taps.shape[-1] - 1) * dilation + 1
    pads = _pads(padding, rows.shape[-1], K_span, stride)
    axes = [(0, 0)] * (rows.ndim - 1) + [pads]
    padded = np.pad(rows, axes, mode=_PAD_MODES[padding_mode])  # type: ignore[call-overload]

    with np.errstate(all="ignore"):  # NaN and infinity are results like others
        y = _correlate(padded.astype(wide), taps.astype(wide), stride, dilation, groups)
        y = (y + bias.astype(wide).reshape(-1, 1)).astype(returned)
        if w.ndim == 1:
            y = y[..., 0, :]
        if channels_last:
            y = y.swapaxes(-1, -2)
        activate = _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        return y if activate is None else activate(y)


def conv1d_magnitude(
    x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, *args: Any, **options: Any
) -> NDArray[Any]:
    """Return the sum of |x||w|, and |bias|, over each window, in float64: what a bound of the error is relative to.

    It takes the arguments of conv1d_reference; an activation is left out.
    """
    bias = None if bias is None else np.abs(_widened(bias))
    return conv1d_reference(np.abs(_widened(x)), np.abs(_widened(w)), bias, *args, **options | {"activation": None})


def _widened(a: ArrayLike) -> NDArray[Any]:
    """Return a in float64 or complex128: the magnitude of -128 has no int8."""
    a = np.asarray(a)
    return a.astype(np.result_type(a.dtype, np.float64))


def _pads(padding: Any, L_in: int, K_span: int, stride: int) -> tuple[int, int]:
    if not isinstance(padding, str):
        left, right = np.broadcast_to(np.ravel(padding), 2)
        return int(left), int(right)
    windows = len(range(0, L_in, stride))
    total = max((windows - 1) * stride + K_span - L_in, 0)
    less, more = total // 2, total - total // 2
    return {
        "valid": (0, 0),
        "same": (less, more),
        "same_lower": (more, less),
        "causal": (K_span - 1, 0),
        "full": (K_span - 1, K_span - 1),
    }[padding]


def _correlate(x: NDArray[Any], w: NDArray[Any], stride: int, dilation: int, groups: int) -> NDArray[Any]:
    """Return (..., C_out, L_out) of x (..., C_in, L), already padded, and w (C_out, C_in/groups, K)."""
    C_out, C_in_g, K = w.shape
    windows = sliding_window_view(x, (K - 1) * dilation + 1, axis=-1)[..., ::stride, ::dilation]
    *batch, _, L_out, _ = windows.shape
    windows = windows.reshape(*batch, groups, C_in_g, L_out, K)
    sums: NDArray[Any] = np.einsum("...gclk,gock->...gol", windows, w.reshape(groups, C_out // groups, C_in_g, K))
    return sums.reshape(*batch, C_out, L_out)
