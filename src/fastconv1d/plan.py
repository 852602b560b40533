"""Which algorithm computes a problem, why not the others, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter

import numpy as np

from . import tuning
from .algorithms import ALGORITHMS, Algorithm
from .cost import seconds, units
from .decoding import readable
from .packing import flat
from .problem import Conv1dProblem, choice
from .sharing import MOST_ITEMS
from .threads import ALONE, Team, threads_for, with_helpers

__all__ = ["ALGORITHMS", "Explanation", "Plan", "Prepared", "algorithm_for", "check_name", "explain_plan", "plan_for"]


#: Weights and bias as the driver of a plan reads them.
Prepared = tuple[np.ndarray, np.ndarray]


class Plan:
    """A problem, the algorithm that computes it, and how that cuts it into blocks: a value, made once a problem."""

    #: The driver's machine code, compiled when first asked for.
    compute: Callable[..., None]

    def __init__(self, problem: Conv1dProblem, algorithm: Algorithm, prepared: bool):
        self.problem, self.algorithm, self.prepared = problem, algorithm, prepared
        self.geometry = algorithm.geometry(problem, prepared)
        self.prepare_weights = algorithm.preparation(problem, self.geometry)
        running, _ = units(algorithm.name, algorithm.counts, problem, prepared)
        self.seconds = seconds(problem.N * running)
        self.items = int(self.geometry["items"][0])  # of each sample of the batch
        self.scratch_bytes = int(self.geometry["scratch"][0])  # of each thread, beside the arrays
        # What every call asks for: properties of the problem cost as much as a small convolution.
        self.dtype, self.compute_dtype = problem.dtype, problem.compute_dtype
        self.no_bias = np.empty(0, self.compute_dtype)
        self.x_dtype = readable(np.empty(0, problem.x_dtype)).dtype
        self.x_is_readable = self.x_dtype == problem.x_dtype

    def __getattr__(self, name: str) -> Callable[..., None]:
        # What is not there yet; cached_property has a lock until Python 3.12, which a fork may leave locked.
        if name != "compute":
            raise AttributeError(f"a Plan has no {name}")
        self.compute = self.algorithm.driver.compiled(self.x_dtype, self.compute_dtype, self.geometry.dtype)
        return self.compute

    def prepare(self, w: np.ndarray, bias: np.ndarray | None) -> Prepared:
        """Bring w (C_out, C_in/groups, K) and bias, of any strides, into the form that the driver reads."""
        return self.prepare_weights(w), self.no_bias if bias is None else flat(bias, self.compute_dtype)

    def run(self, x: np.ndarray, prepared: Prepared, y: np.ndarray) -> None:
        """Compute y (N, C_out, L_out) from x (N, C_in, L), of any strides."""
        if not self.x_is_readable:
            x = readable(x)
        compute = self.compute  # compiled here, not while helpers wait for it
        try:
            if self.seconds < tuning.PARALLEL_SECONDS:
                compute(x, *prepared, y, self.geometry, 0, self.items * len(x), *ALONE)
                return
            with_helpers(self.seconds, self.items * len(x), self._run_large, x, *prepared, y)
        except MemoryError as error:
            raise MemoryError(f"no memory for {self.scratch_bytes:,} bytes a thread beside the result") from error

    def _run_large(self, team: Team, x: np.ndarray, *arrays: np.ndarray) -> None:
        """Compute by a team and, if that takes long, in slices: compiled code does not see Ctrl-C."""
        first, items, workers = 0, self.items * len(x), team.workers
        count = items
        if self.seconds > tuning.SLICE_SECONDS:
            count = workers * max(1, int(items * tuning.SLICE_SECONDS / 2 / self.seconds) // workers)
        while first < items:
            start, last = perf_counter(), min(first + count, first + MOST_ITEMS, items)
            self.compute(x, *arrays, self.geometry, first, last, *team)
            pace = (last - first) / (perf_counter() - start)
            first, count = last, workers * max(1, min(2 * count, int(pace * tuning.SLICE_SECONDS)) // workers)


def refusals(problem: Conv1dProblem) -> dict[str, str]:
    """Why each algorithm that can't compute `problem` can't."""
    reasons = {algorithm.name: algorithm.refuse(problem) for algorithm in ALGORITHMS}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@lru_cache(maxsize=1024)
def plan_for(problem: Conv1dProblem, algorithm: str, prepared: bool) -> Plan:
    """The plan of `problem` by the algorithm of that name, its weights `prepared` before or not."""
    return Plan(problem, algorithm_for(problem, algorithm, prepared), prepared)


def algorithm_for(problem: Conv1dProblem, name: str, prepared: bool) -> Algorithm:
    """The named algorithm, or ValueError if it can't compute `problem`; for "auto" the one that `choose` takes."""
    if name == "auto":
        return choose({one: cost(problem, one, prepared) for one in candidates_of(problem)})
    refused = refusals(problem)
    if name in refused:
        ways = ", ".join(candidate.name for candidate in ALGORITHMS if candidate.name not in refused)
        raise ValueError(f"algorithm={name!r} can't do this: {refused[name]}. Use 'auto' or one of: {ways}")
    return next(candidate for candidate in ALGORITHMS if candidate.name == name)


