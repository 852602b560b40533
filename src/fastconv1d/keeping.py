"""Compiled functions to and from disk, under a key of all that their code depends on.

Numba's own cache is not used because it can load wrong code: its key lacks the functions that a function calls, the
constants in it, the flags that it was compiled with, and NUMBA_BOUNDSCHECK and its like.  This is the only file that
uses private parts of Numba for that; where a Numba lacks them, nothing is kept, and one warning says so.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import os
import pickle
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

import numba
import numpy as np

from . import cache

__all__ = ["key", "load", "save"]

PACKAGE = __name__.rpartition(".")[0]

#: What of Numba's configuration differs from process to process but changes no code.
UNRELATED = (
    "NUMBA_NUM_THREADS",
    "NUMBA_DEFAULT_NUM_THREADS",
    "THREADING_LAYER",
    "THREADING_LAYER_PRIORITY",
    "CACHE_DIR",
)


def number_apart() -> None:
    """Let Numba number the functions of this process as no other process does.

    A function's number is part of its symbol.  Numba counts from 1, so that two functions of one name can get one
    symbol in two processes; in a third, which loads both, the linker takes one of them for both.
    """
    with contextlib.suppress(ImportError):  # `save` finds out
        from numba.core.bytecode import FunctionIdentity

        FunctionIdentity._unique_ids = itertools.count(LEAST_NUMBER + secrets.randbits(59))


LEAST_NUMBER = 10**18
number_apart()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=number_apart)


def key(function: Callable[..., Any], signature: Any, flags: Mapping[str, Any]) -> bytes | None:
    """All that the code of a function depends on but the source of this package; None if it can't be kept."""
    if not function.__code__.co_filename.startswith(str(cache.PACKAGE) + os.sep):
        return None  # its source is not in the stamp
    try:
        return "\n".join(_facts(function, signature, flags)).encode()
    except Exception as error:  # whatever a future Numba does
        cache.warn(f"{function.__qualname__} can't be kept ({error!r})")
        return None


def _facts(function: Callable[..., Any], signature: Any, flags: Mapping[str, Any]) -> Iterator[str]:
    from numba.core.registry import cpu_target

    yield f"{_identity(function)} {signature} {sorted(flags.items())}"
    yield f"Python {sys.version} {getattr(sys, 'abiflags', '')}"
    yield f"NumPy {np.__version__} Numba {numba.__version__} llvmlite {sys.modules['llvmlite'].__version__}"
    yield repr(cpu_target.target_context.codegen().magic_tuple())  # the system, the CPU model and its features
    config = vars(numba.config)  # NUMBA_BOUNDSCHECK, NUMBA_OPT, NUMBA_DEBUGINFO ...
    yield from (f"{name} {config[name]}" for name in sorted(config) if name.isupper() and name not in UNRELATED)
    # The source is in the stamp, but constants and functions may have been replaced since they were imported.
    modules: dict[str, Mapping[str, Any]] = {}
    _find_modules(function.__module__, modules)
    for module in sorted(modules):
        for name, value in sorted(modules[module].items()):
            if name.isupper() or callable(value):
                with contextlib.suppress(TypeError):
                    yield f"{module}.{name} {_identity(value)}"


def _find_modules(name: str, found: dict[str, Mapping[str, Any]]) -> None:
    """The names in a module of this package, in those that it takes something from, and so on."""
    if name.startswith(f"{PACKAGE}.") and name not in found:
        found[name] = dict(vars(sys.modules[name]))
        for value in found[name].values():
            _find_modules(getattr(value, "__module__", None) or getattr(value, "__name__", None) or "", found)


def _identity(value: Any) -> str:
    """What tells a constant from others, and a function from others, also from those made by the same lines."""
    value = inspect.unwrap(value) if callable(value) else value  # what a kernel or an intrinsic is made of
    if isinstance(value, FunctionType):
        within = [cell.cell_contents for cell in value.__closure__ or ()] + list(value.__defaults__ or ())
        within.append(value.__code__)  # exec may have made it, of source that is not in the stamp
        return f"{value.__module__}.{value.__qualname__}:{value.__code__.co_firstlineno}{_identity(tuple(within))}"
    if isinstance(value, CodeType):
        return f"{value.co_code.hex()} {value.co_names} {_identity(value.co_consts)}"
    if isinstance(value, frozenset):
        return _identity(tuple(sorted(value, key=repr)))
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_identity, value))})"
    if isinstance(value, dict):
        return _identity(tuple(value.items()))
    if value is None or value is ... or isinstance(value, (int, float, complex, str, bytes, np.generic, np.dtype)):
        return repr(value)
    raise TypeError(f"{type(value).__name__} has no identity that outlives the process")


def load(code: Any, name: str, key: bytes) -> bool:
    """Give the dispatcher `code` the machine code that was saved under this key; whether there was any."""
    content = cache.load(name, key)
    if content is None:
        return False
    try:
        from numba.core.compiler import CompileResult
        from numba.core.compiler_lock import global_compiler_lock
        from numba.core.runtime import rtsys

        with global_compiler_lock:
            rtsys.initialize(code.targetctx)  # Numba's allocator, which the machine code refers to
            code.add_overload(CompileResult._rebuild(code.targetctx, *pickle.loads(content)))
    except Exception as error:
        cache.warn(f"{name} can't be loaded ({error!r})")
        return False
    return True


def save(code: Any, name: str, key: bytes) -> None:
    """Keep the machine code of the dispatcher `code` under this key."""
    try:
        from numba.core.compiler_lock import global_compiler_lock
        from numba.core.serialize import dumps

        (result,) = code.overloads.values()
        with global_compiler_lock:
            if result.library.has_dynamic_globals:
                raise ValueError("it has addresses of this process")
            if not all(map(_is_numbered_apart, _symbols(result.library))):
                raise ValueError("some of it was compiled before fastconv1d was imported")
            content = dumps(result._reduce())
    except Exception as error:
        cache.warn(f"{name} can't be kept ({error!r})")
    else:
        cache.save(name, key, content)


def _symbols(library: Any) -> Iterator[str]:
    module = library._final_module
    for symbol in itertools.chain(module.functions, module.global_variables):
        if not symbol.is_declaration:
            yield symbol.name


def _is_numbered_apart(symbol: str) -> bool:
    """Whether no other process can have this symbol for something else."""
    number = re.search(r"B\d+v(\d+)", symbol)
    return number is None or len(number[1]) >= len(str(LEAST_NUMBER))
