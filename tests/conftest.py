"""What every test may use: a seeded generator, a Python beside this one, and the bounded profile of hypothesis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from hypothesis import settings

from fastconv1d import cache

# The same examples in every run and on every machine: a failure can be had again, and the time is bounded.
settings.register_profile("bounded", max_examples=60, derandomize=True, deadline=None, database=None)
settings.load_profile("bounded")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code between runs, also of other Numbas and for other CPUs, but not among the user's."""
    if config.pluginmanager.has_plugin("cacheprovider"):
        os.environ.setdefault("FASTCONV1D_CACHE", str(config.cache.mkdir("fastconv1d")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Compiling, most of the work, is done by one thread; what is timed is timed by itself."""
    return 0 if config.option.benchmark_only else min(os.cpu_count() or 1, 4)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory for compiled code, for this test only."""
    monkeypatch.setenv("FASTCONV1D_CACHE", str(tmp_path / "compiled"))
    monkeypatch.setattr(cache, "_process", cache._Process())
    cache.place.cache_clear()
    yield tmp_path / "compiled"
    cache.place.cache_clear()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240312)


class RunPython(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def run_python() -> RunPython:
    """Run the interpreter with these arguments in a process of its own, which imports what this one would."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run
