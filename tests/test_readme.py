"""Every example that a reader can see runs: those of the README, and those in the docstrings."""

from __future__ import annotations

import builtins
import collections.abc
import doctest
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing
import pytest

import fastconv1d

README = Path(__file__).parent.parent / "README.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(markdown: str) -> list[tuple[int, str]]:
    """Return the Python blocks with their lines."""
    return [
        (markdown[: block.start()].count("\n") + 1, block[2])
        for block in BLOCK.finditer(markdown)
        if block[1] in ("python", "pycon", "py")
    ]


def failures(markdown: str) -> int:
    """Run the blocks one after the other in one namespace; a block without a prompt is a program."""
    namespace: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for line, source in examples(markdown):
        if ">>> " in source:
            test = doctest.DocTestParser().get_doctest(source, namespace, f"line {line}", "README.md", line)
            runner.run(test, clear_globs=False)
            namespace.update(test.globs)
        else:
            exec(compile("\n" * line + source, "README.md", "exec"), namespace)
    return runner.failures


def test_the_blocks_of_the_readme() -> None:
    markdown = README.read_text()
    assert len(examples(markdown)) >= 3
    assert markdown.count("```python") == len([b for b in BLOCK.finditer(markdown) if b[1] == "python"])
    assert failures(markdown) == 0


def test_the_first_screen_tells_how_to_install_and_the_speed_of_the_figures() -> None:
    first, figures = README.read_text().split("\n## The contract\n")
    assert "\npip install .\n" in first
    speed = first[first.index("\nOn ") : first.index("(#figures)")]
    layers, *cells = re.findall(r"[\d.]+", re.search(r"^\| all \|.*", figures, re.MULTILINE)[0])
    lost = re.findall(r"loses by more than 5 % on (\d+) layers", figures)
    once, prepared, once_by_two, prepared_by_two = zip(cells[::3], lost, strict=True)
    told = [layers, "5", *once, *once_by_two, *prepared, *prepared_by_two, min(cells[1::3], key=float), "512"]
    assert re.findall(r"\b\d[\d.]*\b", speed) == told


def test_a_wrong_block_is_found() -> None:
    good = "```python\n>>> a = 1\n\n```\ntext\n```python\n>>> a + 1\n2\n```\n```sh\nfalse\n```\n"
    assert failures(good) == 0
    assert failures(good.replace("2", "3")) == 1
    with pytest.raises(ZeroDivisionError):
        failures("```python\n1 / 0\n```\n")


MODULES = [m.name for m in pkgutil.walk_packages(fastconv1d.__path__, "fastconv1d.") if not m.name.endswith("__main__")]


@pytest.mark.parametrize("name", MODULES)
def test_the_docstrings(name: str, request: pytest.FixtureRequest) -> None:
    if name == "fastconv1d.cache":
        request.getfixturevalue("own_cache")  # an example clears it
    assert doctest.testmod(importlib.import_module(name), optionflags=FLAGS).failed == 0


@pytest.mark.parametrize("function", [fastconv1d.conv1d, fastconv1d.explain, fastconv1d.warmup, fastconv1d.Conv1d])
def test_signatures_name_no_types_of_our_own(function: Callable[..., object]) -> None:
    known = {"np", *dir(builtins), *dir(collections.abc), *dir(typing), *dir(np), *dir(np.typing)}
    for parameter in inspect.signature(function).parameters.values():
        assert set(re.findall(r"[A-Za-z_]\w*", parameter.annotation)) <= known, parameter


def test_the_public_functions_have_examples() -> None:
    finder = doctest.DocTestFinder(recurse=False)
    for function in (fastconv1d.conv1d, fastconv1d.explain, fastconv1d.cache_info, fastconv1d.clear_cache):
        assert any(test.examples for test in finder.find(function)), function
