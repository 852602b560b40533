"""What the CPU that Numba compiles for can do: vector width, registers, FMA, caches.

The facts come from Numba's own code generator, not from the host, so that they hold under
``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` too.  Each is read once, when first asked for.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import numpy as np

#: (a feature of the CPU model, vector bits, vector registers); the first that is present counts.
#: NEON stands last but one as every aarch64 CPU has it; 128 bits and 16 registers are the floor of x86-64 (SSE2).
VECTOR_UNITS = (
    ("avx512f", 512, 32),
    ("avx", 256, 16),
    ("neon", 128, 32),
    ("", 128, 16),
)

#: Bytes of a cache line, on every CPU that Numba compiles for but some of Apple's, where two make one.
LINE_BYTES = 64

#: Bytes of the L1 data cache and the L2 cache of a core where the system does not say: what most have.
DEFAULT_CACHE_BYTES = {1: 32 * 1024, 2: 512 * 1024}


@cache
def _target() -> tuple[str, frozenset[str]]:
    """Name and features of the CPU model that Numba compiles for."""
    from numba.core.registry import cpu_target

    codegen = cpu_target.target_context.codegen()
    _, name, features = codegen.magic_tuple()
    present = {feature[1:] for feature in features.split(",") if feature.startswith("+")}
    if platform.machine() in ("aarch64", "arm64"):
        present |= {"neon", "fma"}
    return name, frozenset(present)


def cpu_name() -> str:
    """LLVM's name of the CPU model, ``znver3`` say, or ``generic``."""
    return _target()[0]


def features() -> frozenset[str]:
    """LLVM's names of what the CPU model can do."""
    return _target()[1]


@cache
def _vector_unit() -> tuple[int, int]:
    return next((bits, count) for name, bits, count in VECTOR_UNITS if not name or name in features())


def lanes(dtype: np.dtype) -> int:
    """Elements of `dtype` in one vector register."""
    return _vector_unit()[0] // 8 // dtype.itemsize


def registers() -> int:
    """Vector registers that a kernel may use."""
    return _vector_unit()[1]


def has_fma() -> bool:
    """Whether one instruction multiplies and adds with one rounding."""
    return "fma" in features()


@cache
def cache_bytes(level: int) -> int:
    """Bytes of the L1 data cache (`level` 1) or the L2 cache (`level` 2) of one core."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            facts = [(index / name).read_text().strip() for name in ("level", "type", "size")]
        except OSError:
            continue
        if facts[0] == str(level) and facts[1] != "Instruction" and facts[2].endswith("K"):
            return int(facts[2][:-1]) * 1024
    return DEFAULT_CACHE_BYTES[level]


def threads() -> int:
    """Threads that Numba may start."""
    import numba

    return int(numba.config.NUMBA_NUM_THREADS)
