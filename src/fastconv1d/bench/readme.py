"""The table of a README from saved runs: ``python -m fastconv1d.bench.readme README.md DIR``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

from .peers import OURS, PEERS
from .problems import layers
from .results import Result, Run, best, best_peer, geometric_mean, load, ratio

BEGIN = "<!-- what follows is written by: python -m fastconv1d.bench.readme README.md benchmarks/results -->"
END = "<!-- up to here -->"

#: The rows of the table, as problems.Problem names the families.
FAMILIES = ("64 channels or more in and out", "fewer channels", "depthwise", "one channel")

#: A ratio below this is told as a loss.
LOSS = 0.95


def compared(run: Run, ours: str = "conv1d") -> list[Result]:
    """The results on layers for which there is a ratio."""
    names = set(layers())
    return [result for result in run["results"] if result["name"] in names and not math.isnan(ratio(result, ours))]


def columns_of(runs: dict[int, Run]) -> list[tuple[int, str]]:
    """What the table has: numbers of threads, and names of ours."""
    return [(threads, ours) for threads in runs for ours in OURS if compared(runs[threads], ours)]


def table(runs: dict[int, Run]) -> Iterator[str]:
    """Yield a row for each family: geometric mean, worst and best of each run."""
    columns = columns_of(runs)
    titles = [f"`{ours}`, {threads} thread{'s' * (threads > 1)} | worst | best" for threads, ours in columns]
    yield f"| family | layers | {' | '.join(titles)} |"
    yield "|" + "---|" * (2 + 3 * len(columns))
    for family in (*FAMILIES, "all"):
        rows: list[list[float]] = [
            [ratio(result, ours) for result in compared(runs[threads], ours) if family in (result["family"], "all")]
            for threads, ours in columns
        ]
        if all(rows):
            cells = [f"{geometric_mean(row):.2f} | {min(row):.2f} | {max(row):.2f}" for row in rows]
            yield f"| {family} | {len(rows[0])} | {' | '.join(cells)} |"


def losses(run: Run, ours: str) -> str:
    """The layers on which `ours` loses, the worst first."""
    lost = sorted((ratio(result, ours), result["name"], best_peer(result)[0]) for result in compared(run, ours))
    names = [f"{name} {value:.2f} ({PEERS[peer].title})" for value, name, peer in lost if value < LOSS]
    threads = f"{run['threads']} thread{'s' * (run['threads'] > 1)}"
    return f"`{ours}` loses by more than 5 % on {len(names)} layers with {threads}: {', '.join(names) or 'none'}."


def shares(run: Run) -> str:
    """How near conv1d comes to the FMA peak on the layers that arithmetic limits."""
    peak = run["peak_flops"]["float32"]
    values = sorted(r["flops"] / best(r, "conv1d") / peak for r in compared(run) if r["family"] == FAMILIES[0])
    if not values:
        return ""
    return (
        f"With {run['threads']} thread{'s' * (run['threads'] > 1)} the layers with {FAMILIES[0]} ran at"
        f" {values[0]:.0%} to {values[-1]:.0%} of the FMA peak measured in the same run"
        f" ({peak / 1e9:.0f} GFLOP/s), half of them at {values[len(values) // 2]:.0%} or more."
    )


def section(runs: dict[int, Run]) -> str:
    """The text between the markers."""
    run = next(iter(runs.values()))
    peers = [peer.title for peer in PEERS.values() if peer.title in run["versions"]]
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
    machine = run["machine"]
    return "\n\n".join(
        [
            f"Time of the fastest of {', '.join(peers)} divided by ours, each the least of its turns, float32, on"
            " layers of published models: geometric mean, worst and best. Above 1 fastconv1d is faster. All ran in one"
            " process, taking turns; every result was checked first.",
            "\n".join(table(runs)),
            *(losses(runs[threads], ours) for threads, ours in columns_of(runs)),
            *filter(None, (shares(run) for run in runs.values())),
            f"{machine['cpu']}, {machine['cores']} cores, {machine['vector_bits']}-bit vectors; {run['date'][:10]}."
            f" {versions}.",
        ]
    )


def with_section(markdown: str, runs: dict[int, Run]) -> str:
    """The markdown, with what stands between the markers written anew."""
    before, begin, rest = markdown.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the markers are missing: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{section(runs)}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastconv1d.bench.readme", description=__doc__)
    parser.add_argument("readme", type=Path)
    parser.add_argument("results", type=Path, metavar="DIR", help="what bench --save has written")
    options = parser.parse_args()
    runs = load(options.results)
    if not runs:
        parser.error(f"no results in {options.results}: python -m fastconv1d bench --save {options.results}")
    options.readme.write_text(with_section(options.readme.read_text(), runs))


if __name__ == "__main__":
    main()
