"""Fit the prices of tuning.COSTS to times measured on this machine, or say how good the choice by them is.

    python benchmarks/fit_costs.py [--problems 400] [--seed 0]    the table to put into tuning.py
    python benchmarks/fit_costs.py --judge                        how good the present one is
    python benchmarks/fit_costs.py --layers REGEX                 each algorithm on published layers

Run it when nothing else runs; it uses one thread.  Needs SciPy.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import numba
import numpy as np
from scipy.optimize import nnls

from fastconv1d import tuning
from fastconv1d.algorithms import ALGORITHMS, Algorithm
from fastconv1d.bench.problems import layers
from fastconv1d.bench.problems import problems as named_problems
from fastconv1d.cost import units
from fastconv1d.memory import empty
from fastconv1d.plan import Plan, choose, plan_for
from fastconv1d.problem import Conv1dProblem, describe

CANDIDATES = [algorithm for algorithm in ALGORITHMS if algorithm.name != "scalar"]
BY_NAME = {algorithm.name: algorithm for algorithm in CANDIDATES}


def problems(rng: np.random.Generator) -> Iterator[Conv1dProblem]:
    """Yield random problems, none of them tiny or huge, in either data format."""

    def size(most: float) -> int:
        return round(2 ** rng.uniform(0, np.log2(most)))

    while True:
        groups, depth = int(rng.choice([1, 1, 1, 2, 4])), rng.random() < 0.2
        C_in, C_out, K, L = size(1024), size(1024), size(rng.choice([8, 64, 1024])), size(65536)
        if depth:
            groups = C_in
        C_in, C_out = -(-C_in // groups) * groups, -(-C_out // groups) * groups
        stride, dilation = int(rng.choice([1, 1, 1, 2, 3, 4, 8])), int(rng.choice([1, 1, 1, 2, 3, 5, 8, 32, 128]))
        x_shape, w_shape = (1, C_in, L), (C_out, C_in // groups, K)
        layout = str(rng.choice(["NCW", "NWC"]))
        if layout == "NWC":
            x_shape, w_shape = (1, L, C_in), w_shape[::-1]
        f4 = np.dtype(np.float32)
        problem = describe(x_shape, f4, w_shape, f4, None, None, stride, "same", dilation, groups, data_format=layout)
        if (
            2e4 < problem.flops < 5e8
            and C_in * L < 2e7
            and C_out * problem.L_out < 2e7
            and C_out * C_in // groups * K < 4e6
        ):
            yield problem


def best_time(call: Callable[[], object], rounds: int = 4) -> float:
    """Return the least time of one call of some, in seconds."""
    call()
    start = time.perf_counter()
    call()
    count = max(1, int(1e-3 / (time.perf_counter() - start + 1e-9)))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - start) / count)
    return min(times)


def measure(
    problem: Conv1dProblem, algorithm: Algorithm, prepared: bool, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the seconds of a run and of preparing the weights, `prepared` for many runs."""
    plan = Plan(problem, algorithm, prepared)
    x, w = rng.standard_normal(problem.x_shape, np.float32), rng.standard_normal(problem.w_shape, np.float32)
    y = empty(problem.out_shape, np.dtype(np.float32))
    if problem.channels_last:
        x, y, w = x.transpose(0, 2, 1), y.transpose(0, 2, 1), w.transpose(2, 1, 0)
    weights = plan.prepare(w, None)
    run = best_time(lambda: plan.run(x, weights, y))
    return run, best_time(lambda: plan.prepare(w, None), 2)


