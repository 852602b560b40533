"""conv1d and what explains it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, SupportsIndex

import numpy as np

from .call import Call
from .plan import Explanation, check_name, explain_plan, plan_for
from .problem import as_array, describe

__all__ = ["conv1d", "explain"]


def conv1d(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    padding: SupportsIndex | Sequence[SupportsIndex] | str = 0,
    dilation: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex | Sequence[SupportsIndex] = 1,
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
    call = find_call(
        x, w, bias, stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm, False
    )
    return call.run(x, call.prepare(w, bias), activation, out, (x, w, bias))


def explain(
    x: Any,
    w: Any,
    bias: Any = None,
    stride: SupportsIndex | Sequence[SupportsIndex] = 1,
    padding: SupportsIndex | Sequence[SupportsIndex] | str = 0,
    dilation: SupportsIndex | Sequence[SupportsIndex] = 1,
    groups: SupportsIndex | Sequence[SupportsIndex] = 1,
    *,
    padding_mode: str = "zeros",
    data_format: str = "NCW",
    activation: str | Callable[[np.ndarray], Any] | None = None,
    algorithm: str = "auto",
) -> Explanation:
    """Tell how `conv1d` would compute a problem: the algorithm, why not the others, and the cost.

    Nothing is computed, but a kernel that the plan names may be compiled.

    Parameters
    ----------
    x, w, bias : array_like or tuple of int
        Arrays, or shapes, which are taken as float32.
    stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm
        As in `conv1d`.

    Returns
    -------
    Explanation
        Prints as a table.  Its attributes are `problem`, `algorithm`, `forced`, `refusals`, `estimates`, `flops`,
        `bytes`, `scratch_bytes` and `threads`.

    Raises
    ------
    ValueError, TypeError
        As `conv1d` would.

    Examples
    --------
    >>> import fastconv1d
    >>> explanation = fastconv1d.explain((1, 128, 376), (32, 128, 1))
    >>> explanation.algorithm
    'direct'
    >>> explanation.flops
    3080192
    """
    x, w = array_or_shape(x, "x"), array_or_shape(w, "w")
    bias = bias if bias is None else array_or_shape(bias, "bias")
    call = find_call(
        x, w, bias, stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm, False
    )
    return explain_plan(call.plan, algorithm != "auto")


def array_or_shape(value: Any, name: str) -> np.ndarray:
    """An array as it is; for a shape, an array of zeros that takes no memory."""
    if type(value) is tuple and all(type(size) is int for size in value):
        return np.broadcast_to(np.float32(0), value)
    return as_array(value, name)


def find_call(
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
    prepared: bool,
) -> Call:
    """The call for these arguments, looked up by them where that is safe."""
    bias_shape, bias_dtype = (None, None) if bias is None else (bias.shape, bias.dtype)
    if callable(activation):
        activation = _any_callable
    numbers, types = (stride, padding, dilation, groups), None
    if (type(stride), type(padding), type(dilation), type(groups)) not in _USUAL:
        types = tuple((*map(type, value),) if isinstance(value, tuple) else (type(value),) for value in numbers)
    arguments = (
        x.shape, x.dtype, w.shape, w.dtype, bias_shape, bias_dtype, *numbers,
        padding_mode, data_format, activation, algorithm, prepared, types,
    )  # fmt: skip
    if types and not _CONSTANT.issuperset(itertools.chain(*types)):
        return _new_call(*arguments)
    try:
        return _looked_up_call(*arguments)
    except TypeError:  # of an argument that can't be a key, or of one that is wrong
        return _new_call(*arguments)


#: The types of stride, padding, dilation and groups that need no look into tuples.
_USUAL = {(int, int, int, int), (int, str, int, int)}
#: Those of what is in them that is equal to nothing else and stays what it is; other objects with an __index__ may not.
_CONSTANT = {int, str, *(np.dtype(code).type for code in np.typecodes["AllInteger"])}


def _any_callable(y: np.ndarray) -> None:
    """Stands for every function of the array: a plan does not depend on which it is."""


def _new_call(x_shape: Any, x_dtype: Any, w_shape: Any, *arguments: Any) -> Call:
    *positional, padding_mode, data_format, activation, algorithm, prepared, _ = arguments
    check_name(algorithm)
    problem = describe(
        x_shape, x_dtype, w_shape, *positional,
        padding_mode=padding_mode, data_format=data_format, activation=activation,
    )  # fmt: skip
    return Call(plan_for(problem, algorithm, prepared), x_shape, len(w_shape))


#: By the types too, those inside of tuples as an argument of their own: True and 1.0 equal 1, but are refused.
_looked_up_call = lru_cache(maxsize=4096, typed=True)(_new_call)
