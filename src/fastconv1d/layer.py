"""Conv1d: a convolution whose weights are checked, planned and prepared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import numpy as np

from .call import Call
from .functional import array_or_shape, find_call
from .plan import Explanation, Prepared, algorithm_for, check_name, explain_plan
from .problem import as_array, describe_weights

__all__ = ["Conv1d"]

#: Shapes of x for which a layer keeps its weights prepared, each by itself, before it begins anew.
MOST_SHAPES = 16


class Conv1d:
    """`conv1d` with given weights, prepared: what depends on them alone is done once, not at every call.

    ``Conv1d(w, ...)(x)`` is ``conv1d(x, w, ...)``.  The weights are checked when the layer is made; they are packed or
    transformed at the first call for each shape and dtype of x, and kept for a number of them.  As that is paid once, a
    layer may choose another algorithm than `conv1d` does, and round differently, within the same bounds.

    Parameters
    ----------
    w, bias, stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm
        As in `conv1d`.  `w` and `bias` are copied: changing them later changes nothing.

    Attributes
    ----------
    w, bias : ndarray
        Read-only copies; `bias` may be None.
    stride, padding, dilation, groups, padding_mode, data_format, activation, algorithm
        As they were given.

    Raises
    ------
    ValueError, TypeError
        As `conv1d` would, for what is wrong whatever x is.

    See Also
    --------
    conv1d : the same, once.

    Notes
    -----
    A layer may be called from several threads at once, pickled and copied; what was prepared is prepared again there.

    Examples
    --------
    >>> import numpy as np
    >>> import fastconv1d
    >>> layer = fastconv1d.Conv1d(np.ones((16, 1, 3), np.float32), padding="same", activation="relu")
    >>> layer(np.ones((2, 1, 8000), np.float32)).shape
    (2, 16, 8000)
    >>> layer
    Conv1d(w=float32 (16, 1, 3), padding='same', activation='relu')
    """

    def __init__(
        self,
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
    ):
        self.w = _read_only_copy(w, "w")
        self.bias = None if bias is None else _read_only_copy(bias, "bias")
        # A list that its owner changes later would change some calls and not others.
        self.stride, self.padding, self.dilation, self.groups = (
            tuple(value) if isinstance(value, list) else value for value in (stride, padding, dilation, groups)
        )
        self.padding_mode, self.data_format = padding_mode, data_format
        self.activation, self.algorithm = activation, check_name(algorithm)
        self._prepared: dict[tuple[tuple[int, ...], np.dtype], tuple[Call, Prepared]] = {}
        problem = describe_weights(
            self.w.shape, self.w.dtype,
            None if self.bias is None else self.bias.shape, None if self.bias is None else self.bias.dtype,
            stride, padding, dilation, groups,
            padding_mode=padding_mode, data_format=data_format, activation=activation,
        )  # fmt: skip
        if algorithm != "auto":
            algorithm_for(problem, algorithm, prepared=True)  # which refuses

    def __call__(self, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Convolve x.

        Parameters
        ----------
        x : array_like
            As in `conv1d`.
        out : ndarray, optional
            As in `conv1d`.

        Returns
        -------
        ndarray
            As by `conv1d`.

        Raises
        ------
        ValueError, TypeError
            As by `conv1d`.
        """
        if type(x) is not np.ndarray:
            x = as_array(x, "x")
        key = (x.shape, x.dtype)
        try:
            call, prepared = self._prepared[key]
        except KeyError:
            call = self._call(as_array(x, "x"))
            if len(self._prepared) >= MOST_SHAPES:
                self._prepared.clear()
            # Two threads may both do so, and get the same.
            call, prepared = self._prepared[key] = call, call.prepare(self.w, self.bias)
        return call.run(x, prepared, self.activation, out, (x,))

    def explain(self, x: Any) -> Explanation:
        """Tell how the layer computes an x, an array or a shape; as `fastconv1d.explain`."""
        return explain_plan(self._call(array_or_shape(x, "x")).plan, self.algorithm != "auto")

    def __repr__(self) -> str:
        texts = []
        for name, parameter in inspect.signature(Conv1d).parameters.items():
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                texts.append(f"{name}={value.dtype} {value.shape}")
            elif value != parameter.default:
                texts.append(f"{name}={value!r}")
        return f"Conv1d({', '.join(texts)})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_prepared": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for array in (self.w, self.bias):
            if array is not None:
                array.flags.writeable = False  # which pickles and deep copies forget

    def _call(self, x: np.ndarray) -> Call:
        return find_call(
            x, self.w, self.bias, self.stride, self.padding, self.dilation, self.groups,
            self.padding_mode, self.data_format, self.activation, self.algorithm, True,
        )  # fmt: skip


def _read_only_copy(value: Any, name: str) -> np.ndarray:
    copy = as_array(value, name).copy()
    copy.flags.writeable = False
    return copy
