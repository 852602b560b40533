"""Numbers for which Numba has no type, read by the kernels one at a time: float16 and the other byte order.

An array of them is viewed, without a copy, as records of one unsigned field whose name says what its bits are.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from .compile import jit_disabled, kernel
from .simd.arrays import as_float32, as_float64, swap_bytes


def readable(x: np.ndarray) -> np.ndarray:
    """`x` itself, or a view of it that the kernels can read; a copy only of complex numbers in the other byte order."""
    native = x.dtype.newbyteorder("=")
    if x.dtype.isnative and native != np.float16:
        return x
    if native.kind == "c" or jit_disabled():
        return x.astype(np.float32 if native == np.float16 else native)
    # A second name of the same bits tells the kernels' compiler what they mean.
    meaning = f"{'native' if x.dtype.isnative else 'swapped'}_{native.name}"
    unsigned = f"u{native.itemsize}"
    return x.view(np.dtype({"names": ["bits", meaning], "formats": [unsigned] * 2, "offsets": [0, 0]}))


def number(element):
    """The number that `element` of a readable array stands for."""
    return element


@kernel
def half(bits):
    """The float32 of the bits of a float16: the exponent is rebiased by a product, exact for subnormals too."""
    magnitude = np.uint32(bits & 0x7FFF) << np.uint32(13)
    sign = np.uint32(bits & 0x8000) << np.uint32(16)
    if bits & 0x7C00 == 0x7C00:
        return as_float32(np.uint32(magnitude | np.uint32(0x7F800000) | sign))
    value = as_float32(np.uint32(magnitude)) * np.float32(2.0**112)
    return -value if sign else value


@overload(number)
def _number(element):
    if not isinstance(element, types.Record):
        return lambda element: element
    meaning = next(name for name in element.fields if name != "bits")
    return {
        "native_float16": lambda element: half(element.bits),
        "swapped_float16": lambda element: half(swap_bytes(element.bits)),
        "swapped_float32": lambda element: as_float32(swap_bytes(element.bits)),
        "swapped_float64": lambda element: as_float64(swap_bytes(element.bits)),
        "swapped_int16": lambda element: np.int16(swap_bytes(element.bits)),
        "swapped_int32": lambda element: np.int32(swap_bytes(element.bits)),
        "swapped_int64": lambda element: np.int64(swap_bytes(element.bits)),
    }.get(meaning, lambda element: swap_bytes(element.bits))
