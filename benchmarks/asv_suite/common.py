"""The named problems, for any commit: read from this checkout, as the one under test may not have them yet."""

import functools
import importlib.util
import sys
from pathlib import Path

_SOURCE = Path(__file__).parents[2] / "src" / "fastconv1d" / "bench" / "problems.py"


@functools.cache
def _problems_module():
    spec = importlib.util.spec_from_file_location("named_problems", _SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def suite(name):
    """The names of the problems of one kind."""
    return _problems_module().suites()[name]


def ready(name, threads=1):
    """A call of conv1d on a problem, compiled, and its number of multiply-adds; AssertionError if it is wrong."""
    import numba

    import fastconv1d

    numba.set_num_threads(threads)
    module = _problems_module()
    problem = module.problems()[name]
    x, w = problem.arrays()

    def call():
        return fastconv1d.conv1d(x, w, **problem.options)

    error = module.check(problem, x, w)(call())
    assert error <= 1, f"{name} is off by {error} times what is allowed"
    for _ in range(3):  # the first call is alone and runs on one thread; code for several is compiled for the next
        call()
    return call, problem.described("NCW").flops // 2
