"""The matrices of minimal filtering are exact, and the points are those that the docstring says."""

from __future__ import annotations

from fractions import Fraction

import pytest

from fastconv1d.toom_cook import POINTS, matrices, polynomial, power_of_two

pytestmark = pytest.mark.nojit


def times(matrix: list[list[Fraction]], vector: list[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


@pytest.mark.parametrize(
    ("outputs", "points"), [*((4, p) for p in POINTS.values()), (2, (0, 1, -1)), (6, (0, 1, -1, 2, -2, 5, 7))]
)
def test_the_products_make_the_convolution_exactly(outputs: int, points: tuple[Fraction | int, ...]) -> None:
    taps = len(points) + 2 - outputs
    A, G, B = matrices(outputs, points)
    # Bilinear in w and x, so unit vectors are enough.
    for k in range(taps):
        for i in range(outputs + taps - 1):
            w = [Fraction(at == k) for at in range(taps)]
            x = [Fraction(at == i) for at in range(outputs + taps - 1)]
            products = [a * b for a, b in zip(times(G, w), times(B, x), strict=True)]
            assert times(A, products) == [Fraction(o + k == i) for o in range(outputs)]


def test_polynomial_and_power() -> None:
    assert polynomial([Fraction(1), Fraction(2)]) == [2, -3, 1]
    assert [power_of_two(Fraction(v)) for v in (1, 5, Fraction(1, 3))] == [1, 4, Fraction(1, 4)]
