"""What stands side by side along one axis comes to stand so along the other, and nothing around it changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastconv1d import machine, tuning
from fastconv1d.turning import turn

pytestmark = pytest.mark.generic


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_size_around_a_tile_is_turned(dtype: type) -> None:
    lanes = machine.lanes(np.dtype(dtype))
    sizes = sorted({1, 2, tuning.FEW, tuning.FEW + 1, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 3} - {0})
    for rows, columns in itertools.product(sizes, sizes):
        source = np.arange(rows * (columns + 3), dtype=dtype).reshape(rows, columns + 3)
        target = np.full((columns + 2, rows + 5), -1, dtype)
        expected = target.copy()
        expected[:columns, :rows] = source[:, :columns].T
        turn.run(source, target, rows, columns, source.shape[1], target.shape[1], lanes)
        np.testing.assert_array_equal(target, expected, err_msg=f"{rows} x {columns}")
