"""The matrices of minimal filtering, which trade products of a short convolution for sums, after Toom and Cook.

    y[i] = sum over k of w[k] * x[i + k]   for i < outputs, k < taps     =     A @ ((G @ w) * (B @ x))

x and w are taken as polynomials that are multiplied by their values at outputs + taps - 2 points and at infinity, so
that many products are enough (Lavin and Gray, arXiv 1509.09308, and for the points Barabasz and others, arXiv
1803.10986).  The matrices are exact fractions; the error of float arithmetic grows with the points' magnitudes and
their inverses, so these are 0 and small powers of two of either sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Matrix = list[list[Fraction]]

HALF = Fraction(1, 2)

#: The points by the number of taps, for four outputs: the best of those tried, by the largest error of 4000 float32
#: sums over 8 and 128 channels.  In units of u * sum|x||w| it is 16, 9, 14 and 14 over 8 channels, where
#: (0, 1, -1, 2), (0, 1, -1, 2, -2) and (0, 1, -1, 1/2, -2, -1/2) have 19, 15 and 18.
POINTS = {
    2: (0, 1, -1, HALF),
    3: (0, 1, -1, HALF, -2),
    4: (0, 1, -1, HALF, -HALF, 2),
    5: (0, 1, -1, 2, -2, HALF, -HALF),
}


class Matrices(NamedTuple):
    """A (outputs, n), G (n, taps) and B (n, n), where n = outputs + taps - 1."""

    A: Matrix
    G: Matrix
    B: Matrix


def polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients, the lowest first, of the product of all (z - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def matrices(outputs: int, points: Sequence[Fraction | int]) -> Matrices:
    """The matrices of `outputs` outputs and len(points) + 2 - outputs taps."""
    finite = [Fraction(point) for point in points]
    taps = len(finite) + 2 - outputs
    A = [[point**i for point in finite] + [Fraction(i == outputs - 1)] for i in range(outputs)]
    G, B = [], []
    for point in finite:
        others = [other for other in finite if other != point]
        row, weight = polynomial(others) + [Fraction(0)], Fraction(1)
        for other in others:
            weight /= point - other
        # A power of two, which rounds nothing, moves from B to G, so that sums of x are about as large as x.
        scale = power_of_two(sum(map(abs, row), Fraction(0)) / 2)
        B.append([value / scale for value in row])
        G.append([scale * weight * point**k for k in range(taps)])
    B.append(polynomial(finite))
    G.append([Fraction(k == taps - 1) for k in range(taps)])
    return Matrices(A, G, B)


def power_of_two(value: Fraction) -> Fraction:
    """The largest power of two that is not above `value`."""
    power = Fraction(1)
    while power > value:
        power /= 2
    while 2 * power <= value:
        power *= 2
    return power
