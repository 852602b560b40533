"""Bias and activation, applied to a block of the output while it is in cache."""

from __future__ import annotations

import math

from numba import types
from numba.extending import overload

from .compile import kernel
from .problem import ACTIVATIONS
from .simd import channels_of, contiguous, times_of

#: What the kernels know an activation by; 0 is none.
ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS, start=1)}
RELU, SILU, GELU, TANH, SIGMOID, SOFTPLUS, LEAKY_RELU, ELU = (
    ACTIVATION_CODES[name] for name in ("relu", "silu", "gelu", "tanh", "sigmoid", "softplus", "leaky_relu", "elu")
)
SQRT_HALF = math.sqrt(0.5)


def activated(v, code):
    """The activation of one number.  In kernels the type of `v` decides which of them are compiled for it."""
    if code == 0:
        return v
    return rectified(v) if code == RELU else curved(v, code)


@kernel
def rectified(v):
    """relu; NaN stays NaN."""
    return type(v)(0) if v <= 0 else v


@kernel
def curved(v, code):
    """The activations of real floats, each in a form that neither overflows nor cancels."""
    one = type(v)(1)
    if code == SILU or code == SIGMOID:
        e = math.exp(-abs(v))
        sigmoid = (one if v >= 0 else e) / (one + e)
        return v * sigmoid if code == SILU else sigmoid
    if code == GELU:  # v * Phi(v), exact; erfc keeps the digits of the negative tail
        return v * type(v)(0.5) * math.erfc(-v * type(v)(SQRT_HALF))
    if code == TANH:
        return math.tanh(v)
    if code == SOFTPLUS:
        return max(v, type(v)(0)) + math.log1p(math.exp(-abs(v)))
    if code == LEAKY_RELU:
        return v if v > 0 else v * type(v)(0.01)
    return v if v > 0 else math.expm1(v)  # ELU


@overload(activated)
def _activated(v, code):
    if isinstance(v, types.Float):
        return lambda v, code: v if code == 0 else rectified(v) if code == RELU else curved(v, code)
    if isinstance(v, types.Integer):
        return lambda v, code: v if code == 0 else rectified(v)
    return lambda v, code: v


@kernel
def finish(y, n, c0, c1, t0, t1, bias, activation):
    """y[n, c, t] = activation(y[n, c, t] + bias[c]) for c0 <= c < c1, t0 <= t < t1; `bias` is empty for none."""
    along_time = y.strides[2] == y.itemsize  # else the channels stand side by side
    for i in range(c0, c1) if along_time else range(t0, t1):
        run = contiguous(times_of(y, n, i, t0, 1, t1 - t0) if along_time else channels_of(y, n, c0, c1 - c0, i))
        if bias.size:
            for j in range(run.size):
                run[j] += bias[i if along_time else c0 + j]
        if activation:
            for j in range(run.size):
                run[j] = activated(run[j], activation)
