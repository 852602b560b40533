"""Figures of saved runs: ``python -m fastconv1d.bench.figures DIR``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .peers import OURS, PEERS
from .problems import layers, sweeps
from .results import Run, best, load, ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIN, LOSS = "tab:blue", "tab:red"

#: A smaller problem shows what a call costs, not what the machine can do.
LEAST_FLOPS = 1e6


def ratios(figure: Figure, run: Run) -> None:
    """The best peer's time over ours on each layer, sorted: the bars of losses are red and point to the left."""
    known = {result["name"]: ratio(result) for result in run["results"] if result["name"] in layers()}
    shown = sorted((value, name) for name, value in known.items() if not math.isnan(value))
    figure.set_size_inches(8, 1 + 0.16 * len(shown))
    axes = figure.subplots()
    values = [value for value, _ in shown]
    colours = [LOSS if value < 1 else WIN for value in values]
    axes.barh([name for _, name in shown], [value - 1 for value in values], left=1, color=colours)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="time of the best peer / time of conv1d", ylim=(-1, len(shown)))
    axes.tick_params("y", labelsize=6)


def roofline(figure: Figure, run: Run) -> None:
    """Arithmetic a second against arithmetic a byte, under what the machine can do at best."""
    floats = [result for result in run["results"] if result["dtype"] == "float32"]
    results = [result for result in floats if result["flops"] >= LEAST_FLOPS]
    intensities = [result["flops"] / result["bytes"] for result in results]
    peak, memory = run["peak_flops"]["float32"], run["copied_bytes"]
    ends = min([0.1, *intensities]), max([1e3, *intensities])
    corners = [ends[0], peak / memory, ends[1]]
    axes = figure.subplots()
    axes.plot(corners, [min(peak, memory * c) / 1e9 for c in corners], color="black", label="copy, FMA peak")
    by_family: dict[str, list[tuple[float, float]]] = {}
    for intensity, result in zip(intensities, results, strict=True):
        speed = result["flops"] / best(result, "conv1d") / 1e9
        by_family.setdefault(result["family"], []).append((intensity, speed))
    for family, points in sorted(by_family.items()):
        x, y = zip(*points, strict=True)
        axes.scatter(x, y, s=12, label=family)
    axes.set(xscale="log", yscale="log", xlabel="FLOP / byte of x, w and y", ylabel="GFLOP/s of conv1d")
    axes.legend(fontsize=7)


def sweep(name: str) -> Callable[[Figure, Run], None]:
    """The time of each implementation against what varies in a sweep."""

    def draw_sweep(figure: Figure, run: Run) -> None:
        axes = figure.subplots()
        results = {result["name"]: result for result in run["results"]}
        for implementation, peer in (OURS | PEERS).items():
            points = [
                (value, best(results[problem], implementation) * 1e3)
                for value, problem in sweeps()[name].items()
                if problem in results and implementation in results[problem]["seconds"]
            ]
            if points:
                width = 2 if implementation in OURS else 1
                axes.plot(*zip(*points, strict=True), "o-", markersize=3, linewidth=width, label=peer.title)
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel="ms")
        if axes.has_data():
            axes.legend(fontsize=7)

    return draw_sweep


#: The figures by their file names.
FIGURES: dict[str, Callable[[Figure, Run], None]] = {
    "ratios": ratios,
    "roofline": roofline,
    **{f"cost-{name}": sweep(name) for name in sweeps() if name != "dtype"},
}


def draw(runs: dict[int, Run], directory: Path) -> list[Path]:
    """Draw every figure of every run as SVG, leaving out those that have nothing to show."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    paths = []
    for threads, run in runs.items():
        for name, paint in FIGURES.items():
            figure = Figure(figsize=(6, 4), layout="constrained")
            paint(figure, run)
            (axes,) = figure.axes
            if not axes.has_data():
                continue
            axes.set_title(f"{run['machine']['cpu']}, threads: {threads}, {run['date'][:10]}", fontsize=8)
            path = directory / f"{name}-threads-{threads}.svg"
            with rc_context({"svg.hashsalt": name}):  # the same bytes for the same figures
                figure.savefig(path, metadata={"Date": None})
            paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastconv1d.bench.figures", description=__doc__)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    print(*draw(load(directory), directory), sep="\n")


if __name__ == "__main__":
    main()
