"""One call: x and y seen as (N, C, L) whatever their layout, and what is left to do around the kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .memory import empty
from .plan import Plan, Prepared
from .problem import check_out

Activation = str | Callable[[np.ndarray], Any] | None


class Call:
    """A plan for an x of one shape, and a w of the rank that makes its axes mean what they do."""

    def __init__(self, plan: Plan, x_shape: tuple[int, ...], w_ndim: int):
        self.plan = plan
        self.one_filter = w_ndim == 1
        if self.one_filter:
            self.shape = (*x_shape[:-1], plan.problem.L_out)
        else:
            self.shape = plan.problem.out_shape[3 - len(x_shape) :]
        # The leading axes of x may have no common stride, and a copy of all of x is not to be made.
        self.several = self.one_filter and len(x_shape) > 2
        self.view = _rows if self.one_filter else _VIEWS[len(x_shape), plan.problem.channels_last]

    def prepare(self, w: np.ndarray, bias: np.ndarray | None) -> Prepared:
        """w and bias as the kernels read them."""
        if self.one_filter:
            w = w[None, None]
        elif self.plan.problem.channels_last:
            w = w.transpose(2, 1, 0)
        return self.plan.prepare(w, bias)

    def run(
        self,
        x: np.ndarray,
        prepared: Prepared,
        activation: Activation,
        out: np.ndarray | None,
        operands: tuple[np.ndarray | None, ...],
    ) -> np.ndarray:
        """The convolution; `operands` are what `out` may overlap."""
        plan = self.plan
        if out is None:
            y = empty(self.shape, plan.compute_dtype)
        else:
            check_out(out, self.shape, plan.dtype)
            fits = not callable(activation) and _can_be_filled(out, plan.compute_dtype, operands)
            y = out if fits else empty(self.shape, plan.compute_dtype)
        if self.several and x.flags.c_contiguous and y.flags.c_contiguous:
            rows = math.prod(self.shape[:-1])  # which NumPy can't infer where x is empty
            plan.run(x.reshape(rows, 1, x.shape[-1]), prepared, y.reshape(rows, 1, y.shape[-1]))
        elif self.several:
            for index in np.ndindex(self.shape[:-2]):
                plan.run(_rows(x[index]), prepared, _rows(y[index]))
        else:
            plan.run(self.view(x), prepared, self.view(y))
        if plan.compute_dtype is not plan.dtype:
            with np.errstate(over="ignore"):  # a float16 that overflows is an infinity, as in the sum itself
                y = y.astype(plan.dtype)
        if callable(activation):
            y = _activated(activation, y)
        if out is None or y is out:
            return y
        np.copyto(out, y)
        return out


def _activated(activation: Callable[[np.ndarray], Any], y: np.ndarray) -> np.ndarray:
    """What the caller's function makes of the result; None is taken for a function that works in place."""
    result = activation(y)
    if result is None:
        return y
    if np.shape(result) != y.shape:
        raise ValueError(f"activation must keep the shape {y.shape}, but returned {np.shape(result)}")
    return np.asarray(result)


def _rows(a: np.ndarray) -> np.ndarray:
    """(L,) or (N, L) as (N, 1, L)."""
    return a[None, None] if a.ndim == 1 else a[:, None]


#: (N, C, L) by the rank of x and whether the channels come last.
_VIEWS: dict[tuple[int, bool], Callable[[np.ndarray], np.ndarray]] = {
    (3, False): lambda a: a,
    (2, False): lambda a: a[None],
    (3, True): lambda a: a.transpose(0, 2, 1),
    (2, True): lambda a: a.T[None],
}


def _can_be_filled(out: np.ndarray, dtype: np.dtype, operands: tuple[np.ndarray | None, ...]) -> bool:
    """Whether the kernels may write into `out`: no input would change, and the lanes stand side by side."""
    size = out.itemsize
    return (
        out.dtype == dtype
        and out.flags.aligned
        and out.strides[-1] == size
        and (out.shape[-1] > 1 or out.flags.c_contiguous)
        and not any(stride % size for stride in out.strides)
        and not any(np.may_share_memory(out, value) for value in operands if value is not None)
    )
