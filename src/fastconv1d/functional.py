"""conv1d and what explains it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any, SupportsIndex

import numpy as np

from .memory import empty
from .plan import Explanation, Plan, explain_plan, plan_for
from .problem import as_array, check_out, describe

__all__ = ["conv1d", "explain"]

Counts = SupportsIndex | Sequence[SupportsIndex]


def conv1d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Counts = 1,
    padding: Counts | str = 0,
    dilation: Counts = 1,
    groups: Counts = 1,
    *,
    padding_mode: str = "zeros",
    data_format: str = "NCW",
    activation: str | Callable[[np.ndarray], Any] | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """1-D convolution of NumPy arrays, as deep learning means it: cross-correlation, the kernel is not flipped.

    ``y[n, o, t] = bias[o] + sum over c, k of w[o, c, k] * x[n, c, t * stride + k * dilation - pad_left]``, where c runs
    over the channels of the group of o, and x is zero (or what `padding_mode` says) outside of its range.

    Parameters
    ----------
    x : array_like
        (N, C_in, L) or (C_in, L); with ``data_format="NWC"`` (N, L, C_in) or (L, C_in).  With `w` of rank 1 any
        shape (..., L).  Any strides, alignment and byte order, read-only or mapped; never written to.
    w : array_like
        (C_out, C_in/groups, K); with ``data_format="NWC"`` (K, C_in/groups, C_out).  Of shape (K,): that one filter
        along the last axis of `x`.
    bias : array_like, optional
        (C_out,).
    stride, dilation, groups : int
        At least 1, in any combination; `groups` divides C_in and C_out.
    padding : int, (left, right) or str
        Samples on both sides, or on each.  "valid" is none; "same" gives ceil(L / stride) outputs, an odd sample on the
        right (TensorFlow's rule), with "same_lower" on the left; "causal" pads the left by (K - 1) * dilation, so that
        no output sees later samples; "full" pads both sides by that.
    padding_mode : str
        "zeros", "reflect", "replicate", "circular" or "symmetric"; also NumPy's "constant", "edge" and "wrap".
    data_format : str
        "NCW" ("channels_first") or "NWC" ("channels_last").
    activation : str or callable, optional
        "relu", "silu", "gelu", "tanh", "sigmoid", "softplus", "leaky_relu" (slope 0.01), "elu", or a function of the
        array.
    algorithm : str
        "auto", or the name of one of those that `explain` lists.
    out : ndarray, optional
        Where to put the result: exactly its shape and dtype, writeable, any strides.  It may overlap the inputs.

    Returns
    -------
    ndarray
        (N, C_out, L_out) or (C_out, L_out), with "NWC" (N, L_out, C_out) or (L_out, C_out), with `w` of rank 1
        (..., L_out); L_out = (L + pad_left + pad_right - (K - 1) * dilation - 1) // stride + 1.  Its dtype is
        ``np.result_type(x, w)``, with `bias` where given: integers wrap as NumPy's do, float16 is computed in
        float32 and rounded once.

    Raises
    ------
    ValueError
        For values and shapes that pose no problem; the message names them and the way out.
    TypeError
        For types that do not, such as bool, object and masked arrays.

    See Also
    --------
    explain : which algorithm computes a problem, and why.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv1d
    >>> fastconv1d.conv1d(np.array([0, 3, 4, 5]), np.array([1, 2]))
    array([ 6, 11, 14])

    Sixteen filters along one second of sound at 8 kHz, the length kept:

    >>> x, w = np.zeros((1, 1, 8000), np.float32), np.zeros((16, 1, 3), np.float32)
    >>> fastconv1d.conv1d(x, w, padding="same").shape
    (1, 16, 8000)
    """
    x, w = as_array(x, "x"), as_array(w, "w")
    bias = bias if bias is None else as_array(bias, "bias")
    plan = _plan(x, w, bias, stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm)
    shape = (*x.shape[:-1], plan.L_out) if w.ndim == 1 else plan.out_shape if x.ndim == 3 else plan.out_shape[1:]
    if out is not None:
        check_out(out, shape, plan.dtype)
    if out is None or callable(activation) or not _can_be_filled(out, plan, x, w, bias):
        y = empty(shape, plan.compute_dtype)
    else:
        y = out
    _fill(y, plan, x, w, bias)
    if plan.compute_dtype is not plan.dtype:
        with np.errstate(over="ignore"):  # a float16 that overflows is an infinity, as in the sum itself
            y = y.astype(plan.dtype)
    if callable(activation):
        y = activation(y)
    if out is None or y is out:
        return y
    np.copyto(out, y)
    return out


def explain(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: Counts = 1,
    padding: Counts | str = 0,
    dilation: Counts = 1,
    groups: Counts = 1,
    *,
    padding_mode: str = "zeros",
    data_format: str = "NCW",
    activation: str | Callable[[np.ndarray], Any] | None = None,
    algorithm: str = "auto",
) -> Explanation:
    """Tell how `conv1d` would compute a problem: the algorithm, why not the others, and the cost.  Nothing is computed.

    Parameters
    ----------
    x, w, bias : array_like or tuple of int
        Arrays, or shapes, which are taken as float32.
    stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm
        As in `conv1d`.

    Returns
    -------
    Explanation
        Prints as a table.  Its attributes are `problem`, `algorithm`, `refusals`, `flops`, `bytes`, `scratch_bytes`
        and `threads`.

    Raises
    ------
    ValueError, TypeError
        As `conv1d` would.

    Examples
    --------
    >>> import fastconv1d
    >>> explanation = fastconv1d.explain((1, 128, 376), (32, 128, 3), padding=1)
    >>> explanation.algorithm
    'direct'
    >>> explanation.flops
    9240576
    """
    x, w = _array_or_shape(x, "x"), _array_or_shape(w, "w")
    bias = bias if bias is None else _array_or_shape(bias, "bias")
    plan = _plan(x, w, bias, stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm)
    return explain_plan(plan)


def _array_or_shape(value: Any, name: str) -> np.ndarray:
    """An array as it is; for a shape, an array of zeros that takes no memory."""
    if type(value) is tuple and all(type(size) is int for size in value):
        return np.broadcast_to(np.float32(0), value)
    return as_array(value, name)


def _plan(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
    data_format: Any,
    activation: Any,
    algorithm: Any,
) -> Plan:
    """The plan for these arguments, looked up by them where that is safe."""
    name = _any_callable if callable(activation) else activation
    arguments = (
        x.shape, x.dtype, w.shape, w.dtype, *((None, None) if bias is None else (bias.shape, bias.dtype)),
        stride, padding, dilation, groups, padding_mode, data_format, name, algorithm,
    )  # fmt: skip
    # Only what equals nothing of another type, as True and 1.0 equal 1, and what can be a key, is looked up.
    pads = padding if type(padding) is tuple else (padding,)
    scalars = (*pads, stride, dilation, groups, padding_mode, data_format, name, algorithm)
    if all(map(_PLAIN.__contains__, map(type, scalars))):
        return _looked_up_plan(*arguments)
    return _new_plan(*arguments)


_PLAIN = frozenset((int, str, type(None), FunctionType))


def _any_callable(y: np.ndarray) -> None:
    """Stands for every function of the array: a plan does not depend on which it is."""


def _new_plan(*arguments: Any) -> Plan:
    *positional, padding_mode, data_format, activation, algorithm = arguments
    if not isinstance(algorithm, str):
        raise TypeError(f"algorithm must be 'auto' or the name of one, got {algorithm!r}")
    problem = describe(*positional, padding_mode=padding_mode, data_format=data_format, activation=activation)
    return plan_for(problem, algorithm)


@lru_cache(maxsize=4096)
def _looked_up_plan(*arguments: Any) -> Plan:
    return _new_plan(*arguments)


def _can_be_filled(out: np.ndarray, plan: Plan, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None) -> bool:
    """Whether the kernels may write into `out`: no input would change, and the lanes stand side by side."""
    size = out.itemsize
    return (
        out.dtype == plan.compute_dtype
        and out.flags.aligned
        and out.strides[-1] == size
        and (out.shape[-1] > 1 or out.flags.c_contiguous)
        and not any(stride % size for stride in out.strides)
        and not any(np.may_share_memory(out, value) for value in (x, w, bias) if value is not None)
    )


def _fill(y: np.ndarray, plan: Plan, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None) -> None:
    """Compute the result into `y`, by views of x, w and y that have a batch, and the channels before the times."""
    if w.ndim == 1:
        w = w[None, None]
        if x.ndim <= 2:
            plan.run(_as_rows(x), w, bias, _as_rows(y))
        else:  # the leading axes may have no common stride, and a copy of all of x is not to be made
            for index in np.ndindex(x.shape[:-2]):
                plan.run(_as_rows(x[index]), w, bias, _as_rows(y[index]))
        return
    if x.ndim == 2:
        x, y = x[None], y[None]
    if plan.channels_last:
        x, w, y = x.transpose(0, 2, 1), w.transpose(2, 1, 0), y.transpose(0, 2, 1)
    plan.run(x, w, bias, y)


def _as_rows(a: np.ndarray) -> np.ndarray:
    """(L,) or (N, L) as (N, 1, L)."""
    return a[None, None] if a.ndim == 1 else a[:, None]