def fit(rows: list[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """Return the price of each count that makes the relative errors of the times least."""
    if not rows:
        return {}  # of an empty table nnls of SciPy 1.17 frees memory twice
    names = sorted({name for counts, _ in rows for name in counts})
    table = np.array([[counts.get(name, 0) for name in names] for counts, _ in rows])
    times = np.array([seconds for _, seconds in rows]) * tuning.UNITS_PER_SECOND
    prices, _ = nnls(table / times[:, None], np.ones(len(rows)))
    return dict(zip(names, (float(f"{price:.3g}") for price in prices), strict=True))


Times = dict[str, tuple[float, float]]  # seconds to run and to prepare, by the algorithm
Measured = tuple[Conv1dProblem, Times]
Tables = dict[bool, list[Measured]]  # with weights prepared for many runs, and for one
Prices = dict[str, float]


def measured(problem: Conv1dProblem, prepared: bool, rng: np.random.Generator, slowest: float) -> Measured:
    """Measure every algorithm that by the prices of today takes less than `slowest` times as long as the fastest."""
    accepting = [a for a in CANDIDATES if a.refuse(problem) is None]
    accepting = [a for a in accepting if a is accepting[0] or a.units is not None]
    estimates = {a.name: units(a.name, a.counts, problem, prepared)[0] for a in accepting}
    hopeful = [a for a in accepting if estimates[a.name] < slowest * min(estimates.values())]
    return problem, {a.name: measure(problem, a, prepared, rng) for a in hopeful}


def estimate(algorithm: str, problem: Conv1dProblem, prices: Prices, prepared: bool) -> float:
    """Return the seconds that the prices promise."""
    running, preparing = BY_NAME[algorithm].counts(problem, prepared)
    total = sum(prices[what] * count for what, count in running.items())
    if not prepared:
        total += sum(prices[what] * count for what, count in preparing.items())
    return total / tuning.UNITS_PER_SECOND


def fit_algorithm(algorithm: str, tables: Tables) -> Prices:
    """Fit the prices of one algorithm, print them and how far they are off."""
    runs, preparing = [], []
    for prepared, table in tables.items():
        for problem, times in table:
            if algorithm in times:
                counts = BY_NAME[algorithm].counts(problem, prepared)
                runs.append((counts[0], times[algorithm][0], problem))
                preparing.append((counts[1], times[algorithm][1]))
    prices = fit([(counts, seconds) for counts, seconds, _ in runs])
    prices |= fit([(counts, seconds) for counts, seconds in preparing if counts])
    print(f"{algorithm}: {prices}")
    off = np.array([sum(prices[what] * n for what, n in counts.items()) / seconds for counts, seconds, _ in runs])
    off /= tuning.UNITS_PER_SECOND
    print("    estimate / time, 5, 25, 50, 75, 95 %:", np.round(np.percentile(off, [5, 25, 50, 75, 95]), 2))
    for i in (*np.argsort(off)[:3], *np.argsort(off)[-2:]):
        print(f"    {off[i]:.2f} of {runs[i][1] * 1e6:.0f} us: {runs[i][2]}")
    return prices


def chosen(problem: Conv1dProblem, times: Times, prices: dict[str, Prices], prepared: bool) -> tuple[str, float]:
    """Return the cheapest algorithm by the prices, and its time as a multiple of the least."""
    cost = {name: estimate(name, problem, prices[name], prepared) for name in times}
    real = {name: run + (0 if prepared else prepare) for name, (run, prepare) in times.items()}
    name = choose({BY_NAME[name]: units for name, units in cost.items()}).name
    return name, real[name] / min(real.values())


def judge(table: list[Measured], prices: dict[str, Prices], prepared: bool) -> None:
    """Print how often the cheapest by the prices is the fastest, or nearly."""
    choices = [(*chosen(problem, times, prices, prepared), problem) for problem, times in table]
    for layout in ("NCW", "NWC"):
        ratios = np.array([ratio for _, ratio, problem in choices if problem.channels_last == (layout == "NWC")])
        within = ", ".join(f"{np.mean(ratios <= 1 + share / 100):.1%} within {share} %" for share in (10, 25))
        print(f"{layout}, {'prepared' if prepared else 'once'}: the chosen is {within} of the best")
    for name, ratio, problem in sorted(choices, key=lambda choice: choice[1])[-5:]:
        print(f"    {ratio:.2f} {name}: {problem}")


def compare(pattern: str, rng: np.random.Generator) -> None:
    """Print what each algorithm takes on the layers whose names match, and how far the chosen is from the best."""
    for name in (name for name in layers() if re.search(pattern, name)):
        print(name)
        for prepared in (True, False):
            problem, times = measured(named_problems()[name].described("NCW"), prepared, rng, np.inf)
            choice = plan_for(problem, "auto", prepared).algorithm.name
            real = {name: run + (0 if prepared else prepare) for name, (run, prepare) in times.items()}
            ratio = real[choice] / min(real.values())
            listed = ", ".join(f"{name} {seconds * 1e3:.3f}" for name, seconds in real.items())
            when = "prepared" if prepared else "once"
            print(f"    {when:8}  {listed} ms; {choice} is chosen, {ratio:.2f} of the best")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", action="store_true", help="fit nothing")
    parser.add_argument("--layers", metavar="REGEX", help="published layers instead of random problems")
    arguments = parser.parse_args()
    numba.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    if arguments.layers is not None:
        compare(arguments.layers, rng)
        return
    some = list(islice(problems(rng), arguments.problems))
    tables = {prepared: [measured(problem, prepared, rng, 5) for problem in some] for prepared in (True, False)}
    names = [a.name for a in CANDIDATES if any(a.name in times for _, times in tables[True])]
    prices = tuning.COSTS if arguments.judge else {name: fit_algorithm(name, tables) for name in names}
    for prepared, table in tables.items():
        judge(table, prices, prepared)


if __name__ == "__main__":
    main()
