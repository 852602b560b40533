"""What a run has measured: one JSON file, and the numbers that tables and figures take from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from .peers import OURS

#: One problem: its numbers, what it costs, and the seconds of each implementation in each round.
Result = dict[str, Any]
#: One run: the machine and what it can do at best, the versions, the date, the threads, and the results.
Run = dict[str, Any]


def save(run: Run, directory: Path) -> Path:
    """Write a run to a file that is named after its date and threads."""
    directory.mkdir(parents=True, exist_ok=True)
    moment = datetime.fromisoformat(run["date"]).strftime("%Y-%m-%dT%H-%M-%S")
    path = directory / f"{moment}-threads-{run['threads']}.json"
    path.write_text(json.dumps(run, indent=1) + "\n")
    return path


def load(directory: Path) -> dict[int, Run]:
    """The runs in a directory by their threads; of what was measured several times, the latest."""
    runs: dict[int, Run] = {}
    for run in sorted((json.loads(path.read_text()) for path in directory.glob("*.json")), key=lambda run: run["date"]):
        earlier = runs.get(run["threads"], run)
        results = {result["name"]: result for result in (*earlier["results"], *run["results"])}
        runs[run["threads"]] = run | {"results": list(results.values())}
    return dict(sorted(runs.items()))


def best(result: Result, implementation: str) -> float:
    """The least seconds of an implementation; infinity where it has none."""
    seconds: list[float] = result["seconds"].get(implementation, [math.inf])
    return min(seconds)


def best_peer(result: Result) -> tuple[str, float]:
    """The fastest of the others and its seconds; infinity where there is none."""
    peers = [(best(result, name), name) for name in result["seconds"] if name not in OURS]
    seconds, name = min(peers, default=(math.inf, ""))
    return name, seconds


def ratio(result: Result, ours: str = "conv1d") -> float:
    """The seconds of the best peer over ours: above 1, fastconv1d is faster; NaN where one of the two is missing."""
    seconds = best_peer(result)[1], best(result, ours)
    return seconds[0] / seconds[1] if all(map(math.isfinite, seconds)) else math.nan


def geometric_mean(values: Iterable[float]) -> float:
    """The mean of ratios.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))
