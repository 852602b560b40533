"""``pytest --benchmark-only``: warm calls of conv1d on the named problems of each kind, each result checked."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastconv1d import conv1d, explain
from fastconv1d.bench.problems import check, problems, suites

THREADS = 1


@pytest.fixture
def threads() -> Iterator[int]:
    before = numba.get_num_threads()
    numba.set_num_threads(THREADS)
    yield THREADS
    numba.set_num_threads(before)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in suites().items() for name in names])
def test_conv1d(benchmark: BenchmarkFixture, threads: int, kind: str, name: str) -> None:
    problem = problems()[name]
    x, w = problem.arrays()
    plan = explain(x, w, **problem.options)
    benchmark.group = kind
    benchmark.extra_info |= {
        "flops": plan.flops,
        "bytes": plan.bytes,
        "threads": plan.threads,
        "algorithm": plan.algorithm,
    }
    assert check(problem, x, w)(conv1d(x, w, **problem.options)) <= 1  # compiles too
    benchmark(conv1d, x, w, **problem.options)