def check_name(algorithm: object) -> str:
    """Return `algorithm`, which is "auto" or the name of one; else raise TypeError or ValueError."""
    return choice("algorithm", algorithm, ["auto", *(candidate.name for candidate in ALGORITHMS)])


def candidates_of(problem: Conv1dProblem) -> list[Algorithm]:
    """Those that "auto" chooses among: the first that sums directly, and what transforms blocks and is exact enough."""
    plain, *others = (algorithm for algorithm in ALGORITHMS if algorithm.refuse(problem) is None)
    return [plain, *(other for other in others if other.units is not None and other.units <= tuning.MOST_UNITS)]


def choose(costs: dict[Algorithm, float]) -> Algorithm:
    """The cheapest; what transforms blocks must be so by some margin, as it is less exact and costs are estimates."""
    return min(costs, key=lambda one: costs[one] * (1 if one.units is None else tuning.TRANSFORM_MARGIN))


def cost(problem: Conv1dProblem, algorithm: Algorithm, prepared: bool) -> float:
    """What one sample of the batch costs, its weights `prepared` before or not."""
    running, preparing = units(algorithm.name, algorithm.counts, problem, prepared)
    return running if prepared else running + preparing


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
    #: Whether that was asked for by `algorithm=`, not chosen.
    forced: bool
    #: Why each algorithm that can't, can't.
    refusals: dict[str, str]
    #: The seconds that one sample of the batch should take by each that was chosen among, its weights prepared or not.
    #: What transforms is chosen if it promises a tenth less than the plain sum.
    estimates: dict[str, float]
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
            ("algorithm", self.algorithm + ", forced by algorithm=" * self.forced),
            *((f"not {name}", reason) for name, reason in self.refusals.items()),
            ("estimates", ", ".join(f"{name} {1e6 * time:,.0f} us" for name, time in self.estimates.items())),
            ("flops", f"{self.flops:,}"),
            ("bytes", f"{self.bytes:,}"),
            ("scratch", f"{self.scratch_bytes:,} bytes a thread"),
            ("threads", str(self.threads)),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def explain_plan(plan: Plan, forced: bool) -> Explanation:
    """What `plan` does, for people; whether its algorithm was `forced` is not for a plan to know."""
    problem = plan.problem
    return Explanation(
        problem=problem,
        algorithm=plan.algorithm.name,
        forced=forced,
        refusals=refusals(problem),
        estimates={a.name: seconds(cost(problem, a, plan.prepared)) for a in candidates_of(problem)},
        flops=problem.flops,
        bytes=bytes_moved(problem),
        scratch_bytes=plan.scratch_bytes,
        threads=threads_for(plan.seconds, plan.items * problem.N),
    )
