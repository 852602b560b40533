"""What stands side by side along one axis comes to stand so along the other, and nothing around it changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastconv1d import machine, tuning
from fastconv1d.packing import fill_panels
from fastconv1d.turning import turn

pytestmark = pytest.mark.generic


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("between", [0, 3])
def test_every_size_around_a_tile_is_turned(dtype: type, between: int) -> None:
    """With numbers between the rows, and without."""
    lanes = machine.lanes(np.dtype(dtype))
    sizes = {*range(1, tuning.MOST_ZIPPED + 2), lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3} - {0}
    for rows, columns in itertools.product(sizes, sizes):
        source = np.arange(rows * (columns + between), dtype=dtype).reshape(rows, columns + between)
        target = np.full((columns + 2, rows + between), -1, dtype)
        expected = target.copy()
        expected[:columns, :rows] = source[:, :columns].T
        sizes = rows, columns, source.shape[1], target.shape[1], lanes
        turn.run((source.reshape(-1), target.reshape(-1)), sizes)
        np.testing.assert_array_equal(target, expected, err_msg=f"{rows} x {columns}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F", "strided", "float16", "unaligned"])
def test_weights_of_any_memory_are_brought_into_panels(dtype: type, order: str) -> None:
    columns = 2 * machine.lanes(np.dtype(dtype))
    for groups, R, C, K in itertools.product((1, 3), (1, columns - 1, columns, 2 * columns + 5), (1, 2, 17), (1, 3)):
        w = np.arange(groups * R * C * K, dtype=dtype).reshape(groups * R, C, K) % 1009
        expected = np.zeros((groups, -(-R // columns) * columns, C, K), dtype)
        expected[:, :R] = w.reshape(groups, R, C, K)
        expected = expected.reshape(groups, -1, columns, C, K).transpose(0, 1, 3, 4, 2)
        if order in "CF":
            w = np.array(w, order=order)
        elif order == "strided":
            w = np.repeat(w, 2, axis=1)[::-1, ::2][::-1]
        elif order == "float16":
            w = w.astype(np.float16)
        else:
            room = np.empty(w.nbytes + 1, np.uint8)
            view = room[1:].view(dtype).reshape(w.shape)
            view[...] = w
            w = view
        panels = np.full(expected.size, np.nan, dtype)
        fill_panels(panels, w, groups, columns)
        np.testing.assert_array_equal(panels, expected.reshape(-1), err_msg=f"{groups} groups of {R}, {C} x {K}")
