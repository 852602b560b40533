"""The list of problems, the check of results, the bench command, and what is made of its results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RunPython

from fastconv1d import conv1d, explain
from fastconv1d.bench import command, figures, readme, results
from fastconv1d.bench.measure import time_in_turns
from fastconv1d.bench.peers import PEERS
from fastconv1d.bench.problems import Problem, check, layers, problems, suites, sweeps
from fastconv1d.reference import conv1d_reference

REPOSITORY = Path(__file__).parent.parent
LIST = json.loads((Path(command.__file__).parent / "problems.json").read_text())


# -- the list ---------------------------------------------------------------------------------------


def test_the_names_are_unique_and_every_problem_has_a_source() -> None:
    names = [entry["name"] for entry in (*LIST["layers"], *LIST["variants"])]
    names += [name for sweep in sweeps().values() for name in sweep.values()]
    assert sorted(names) == sorted(problems())
    assert all(problem.source for problem in problems().values())
    assert all(problems()[name].layer for name in layers())
    assert len(layers()) >= 73


@pytest.mark.parametrize("name", problems())
def test_every_problem_is_one(name: str) -> None:
    problem = problems()[name]
    described = {data_format: problem.described(data_format) for data_format in ("NCW", "NWC")}
    assert described["NCW"].flops == described["NWC"].flops > 0
    assert described["NCW"].out_shape == tuple(np.array(described["NWC"].out_shape)[[0, 2, 1]])
    assert described[problem.data_format].dtype == problem.dtype


def test_the_sweeps_show_how_cost_grows() -> None:
    reach = {name: (min(points), max(points)) for name, points in sweeps().items() if name != "dtype"}
    assert reach["L"] == (16, 2**20)
    assert reach["C"] == (1, 1024)
    assert reach["K"] == (1, 4096)
    assert reach["dilation"] == (1, 512)
    assert reach["N"] == (1, 256)


def test_the_suites_are_short_and_know_their_problems() -> None:
    for kind, names in suites().items():
        assert 4 <= len(names) <= 12, kind
        assert set(names) <= set(problems()), kind
    assert 40 <= sum(map(len, suites().values())) <= 60


@pytest.mark.parametrize(
    "name", ["mel-dense", "mel-grouped", "mel-depthwise-odd", "mel-dense-NWC", "L-64", "dtype-int32"]
)
def test_the_check_agrees_with_the_oracle_and_finds_a_wrong_sample(name: str) -> None:
    odd = Problem("", "", N=2, C_in=6, L=40, C_out=12, K=4, stride=3, dilation=2, groups=6, padding="same")
    problem = problems().get(name, odd)
    x, w = problem.arrays()
    error = check(problem, x, w)
    y = conv1d_reference(x, w, **problem.options).astype(problem.dtype)
    assert error(y) <= 0.02
    assert error(y[..., :-1]) == np.inf
    assert error(y.astype(np.float16)) == np.inf
    for wrong in (y[-1, -1, -1] + 1, np.nan) if y.dtype.kind == "f" else (y[-1, -1, -1] + 1,):
        y[-1, -1, -1] = wrong
        assert error(y) > 1


# -- the command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def output(run_python: RunPython, saved: Path) -> str:
    """What the command prints for the smallest layers, beside NumPy; it saves them too."""
    names = "--only=^(numpy-toy|eegnet-depthwise|L-16|L-64)$"
    child = run_python("-m", "fastconv1d", "bench", "--peers=numpy", names, "--rounds=2", f"--save={saved}")
    assert child.returncode == 0, child.stderr
    return child.stdout


def test_the_command_prints_a_line_for_each_problem(output: str) -> None:
    lines = [line.split() for line in output.splitlines() if " NumPy " in line]
    assert [(line[0], line[1]) for line in lines if line[1] in ("direct", "depthwise")] == [
        (name, explain(*(a.shape for a in problems()[name].arrays()), **problems()[name].options).algorithm)
        for name in ("numpy-toy", "eegnet-depthwise", "L-16", "L-64")
    ]
    assert "best peer / conv1d over 4 problems" in output
    assert "\033" not in output  # no colours into a pipe


def test_the_command_saves_what_it_measured(output: str, saved: Path) -> None:
    (path,) = saved.glob("*.json")
    run = json.loads(path.read_text())
    assert run["threads"] == 1
    assert run["peak_flops"]["float32"] > run["peak_flops"]["float64"] > 0
    assert run["copied_bytes"] > 0
    assert {"Python", "fastconv1d", "Numba", "NumPy"} == set(run["versions"])
    for result in run["results"]:
        problem = problems()[result["name"]]
        assert result["source"] == problem.source
        assert result["flops"] == problem.described("NCW").flops
        assert set(result["seconds"]) >= {"conv1d", "numpy"}
        assert all(len(turns) == 2 and min(turns) > 0 for turns in result["seconds"].values())
        assert all(error <= 1 for error in result["error"].values())
    assert {path.name for path in saved.glob("*.svg")} == {
        "ratios-threads-1.svg", "roofline-threads-1.svg", "cost-L-threads-1.svg"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only=nothing-like-it"], "is found in no name; there are numpy-toy"),
        (["--only=("], "is no regular expression"),
        (["--peers=numpy,matlab"], "matlab unknown; there are numpy"),
        (["--threads=0"], "--threads must be from 1 to"),
    ],
)
def test_the_command_says_what_it_cannot_do(run_python: RunPython, arguments: list[str], says: str) -> None:
    child = run_python("-m", "fastconv1d", "bench", *arguments)
    assert child.returncode == 2
    assert says in child.stderr
    assert child.stderr.count("\n") == 1


def test_missing_packages_are_named_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(command.UserError, match=r"not installed: pip install onnx onnxruntime"):
        command.choose("onnxruntime")
    assert command.choose(None) == {}
    with pytest.raises(SystemExit):
        command.bench(threads=1, peers=None, only="", rounds=1, save=None)


def test_a_wrong_result_is_reported_and_not_timed() -> None:
    def wrong(p: Any, x: Any, w: Any) -> Any:
        return lambda: np.zeros(p.out_shape, p.dtype)

    def unable(p: Any, x: Any, w: Any) -> Any:
        raise NotImplementedError("not this")

    def right(p: Any, x: Any, w: Any) -> Any:
        return lambda: conv1d(x, w)

    result = command.compare(problems()["numpy-toy"], {"conv1d": right, "numpy": wrong, "scipy": unable}, 2, 1)
    assert list(result["seconds"]) == ["conv1d"]
    assert result["refused"] == {"scipy": "NotImplementedError: not this"}
    (line,) = command.wrong([result])
    assert line.startswith("WRONG: numpy on numpy-toy, off by ")


def test_numpy_is_called_rightly_on_every_kind() -> None:
    prepare = PEERS["numpy"].connect(1)
    for name in ("mel-dense", "mel-grouped", "quartznet-C1", "fir-64", "wavenet-d512", "eegnet-temporal", "rocket"):
        problem = problems()[name]
        x, w = problem.arrays()
        assert check(problem, x, w)(prepare(problem.described("NCW"), x, w)()) <= 1, name


def test_calls_take_turns() -> None:
    order: list[str] = []
    seconds = time_in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3, threads=1)
    assert {name: len(turns) for name, turns in seconds.items()} == {"a": 3, "b": 3}
    runs = re.sub(r"(.)\1*", r"\1", "".join(order))
    assert runs == "ab" * 4  # one to see how long they take, and three


# -- what is made of the results --------------------------------------------------------------------


def a_run(threads: int, date: str, **seconds: float) -> results.Run:
    """A run in which each layer took conv1d 1 ms, and NumPy as many as said."""
    return {
        "date": date,
        "machine": {"cpu": "A CPU", "llvm_cpu": "x", "cores": 2, "vector_bits": 256, "system": "Linux"},
        "versions": {"Python": "3.13", "NumPy": "2.4"},
        "threads": threads,
        "peak_flops": {"float32": 1e11, "float64": 5e10},
        "copied_bytes": 1e10,
        "results": [
            {
                "name": name,
                "family": problems()[name].family,
                "dtype": "float32",
                "flops": 5e7,
                "bytes": 1e6,
                "seconds": {"conv1d": [2e-3, 1e-3], "numpy": [value * 1e-3, 9.0]},
            }
            for name, value in seconds.items()
        ],
    }


SLOW = {"mel-depthwise": 2.0, "mamba-prefill": 0.5, "mel-dense": 3.0, "whisper-tiny-conv1": 4.0}


def test_the_table_of_the_readme_keeps_the_losses(tmp_path: Path) -> None:
    results.save(a_run(1, "2026-01-02T03:04:05+00:00", **SLOW), tmp_path)
    results.save(a_run(1, "2026-01-03T03:04:05+00:00", **{"mel-dense": 0.9}), tmp_path)  # measured again
    results.save(a_run(2, "2026-01-02T03:04:05+00:00", **SLOW), tmp_path)
    page = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    once = readme.with_section(page, results.load(tmp_path))
    assert "| depthwise | 2 | 1.00 | 0.50 | 2.00 | 1.00 | 0.50 | 2.00 |" in once
    assert "| fewer channels | 1 | 0.90 | 0.90 | 0.90 | 3.00 | 3.00 | 3.00 |" in once
    assert (
        "`conv1d` loses by more than 5 % on 2 layers with 1 thread: mamba-prefill 0.50 (NumPy), mel-dense 0.90 (NumPy)."
        in once
    )
    assert "ran at 50% to 50% of the FMA peak" in once
    assert "A CPU, 2 cores, 256-bit vectors; 2026-01-03. Python 3.13, NumPy 2.4." in once
    assert "`Conv1d`" not in once  # was not timed
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert readme.with_section(once, results.load(tmp_path)) == once
    with pytest.raises(ValueError, match="markers are missing"):
        readme.with_section("no markers", results.load(tmp_path))


def test_the_readme_shows_the_saved_results() -> None:
    runs = results.load(REPOSITORY / "benchmarks" / "results")
    assert runs
    page = (REPOSITORY / "README.md").read_text()
    assert readme.with_section(page, runs) == page


def test_the_figures_are_the_same_each_time(tmp_path: Path) -> None:
    runs = {1: a_run(1, "2026-01-02T03:04:05+00:00", **SLOW, **{"K-1": 1.0, "K-4": 2.0})}
    paths = figures.draw(runs, tmp_path)
    assert [path.name for path in paths] == ["ratios-threads-1.svg", "roofline-threads-1.svg", "cost-K-threads-1.svg"]
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in figures.draw(runs, tmp_path)] == first


def test_the_prices_can_be_fitted_again(run_python: RunPython) -> None:
    pytest.importorskip("scipy")
    child = run_python(str(REPOSITORY / "benchmarks" / "fit_costs.py"), "--problems", "6", "--seed", "3")
    assert child.returncode == 0, child.stderr
    assert {"depthwise", "direct", "winograd", "fft"} <= {line.split(":")[0] for line in child.stdout.splitlines()}
    assert "NWC, once: the chosen is" in child.stdout
