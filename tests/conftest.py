"""What every test may use: a seeded generator, a Python beside this one, and the bounded profile of hypothesis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run and on every machine: a failure can be had again, and the time is bounded.
settings.register_profile("bounded", max_examples=60, derandomize=True, deadline=None, database=None)
settings.load_profile("bounded")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240312)


class RunPython(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
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
