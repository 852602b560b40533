"""The named problems that everything here is timed on, and the check of a result.

`problems.json` holds layers of published models with their sources, variants of them in another dtype or data format,
sweeps that show how cost grows, and suites, the short lists of asv and pytest-benchmark.  asv reads this file by its
path, to time commits that have no list yet: of the package it needs only what the first commit had.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastconv1d.problem import Conv1dProblem, describe

Array = np.ndarray[Any, Any]

#: Errors are counted in units of u * sum|w| * max|x|; algorithms that transform blocks may be off by 64.
UNITS = 64

#: Elements of the windows that the check spreads out at a time.
_WINDOWS = 2**22


@dataclass(frozen=True)
class Problem:
    """One convolution by its name, with normally distributed numbers: the same ones each time."""

    name: str
    source: str
    N: int
    C_in: int
    L: int
    C_out: int
    K: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: int | str = 0
    dtype: str = "float32"
    data_format: str = "NCW"
    layer: str = ""

    @property
    def family(self) -> str:
        """What it has in common with others, as the README's table puts them together."""
        if self.C_in == self.C_out == 1:
            return "one channel"
        if self.groups == self.C_in > 1:
            return "depthwise"
        return "64 channels or more in and out" if min(self.C_in, self.C_out) >= 64 else "fewer channels"

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of conv1d."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups", "data_format")}

    def arrays(self) -> tuple[Array, Array]:
        """x and w in the data format."""
        rng = np.random.default_rng(0)
        C_in_g = self.C_in // self.groups
        x = _numbers(rng, (self.N, self.C_in, self.L), self.dtype, 1.0)
        w = _numbers(rng, (self.C_out, C_in_g, self.K), self.dtype, (C_in_g * self.K) ** -0.5)
        return in_format(self.data_format, x), in_format(self.data_format, w, (2, 1, 0))

    def described(self, data_format: str) -> Conv1dProblem:
        """The problem in numbers, of x and w in this data format."""
        x, w = (self.N, self.C_in, self.L), (self.C_out, self.C_in // self.groups, self.K)
        if data_format == "NWC":
            x, w = (self.N, self.L, self.C_in), w[::-1]
        dtype, options = np.dtype(self.dtype), self.options | {"data_format": data_format}
        return describe(x, dtype, w, dtype, **options)


def in_format(data_format: str, a: Array, axes: tuple[int, int, int] = (0, 2, 1)) -> Array:
    """An array of NCW as it is, or for NWC with its axes moved, contiguous."""
    return np.ascontiguousarray(a.transpose(axes)) if data_format == "NWC" else a


def _numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, scale: float) -> Array:
    kind = np.dtype(dtype).kind
    if kind in "iu":
        return rng.integers(0, 4, shape).astype(dtype)
    values = scale * rng.standard_normal(shape)
    if kind == "c":
        values = values + 1j * scale * rng.standard_normal(shape)
    return values.astype(dtype)


@functools.cache
def _contents() -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(Path(__file__).with_name("problems.json").read_text())
    return contents


@functools.cache
def problems() -> dict[str, Problem]:
    """Every problem by its name: the layers, the variants and the points of the sweeps.

    Examples
    --------
    >>> problems()["mel-dense"].family
    'fewer channels'
    """
    contents = _contents()
    numbers = {layer["name"]: layer for layer in contents["layers"]}
    numbers |= {v["name"]: numbers[v["of"]] | {key: v[key] for key in v if key != "of"} for v in contents["variants"]}
    for sweep in contents["sweeps"]:
        base = {key: value for key, value in sweep.items() if key not in ("vary", "values")}
        for value in sweep["values"]:
            name = f"{sweep['name']}-{value}"
            numbers[name] = base | {"name": name} | dict.fromkeys(sweep["vary"], value)
    return {name: Problem(**numbers[name]) for name in numbers}


def layers() -> list[str]:
    """The names of the layers of published models."""
    return [layer["name"] for layer in _contents()["layers"]]


def sweeps() -> dict[str, dict[Any, str]]:
    """For each sweep what varies, and the name of the problem for each value."""
    return {s["name"]: {value: f"{s['name']}-{value}" for value in s["values"]} for s in _contents()["sweeps"]}


def suites() -> dict[str, list[str]]:
    """The names of a few problems of each kind: what asv and pytest-benchmark time."""
    suites: dict[str, list[str]] = _contents()["suites"]
    return suites


def check(problem: Problem, x: Array, w: Array) -> Callable[[Array], float]:
    """What tells how far a result is off, as a share of what is allowed: right up to 1.  All in the problem's format.

    The other result is a matrix product in 64 bits.  Integers have to be equal.
    """
    last = problem.data_format == "NWC"
    if last:
        x, w = x.transpose(0, 2, 1), w.transpose(2, 1, 0)
    p = problem.described("NCW")
    sums = _sums(p, x, w)
    unit = 0.0 if p.dtype.kind in "iu" else float(np.finfo(p.dtype).eps) / 2
    allowed = UNITS * unit * np.abs(w).sum(axis=(1, 2), dtype=np.float64) * float(np.abs(x).max())

    def error(y: Array) -> float:
        y = y.transpose(0, 2, 1) if last else y
        if (y.shape, y.dtype) != (p.out_shape, p.dtype):
            return math.inf
        off = np.array([np.abs(y[:, o] - sums[:, o]).max() for o in range(p.C_out)])  # in little memory
        share = np.divide(off, allowed, out=np.where(off == 0, 0.0, math.inf), where=allowed > 0)
        return float(share.max()) if np.isfinite(share).all() else math.inf

    return error


def _sums(p: Conv1dProblem, x: Array, w: Array) -> Array:
    """The result in float64 or complex128, of x (N, C_in, L) and w (C_out, C_in/groups, K)."""
    wide = np.result_type(p.dtype, np.float64)
    padded = np.pad(x.astype(wide), ((0, 0), (0, 0), (p.pad_left, p.pad_right)))
    windows = sliding_window_view(padded, p.K_span, axis=2)[:, :, :: p.stride, :: p.dilation]
    filters = w.astype(wide).reshape(p.groups, p.C_out_g, -1)
    sums = np.empty((p.N, p.groups, p.C_out_g, p.L_out), wide)
    step = max(1, _WINDOWS // filters.shape[2])
    for n, g, t in itertools.product(range(p.N), range(p.groups), range(0, p.L_out, step)):
        block = windows[n, g * p.C_in_g : (g + 1) * p.C_in_g, t : t + step]  # (C_in/groups, times, K)
        sums[n, g, :, t : t + step] = filters[g] @ block.swapaxes(1, 2).reshape(-1, block.shape[1])
    return sums.reshape(p.out_shape)
