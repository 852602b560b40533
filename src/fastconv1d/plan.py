"""Which algorithm computes a problem, why not the others, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from time import perf_counter

import numpy as np

from . import tuning
from .algorithms import ALGORITHMS, Algorithm
from .decoding import readable
from .geometry import GEOMETRY
from .packing import flat
from .problem import Conv1dProblem
from .threads import threads_for, workers_for

__all__ = ["ALGORITHMS", "Explanation", "Plan", "explain_plan", "plan_for"]


class Plan:
    """A problem, the algorithm that computes it, and how that cuts it into blocks: a value, made once a problem."""

    def __init__(self, problem: Conv1dProblem, algorithm: Algorithm):
        self.problem, self.algorithm = problem, algorithm
        self.geometry = algorithm.geometry(problem)
        self.seconds = seconds_of(problem, algorithm)
        self.scratch_bytes = scratch_bytes(problem, self.geometry)
        # What every call asks for: properties of the problem cost as much as a small convolution.
        self.dtype, self.compute_dtype = problem.dtype, problem.compute_dtype
        self.out_shape, self.L_out, self.channels_last = problem.out_shape, problem.L_out, problem.channels_last
        self.no_bias = np.empty(0, self.compute_dtype)
        self.x_dtype = readable(np.empty(0, problem.x_dtype)).dtype

    @cached_property
    def serial(self) -> Callable[..., None]:
        """The driver's machine code for one thread."""
        return self.algorithm.driver.twin(self.x_dtype, self.compute_dtype, GEOMETRY, parallel=False)

    @cached_property
    def parallel(self) -> Callable[..., None]:
        """The driver's machine code for several threads."""
        return self.algorithm.driver.twin(self.x_dtype, self.compute_dtype, GEOMETRY, parallel=True)

    def run(self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, y: np.ndarray) -> None:
        """Compute y (N, C_out, L_out) from x (N, C_in, L), w (C_out, C_in/groups, K) and bias, of any strides."""
        prepared = self.algorithm.prepare(self.problem, self.geometry, w)
        bias = self.no_bias if bias is None else flat(bias, self.compute_dtype)
        x = readable(x)
        try:
            if self.seconds < tuning.PARALLEL_SECONDS:
                self.serial(x, prepared, bias, y, self.geometry, 0, 1, 1)
                return
            with workers_for(self.seconds) as workers:
                self._run_large(workers, x, prepared, bias, y)
        except MemoryError as error:
            raise MemoryError(f"no memory for {self.scratch_bytes:,} bytes a thread beside the result") from error

    def _run_large(self, workers: int, *arrays: np.ndarray) -> None:
        """Compute by several workers and, if that takes long, in slices: compiled code does not see Ctrl-C."""
        twin = self.serial
        if workers > 1:
            twin = self.parallel
            np.empty(workers * self.scratch_bytes, np.uint8)  # a worker that finds no memory has no way to say so
        fifths = int(self.seconds / (tuning.SLICE_SECONDS / 5)) if self.seconds > tuning.SLICE_SECONDS else 1
        first, count, parts = 0, workers, workers * fifths
        while first < parts:
            start, last = perf_counter(), min(first + count, parts)
            twin(*arrays, self.geometry, first, last, parts)
            pace = (last - first) / (perf_counter() - start)
            first, count = last, max(workers, min(2 * count, int(pace * tuning.SLICE_SECONDS)))


def refusals(problem: Conv1dProblem) -> dict[str, str]:
    """Why each algorithm that can't compute `problem` can't."""
    reasons = {algorithm.name: algorithm.refuse(problem) for algorithm in ALGORITHMS}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@lru_cache(maxsize=1024)
def plan_for(problem: Conv1dProblem, algorithm: str) -> Plan:
    """The plan of `problem` by the named algorithm, or by the first that accepts it for "auto"."""
    refused = refusals(problem)
    accepting = [candidate for candidate in ALGORITHMS if candidate.name not in refused]
    if algorithm == "auto":
        chosen = accepting[0]
    elif algorithm in refused:
        ways = ", ".join(candidate.name for candidate in accepting)
        raise ValueError(f"algorithm={algorithm!r} can't do this: {refused[algorithm]}. Use 'auto' or one of: {ways}")
    else:
        by_name = {candidate.name: candidate for candidate in accepting}
        if algorithm not in by_name:
            names = ", ".join(candidate.name for candidate in ALGORITHMS)
            raise ValueError(f"algorithm must be 'auto' or one of {names}, got {algorithm!r}")
        chosen = by_name[algorithm]
    return Plan(problem, chosen)


def seconds_of(problem: Conv1dProblem, algorithm: Algorithm) -> float:
    """About how long one core takes."""
    flops = tuning.SCALAR_FLOPS if algorithm.name == "scalar" else tuning.CORE_FLOPS
    return problem.flops * problem.compute_dtype.itemsize / 4 / flops + bytes_moved(problem) / tuning.CORE_BYTES


def scratch_bytes(problem: Conv1dProblem, geometry: np.ndarray) -> int:
    """Bytes that each thread needs beside the arrays: a packed block, and the table of its steps."""
    return int(geometry[0].packed) * problem.compute_dtype.itemsize + 16 * int(geometry[0].block_steps)


def bytes_moved(problem: Conv1dProblem) -> int:
    """Bytes of x, w and the output, each touched once: the least that memory has to move."""
    p = problem
    x = p.N * p.C_in * p.L_in * p.x_dtype.itemsize
    return x + p.C_out * p.C_in_g * p.K * p.w_dtype.itemsize + p.N * p.C_out * p.L_out * p.dtype.itemsize


@dataclass(frozen=True)
class Explanation:
    """How a problem is computed and what it costs; prints as a table."""

    problem: Conv1dProblem
    #: The name of the algorithm that computes it.
    algorithm: str
    #: Why each algorithm that can't, can't.
    refusals: dict[str, str]
    #: Multiplications and additions of the direct sum.
    flops: int
    #: Bytes of x, w and the result.
    bytes: int
    #: Bytes that each thread needs beside them.
    scratch_bytes: int
    #: Threads that would share the work now.
    threads: int

    def __repr__(self) -> str:
        rows = [
            ("problem", str(self.problem)),
            ("algorithm", self.algorithm),
            *((f"not {name}", reason) for name, reason in self.refusals.items()),
            ("flops", f"{self.flops:,}"),
            ("bytes", f"{self.bytes:,}"),
            ("scratch", f"{self.scratch_bytes:,} bytes a thread"),
            ("threads", str(self.threads)),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def explain_plan(plan: Plan) -> Explanation:
    """What `plan` does, for people."""
    problem = plan.problem
    return Explanation(
        problem=problem,
        algorithm=plan.algorithm.name,
        refusals=refusals(problem),
        flops=problem.flops,
        bytes=bytes_moved(problem),
        scratch_bytes=plan.scratch_bytes,
        threads=threads_for(plan.seconds),
    )
