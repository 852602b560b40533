"""``python -m fastconv1d``: info for bug reports, warmup to compile ahead, and bench, how fast it is."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from typing import Any

import numba
import numpy as np
from numba.core.codegen import ll  # the LLVM that Numba compiles with

from . import __version__, cache_info, machine, warmup
from .bench import command
from .plan import algorithm_for
from .problem import describe
from .sharing import MOST_WORKERS
from .simd.tiles import TILE_ROWS, most_vectors
from .threads import threads_for

FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon", "sve")
DTYPES = ("float16", "float32", "float64", "complex64", "int64")

#: One layer of each kind.
LAYERS: dict[str, dict[str, Any]] = {
    "dense": {"x_shape": (1, 64, 1024), "w_shape": (64, 64, 3), "groups": 1},
    "depthwise": {"x_shape": (1, 64, 1024), "w_shape": (64, 1, 3), "groups": 64},
}


def info() -> Iterator[tuple[str, str]]:
    """Yield the lines of the report, each with its name."""
    yield "fastconv1d", __version__
    yield "Python", f"{platform.python_version()}, {platform.platform()}"
    yield "NumPy", np.__version__
    yield "Numba", numba.__version__
    yield "llvmlite", f"{version('llvmlite')} with LLVM {'.'.join(map(str, ll.llvm_version_info))}"
    yield "CPU", " ".join([machine.cpu_name(), *(name for name in FEATURES if name in machine.features())])
    yield "vectors", f"{machine.lanes(np.dtype('f4'))} lanes of float32, {machine.lanes(np.dtype('f8'))} of float64"
    yield "", f"{machine.registers()} registers, {'' if machine.has_fma() else 'no '}fused multiply-add"
    yield "", f"tile of {TILE_ROWS} rows by {most_vectors(TILE_ROWS)} vectors"
    yield "caches", f"L1 {machine.cache_bytes(1) // 1024} KiB, L2 {machine.cache_bytes(2) // 1024} KiB a core"
    yield "threads", f"{threads_for(float('inf'), MOST_WORKERS)} of {machine.threads()}"
    yield "kernels", "plain Python, NUMBA_DISABLE_JIT is set" if numba.config.DISABLE_JIT else kept()
    yield "algorithms", columns(LAYERS)
    for name in ("x_shape", "w_shape", "groups"):
        yield f"  {name}", columns(layer[name] for layer in LAYERS.values())
    for dtype in map(np.dtype, DTYPES):
        yield f"  {dtype}", columns(algorithm(dtype, layer) for layer in LAYERS.values())


def columns(cells: Iterable[object]) -> str:
    return "".join(f"{cell!s:15}" for cell in cells).rstrip()


def kept() -> str:
    """Where compiled kernels are, and how many."""
    cache = cache_info()
    if cache.directory is None:
        return f"compiled in every process: {cache.reason}"
    return f"{cache.files} kept in {cache.directory}, {cache.bytes / 2**20:.1f} MiB"


def algorithm(dtype: np.dtype[Any], layer: dict[str, Any]) -> str:
    """The name of the algorithm that conv1d takes for this layer; explain would compile what that calls."""
    return algorithm_for(describe(**layer, x_dtype=dtype, w_dtype=dtype), "auto", False).name


def print_info() -> None:
    for name, text in info():
        print(f"{name:14}{text}", flush=True)


def compile_ahead(dtypes: list[str] | None) -> None:
    try:
        warmup(dtypes or ("float32", "float64"), verbose=True)
    except TypeError as error:
        sys.exit(f"--dtype: {error}")
    cache = cache_info()
    print(cache)
    if cache.directory is None:
        sys.exit(f"nothing is kept for the next process: {cache.reason}")


def no_arguments(parser: argparse.ArgumentParser) -> None:
    """A command that takes none."""


def dtype_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", dest="dtypes", action="append", help="of x and w; again for more (float32, float64)")


#: What comes after ``python -m fastconv1d``, its arguments, and its line of help.
COMMANDS: dict[str, tuple[Callable[..., None], Callable[[argparse.ArgumentParser], None], str]] = {
    "info": (print_info, no_arguments, "versions, CPU, threads and algorithms, for bug reports"),
    "warmup": (compile_ahead, dtype_argument, "compile the kernels of all algorithms ahead, for container images"),
    "bench": (command.bench, command.add_arguments, "the time of named problems, beside other libraries"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastconv1d", description="1-D convolution for NumPy arrays.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (function, add_arguments, text) in COMMANDS.items():
        command_parser = commands.add_parser(name, help=text, description=text)
        command_parser.set_defaults(function=function)
        add_arguments(command_parser)
    options = vars(parser.parse_args())
    options.pop("function")(**options)


if __name__ == "__main__":
    main()
