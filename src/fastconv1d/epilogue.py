"""Bias and activation, applied to a block of the output while it is in cache."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba.extending import overload

from .compile import Standalone, jit_disabled, kernel, standalone
from .problem import Conv1dProblem
from .simd.arrays import address, call, channels_of, contiguous, times_of

SQRT_HALF = math.sqrt(0.5)


# Of real floats, and relu of integers too, each in a form that neither overflows nor cancels.


def relu(v):
    """NaN stays NaN."""
    return type(v)(0) if v <= 0 else v


def sigmoid(v):
    e = math.exp(-abs(v))
    return (type(v)(1) if v >= 0 else e) / (type(v)(1) + e)


def silu(v):
    return v * logistic(v)


def gelu(v):
    """v * Phi(v), exact; erfc keeps the digits of the negative tail."""
    return v * type(v)(0.5) * math.erfc(-v * type(v)(SQRT_HALF))


def tanh(v):
    return math.tanh(v)


def softplus(v):
    return max(v, type(v)(0)) + math.log1p(math.exp(-abs(v)))


def leaky_relu(v):
    return v if v > 0 else v * type(v)(0.01)


def elu(v):
    return v if v > 0 else math.expm1(v)


logistic = kernel(sigmoid)


def _along_a_row(function: Callable[..., float]) -> Standalone:
    function = kernel(function)

    def activate(row, count):
        for j in range(count):
            row[j] = function(row[j])

    return standalone(pointers=1, integers=1, tables=0)(activate)


#: Each compiled by itself, when a problem asks for it: all of them inside of every driver took 0.2 s to compile, and a
#: loop over one alone is vectorised: relu of a depthwise layer is 5 times as fast, silu 1.5 times.
ROWS = {
    function.__name__: _along_a_row(function)
    for function in (relu, silu, gelu, tanh, sigmoid, softplus, leaky_relu, elu)
}


def activation_of(problem: Conv1dProblem) -> int:
    """What the kernels know the activation of a problem by: the address of its machine code, or 0 for none."""
    if problem.activation not in ROWS:
        return 0
    if jit_disabled():
        return 1 + list(ROWS).index(problem.activation)
    return ROWS[problem.activation].address(problem.compute_dtype)


def activate(row: np.ndarray, activation: int) -> None:
    """The activation of each number of a contiguous row."""
    (*ROWS.values(),)[activation - 1].function(row, row.size)


@overload(activate)
def _activate(row, activation):
    return lambda row, activation: call(activation, (address(row), row.size))


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
            activate(run, activation)
