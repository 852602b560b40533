"""What the CPU that Numba compiles for can do: vector width, registers, FMA, caches.

The facts come from Numba's own code generator, not from the host, so that they hold under
``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` too.  Each is read once, when first asked for.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

#: (a feature of the CPU model, vector bits, vector registers); the first that is present counts.
#: NEON stands last but one as every aarch64 CPU has it; 128 bits and 16 registers are the floor of x86-64 (SSE2).
VECTOR_UNITS = (
    ("avx512f", 512, 32),
    ("avx", 256, 16),
    ("neon", 128, 32),
    ("", 128, 16),
)

#: CPUs that use a vector unit of 256 bits twice for 512: they start one multiply-add a cycle, others two.
HALF_RATE = ("znver4",)

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
    if platform.machine() in ("aarch64", "arm64", "ARM64"):
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
def fma_half_cycles() -> int:
    """Half cycles that a multiply-add of whole vectors takes where they follow upon one another."""
    return 2 if _vector_unit()[0] == 512 and cpu_name() in HALF_RATE else 1


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


@cache
def threads() -> int:
    """Threads that a call may use: those that Numba starts, or less where the user or a container's quota says so."""
    import numba

    most = threads_asked_for() or cpu_quota() or numba.config.NUMBA_NUM_THREADS
    return min(most, int(numba.config.NUMBA_NUM_THREADS))


@cache
def threads_asked_for() -> int | None:
    """FASTCONV1D_NUM_THREADS, or None where it is not set."""
    text = os.environ.get("FASTCONV1D_NUM_THREADS", "").strip()
    if text and not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"FASTCONV1D_NUM_THREADS must be a number from 1 on, or not be set, got {text!r}")
    return int(text) if text else None


def cpu_quota(root: Path = Path("/")) -> int | None:
    """How many CPUs the control groups of this process allow it, rounded up; None if as many as there are."""
    return min((-(-quota // period) for quota, period in _quotas(root)), default=None)


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Yield (quota, period) in microseconds of each control group above this process that has them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In a container the name may be that of the host, and its own group is then the root.
        group = PurePosixPath(name.lstrip("/"))
        for folder in (group, *group.parents):
            place = root / "sys/fs/cgroup" / controllers / folder
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)  # version 1, version 2
            try:
                quota, period = " ".join((place / file).read_text() for file in files).split()
            except (OSError, ValueError):
                continue
            if quota not in ("max", "-1"):
                yield int(quota), int(period)
