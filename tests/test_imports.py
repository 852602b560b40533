"""Imports run one way, LLVM and njit have one door each, and importing the package compiles nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RunPython

import fastconv1d

PACKAGE = Path(fastconv1d.__file__).parent

# Each module may import those before it. A new module finds its place here first.
ORDER = (
    "problem",
    "reference",
    "tuning",
    "machine",
    "memory",
    "toom_cook",
    "simd",
    "simd.vectors",
    "simd.tiles",
    "simd.complex_tiles",
    "simd.arithmetic",
    "simd.moves",
    "simd.arrays",
    "simd.atomics",
    "cache",
    "keeping",
    "compile",
    "cores",
    "sweep",
    "sharing",
    "helpers",
    "driver",
    "threads",
    "cost",
    "decoding",
    "epilogue",
    "geometry",
    "turning",
    "packing",
    "transform",
    "blocks",
    "algorithms.direct",
    "algorithms.depthwise",
    "algorithms.winograd_blocks",
    "algorithms.winograd",
    "algorithms.fft_blocks",
    "algorithms.fft",
    "algorithms.scalar",
    "algorithms",
    "plan",
    "call",
    "functional",
    "layer",
    "warm",
    "",  # the package itself
    "bench",
    "bench.problems",
    "bench.measure",
    "bench.peers",
    "bench.results",
    "bench.figures",
    "bench.readme",
    "bench.command",
    "bench.__main__",
    "__main__",
)

# Who may import what from outside of the standard library.
OUTSIDE = {
    "problem": {"numpy"},
    "reference": {"numpy"},
    "simd.vectors": {"numpy", "numba", "llvmlite"},
    "simd.tiles": {"numpy", "numba", "llvmlite"},
    "simd.complex_tiles": {"numba", "llvmlite"},
    "simd.arithmetic": {"numpy", "numba", "llvmlite"},
    "simd.moves": {"numba", "llvmlite"},
    "simd.arrays": {"numpy", "numba", "llvmlite"},
    "simd.atomics": {"numba", "llvmlite"},
    "bench.peers": {"numpy", "scipy", "torch", "onnx", "onnxruntime", "jax", "tensorflow"},
    "bench.figures": {"matplotlib"},
    "bench.command": {"tqdm"},
    "warm": {"numpy", "tqdm"},
}
COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "jit_module"}


def modules() -> dict[str, str]:
    """Return the source of each module by its dotted name inside of the package."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return names


def imports(source: str, module: str, known: tuple[str, ...]) -> Iterator[str]:
    """Yield what a module imports, wherever in it: "numpy.lib", or of this package ".packing" and "." itself."""
    package = module if any(name.startswith(module + ".") for name in known) else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.removeprefix("fastconv1d") if _ours(name.name) else name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".") if package else []
                base = ".".join(filter(None, [*parents[: len(parents) - node.level + 1], base]))
            elif _ours(base):
                base = base.removeprefix("fastconv1d").removeprefix(".")
            else:
                yield base
                continue
            for name in node.names:
                inner = f"{base}.{name.name}".strip(".")
                yield f".{inner if inner in known else base}"


def _ours(name: str) -> bool:
    return name.split(".")[0] == "fastconv1d"


def violations(source: str, module: str) -> list[str]:
    """Return what the rules of this file say about a module."""
    found = []
    for name in imports(source, module, ORDER):
        if name.startswith("."):
            if module == "reference":
                found.append(f"reference imports {name}, it stands alone")
            elif ORDER.index(name[1:]) >= ORDER.index(module):
                found.append(f"{module} imports {name}, which is not below it")
            continue
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top not in OUTSIDE.get(module, {"numpy", "numba"}):
            found.append(f"{module} imports {name}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("numba"):
            names = {name.name for name in node.names}
        else:
            names = (
                {node.attr}
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("np", "jax")
                else set()
            )
        if module != "compile":
            found += [f"{module} compiles by {name}" for name in sorted(names & COMPILERS)]
        if isinstance(node, ast.keyword) and node.arg == "fastmath":
            found.append(f"{module} sets fastmath")
    return found


@pytest.mark.nojit
@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    assert module in ORDER, "a new module needs its place in ORDER"
    assert violations(modules()[module], module) == []


BAD = {
    "from .plan import Plan": "imports .plan",
    "from . import plan": "imports .plan",
    "from . import conv1d": "imports .,",
    "import fastconv1d.functional": "imports .functional",
    "from fastconv1d.functional import conv1d": "imports .functional",
    "from .algorithms.direct import run": "imports .algorithms.direct",
    "def f():\n    from .algorithms import direct": "imports .algorithms.direct",
    "if TYPE_CHECKING:\n    from .packing import rows": "imports .packing",
    "import llvmlite.binding as ll": "imports llvmlite",
    "from llvmlite import ir": "imports llvmlite",
    "import scipy.signal": "imports scipy",
    "from numba import njit": "compiles by njit",
    "@numba.njit(nogil=True)\ndef f(): pass": "compiles by njit",
    "@numba.vectorize\ndef f(): pass": "compiles by vectorize",
    "call(fastmath=True)": "sets fastmath",
}


@pytest.mark.nojit
@pytest.mark.parametrize("source", BAD)
def test_the_check_finds_a_turn_back(source: str) -> None:
    found = violations("import numpy as np\nfrom .machine import lanes\n" + source, "packing")
    assert len(found) == 1
    assert BAD[source] in found[0]


@pytest.mark.nojit
def test_the_check_of_what_stands_alone() -> None:
    assert violations("import math\nimport numpy as np\n", "reference") == []
    assert violations("import numba\n", "reference") == ["reference imports numba"]
    assert violations("from .problem import output_length\n", "reference") != []
    assert violations("from ..packing import rows\nfrom ..simd.arrays import call\n", "algorithms.direct") == []
    assert violations("from ..plan import Plan\n", "algorithms.direct") != []
    assert violations("from . import scalar\n", "algorithms.direct") != []
    assert violations("from llvmlite import ir\nfrom .vectors import Vectors\n", "simd.tiles") == []
    assert violations("from llvmlite import ir\n", "simd") == ["simd imports llvmlite"]
    assert violations("from . import arrays\n", "simd.tiles") != []
    assert violations("from ..cores import leave\n", "simd.arrays") != []


COMPILED = """
import gc, sys
import numba, numpy as np
before = {name.split(".")[0] for name in sys.modules}
import fastconv1d
loaded = {name.split(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)
print(sorted(loaded))

def compiled():
    dispatchers = [o for o in gc.get_objects() if isinstance(o, numba.core.dispatcher.Dispatcher)]
    return sum(len(d.signatures) for d in dispatchers if d.py_func.__module__.startswith("fastconv1d"))

print(compiled())
fastconv1d.conv1d(np.ones(9, np.float32), np.ones(2, np.float32))
print(compiled() > 0)
"""


def test_importing_compiles_nothing_and_loads_nothing_else(run_python: RunPython) -> None:
    child = run_python("-c", COMPILED)
    assert child.stdout.split("\n") == ["['fastconv1d']", "0", "True", ""], child.stderr
