"""Random problems of every kind against the oracle, and against PyTorch in 64 bits where it is installed.

    python tests/fuzz.py --problems 20000 --seed 0

prints how many problems of each kind were solved and the worst error, in units of u * sum|x||w|. For whatever is wrong
it prints the command that has it again, and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from problems import DTYPES, MEMORY, assert_within_units_of_the_row, bound, error_in_units, random_problem, result_dtype

import fastconv1d
from fastconv1d.plan import ALGORITHMS

try:
    import torch

    torch.set_num_threads(1)  # for problems this small its second thread only waits
except ImportError:
    torch = None

NUMPY_MODES = {"zeros": "constant", "replicate": "edge", "circular": "wrap"}
FILLABLE = [name for name in MEMORY if name not in ("read-only", "byte-swapped")]


@dataclass
class Report:
    """What came of some problems."""

    kinds: dict[str, Counter[str]] = field(default_factory=dict)  # how many of each, by what is counted
    worst: dict[str, float] = field(default_factory=dict)  # error in units, by dtype
    failures: list[str] = field(default_factory=list)

    def count(self, what: str, kind: object) -> None:
        self.kinds.setdefault(what, Counter())[str(kind)] += 1


def run(
    indices: Iterable[int],
    seed: int,
    *,
    dtypes: tuple[str, ...] = DTYPES,
    largest: int = 200_000,
    conv1d: Callable[..., Any] = fastconv1d.conv1d,
) -> Report:
    """Solve the problems of these numbers: as they are, and with one of the algorithms that accept them."""
    report = Report()
    for index in indices:
        rng = np.random.default_rng((seed, index))
        problem = random_problem(rng, dtypes=dtypes, largest=largest)
        try:
            _check(problem, rng, conv1d, report)
        except Exception as error:  # whatever it is, it is a finding
            command = f"python tests/fuzz.py --seed {seed} --first {index} --problems 1 --largest {largest}"
            command += "" if dtypes == DTYPES else f" --dtypes {' '.join(dtypes)}"
            report.failures.append(f"{command}  # {type(error).__name__}: {' '.join(str(error).split())[:400]}")
    return report


def _check(problem: dict[str, Any], rng: np.random.Generator, conv1d: Callable[..., Any], report: Report) -> None:
    arrays = {name: problem[name] for name in ("x", "w", "bias") if name in problem}
    dtype = result_dtype(**arrays)
    report.count("dtype", dtype)
    report.count("layout", problem["data_format"])
    report.count("padding mode", problem["padding_mode"])

    before = {name: array.tobytes() for name, array in arrays.items()}
    y = conv1d(**problem)
    explanation = fastconv1d.explain(**problem)
    accepting = [a.name for a in ALGORITHMS if a.name not in explanation.refusals]
    if problem["x"].dtype != dtype:  # a pair of dtypes takes seconds to compile, and once is enough for it
        accepting = [explanation.algorithm]
    forced = str(rng.choice(accepting))
    results = {explanation.algorithm: y, forced: conv1d(**problem, algorithm=forced)}
    if rng.random() < 0.3:
        memory = str(rng.choice(FILLABLE))
        out = MEMORY[memory](np.full(y.shape, np.nan if dtype.kind in "fc" else 85, dtype))
        assert conv1d(**problem, out=out) is out, "out is not what was returned"
        assert np.ascontiguousarray(out).tobytes() == y.tobytes(), f"out, {memory}, differs from the result without"
        report.count("out", memory)
    assert before == {name: array.tobytes() for name, array in arrays.items()}, "an input was written to"

    units = {a.name: a.units for a in ALGORITHMS}
    for how, result in results.items():
        report.count("solved by", how)
        if units[how] is None:
            _compare(result, problem, 0, how, report)
        else:
            assert_within_units_of_the_row(result, **problem, units=units[how])
    if torch is not None and units[explanation.algorithm] is None:  # PyTorch's sums say nothing of blocks
        report.count("compared with", "torch")
        p = explanation.problem
        # Where the result has 64 bits too, PyTorch's own sum may be off by as much as any sum of n terms.
        own = {np.float64: 1, np.complex128: 3}.get(dtype.type, 0) * p.C_in_g * p.K
        _compare(y, problem | {"sums": _by_torch(p, **arrays)}, own, "torch", report)


def _compare(y: Any, problem: dict[str, Any], more: float, how: str, report: Report) -> None:
    sums = problem.pop("sums", None)
    units, allowed = error_in_units(y, **problem, sums=sums), bound(**problem) + more
    call = {k: (v.shape, str(v.dtype), v.strides) if isinstance(v, np.ndarray) else v for k, v in problem.items()}
    assert units <= allowed, f"{how}: {units:.3g} units off, {allowed:.3g} allowed: {call}"
    report.worst[y.dtype.name] = max(report.worst.get(y.dtype.name, 0), units)


def _by_torch(p: Any, x: Any, w: Any, bias: Any = None) -> Any:
    """Return the sums in float64, complex128 or int64, whose low bits are any integer's, in the shape of the result."""
    wide = {"f": np.float64, "c": np.complex128}.get(p.dtype.kind, np.int64)
    rows, taps = x.astype(wide).reshape(p.x_shape), w.astype(wide).reshape(p.w_shape)
    if p.channels_last:
        rows, taps = rows.swapaxes(1, 2), taps.transpose(2, 1, 0)
    mode: Any = NUMPY_MODES.get(p.padding_mode, p.padding_mode)
    rows = np.pad(rows, ((0, 0), (0, 0), (p.pad_left, p.pad_right)), mode)
    tensors = (torch.from_numpy(a.copy()) for a in (rows, taps))
    y = torch.nn.functional.conv1d(*tensors, stride=p.stride, dilation=p.dilation, groups=p.groups).numpy()
    y = y + (0 if bias is None else bias.astype(wide).reshape(-1, 1))
    shape = (*x.shape[:-1], p.L_out) if w.ndim == 1 else p.out_shape[3 - x.ndim :]
    return (y.swapaxes(1, 2) if p.channels_last else y).reshape(shape)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first problem")
    parser.add_argument("--largest", type=int, default=500_000, help="the most products in a problem")
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    arguments = parser.parse_args()

    start = time.perf_counter()
    indices = range(arguments.first, arguments.first + arguments.problems)
    report = run(indices, arguments.seed, dtypes=tuple(arguments.dtypes), largest=arguments.largest)
    print(f"{arguments.problems} problems in {time.perf_counter() - start:.0f} s")
    for what, kinds in report.kinds.items():
        print(f"{what}: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
    print("worst error in units: " + ", ".join(f"{name} {units:.2f}" for name, units in sorted(report.worst.items())))
    if torch is None:
        print("PyTorch is not installed: compared with the oracle only")
    print(f"{len(report.failures)} failures", *report.failures, sep="\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
