"""Which algorithm computes a problem, why not the others, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

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
        self.seconds = problem.flops / tuning.CORE_FLOPS + bytes_moved(problem) / tuning.CORE_BYTES
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
        if self.seconds < tuning.PARALLEL_SECONDS:
            self.serial(x, prepared, bias, y, self.geometry, 0, 1, 1)
            return
        with workers_for(self.seconds) as workers:
            (self.parallel if workers > 1 else self.serial)(x, prepared, bias, y, self.geometry, 0, workers, workers)


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
    problem, scratch = plan.problem, plan.geometry[0]
    return Explanation(
        problem=problem,
        algorithm=plan.algorithm.name,
        refusals=refusals(problem),
        flops=problem.flops,
        bytes=bytes_moved(problem),
        scratch_bytes=int(scratch.packed) * problem.compute_dtype.itemsize + 16 * int(scratch.block_steps),
        threads=threads_for(plan.seconds),
    )
