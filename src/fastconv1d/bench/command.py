"""``python -m fastconv1d bench``: the named problems beside every peer that is installed, in one run.

The peers take turns.  Every result is checked before anything is timed, and a wrong one is not.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from .. import __version__, explain, machine
from .measure import copied_bytes, peak_flops, time_in_turns
from .peers import OURS, PEERS, Peer, Prepare
from .problems import Array, Problem, check, in_format, problems
from .results import Result, Run, best, best_peer, geometric_mean, ratio, save

#: What each library reads once, when it is loaded.
THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: A ratio below this is a loss; what is nearer to 1 may be noise.
LOSS = 0.95

RED, GREEN, PLAIN = "\033[31m", "\033[32m", "\033[0m"


class UserError(Exception):
    """What the person at the keyboard can mend: ends in one line and exit code 2."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", metavar="NAMES", help=f"of {','.join(PEERS)}; default: those installed")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of every library; default: 1")
    parser.add_argument("--only", default="", metavar="REGEX", help="problems whose name it is found in; default: all")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="turns of each peer; default: 7")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write JSON and figures to it")


def bench(**options: Any) -> None:
    """Check what can be checked, and measure in a process of its own, whose libraries see so many threads."""
    try:
        if not 1 <= options["threads"] <= (os.cpu_count() or 1):
            raise UserError(f"--threads must be from 1 to {os.cpu_count()}, got {options['threads']}")
        extras = ["tqdm", "matplotlib"] if options["save"] else ["tqdm"]
        if missing := [name for name in extras if importlib.util.find_spec(name) is None]:
            raise UserError(f'{" and ".join(missing)} not installed: pip install "fastconv1d[bench]"')
        select(options["only"])
        choose(options["peers"])
    except UserError as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(2)
    count = str(options["threads"])
    arguments = [f"--{name}={value}" for name, value in options.items() if value is not None]
    child = subprocess.run(
        [sys.executable, "-m", "fastconv1d.bench", *arguments],
        env=os.environ | dict.fromkeys(THREAD_VARIABLES, count),
        check=False,
    )
    sys.exit(child.returncode)


def select(only: str) -> list[Problem]:
    """The problems whose names the expression is found in."""
    try:
        chosen = [problem for name, problem in problems().items() if re.search(only, name)]
    except re.error as wrong:
        raise UserError(f"--only={only!r} is no regular expression: {wrong}") from wrong
    if not chosen:
        raise UserError(f"--only={only!r} is found in no name; there are {', '.join(problems())}")
    return chosen


def choose(names: str | None) -> dict[str, Peer]:
    """The peers of these names, or those that are installed."""
    if names is None:
        return {name: peer for name, peer in PEERS.items() if not peer.missing()}
    wanted = list(filter(None, names.split(",")))
    if unknown := [name for name in wanted if name not in PEERS]:
        raise UserError(f"--peers: {', '.join(unknown)} unknown; there are {', '.join(PEERS)}")
    if missing := [module for name in wanted for module in PEERS[name].missing()]:
        raise UserError(f"not installed: pip install {' '.join(missing)}")
    return {name: PEERS[name] for name in wanted}


def measure(options: argparse.Namespace) -> Run:
    """Time the selected problems, and print a line for each."""
    from tqdm import tqdm

    threads = options.threads
    if hasattr(os, "sched_setaffinity"):  # JAX has no switch for its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    peers = choose(options.peers)
    if left_out := [name for peer in PEERS.values() if peer.missing() for name in peer.missing()]:
        print(f"left out, not installed: pip install {' '.join(left_out)}")
    ours = {name: peer for name, peer in OURS.items() if hasattr(sys.modules["fastconv1d"], name)}
    prepares = {name: peer.connect(threads) for name, peer in (ours | peers).items()}
    run = {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": versions(peers),
        "threads": threads,
        "peak_flops": {dtype: peak_flops(dtype, threads) for dtype in ("float32", "float64")},
        "copied_bytes": copied_bytes(threads),
        "results": [],
    }
    print(heading(run))
    for problem in (bar := tqdm(select(options.only), unit="problem", leave=False, disable=None)):
        bar.set_postfix_str(problem.name)
        run["results"].append(compare(problem, prepares, options.rounds, threads))
        tqdm.write(line(run["results"][-1], run, colour=sys.stdout.isatty()))
        sys.stdout.flush()
    return run


def compare(problem: Problem, prepares: dict[str, Prepare], rounds: int, threads: int) -> Result:
    """Check each implementation on a problem, and time those that are right."""
    x, w = problem.arrays()
    explanation = explain(x, w, **problem.options)
    result: Result = asdict(problem) | {
        "family": problem.family,
        "algorithm": explanation.algorithm,
        "flops": explanation.flops,
        "bytes": explanation.bytes,
        "error": {},
        "refused": {},
    }
    calls: dict[str, Callable[[], Any]] = {}
    error = check(problem, x, w)
    for name, prepare in prepares.items():
        try:
            call, y = first_call(name, prepare, problem, x, w)
        except Exception as refusal:  # a peer may lack anything, in its own words; ours has to work
            if name in OURS:
                raise
            result["refused"][name] = f"{type(refusal).__name__}: {' '.join(str(refusal).split())[:200]}"
            continue
        result["error"][name] = error(y)
        if result["error"][name] <= 1:
            calls[name] = call
    result["seconds"] = {
        name: [float(f"{seconds:.4g}") for seconds in turns]
        for name, turns in time_in_turns(calls, rounds, threads).items()
    }
    return result


def first_call(name: str, prepare: Prepare, problem: Problem, x: Array, w: Array) -> tuple[Callable[[], Array], Array]:
    """A call that is ready to be timed, and its result in the data format of the problem."""
    peer = (OURS | PEERS)[name]
    data_format = peer.data_format or problem.data_format
    moved = data_format != problem.data_format
    if moved:
        x, w = in_format("NWC", x), in_format("NWC", w, (2, 1, 0))  # either way, it is the same exchange
    call = prepare(problem.described(data_format), x, w)
    y = call()
    return call, y.transpose(0, 2, 1) if moved else y


def describe_machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    vector_bits = 32 * machine.lanes(explain((1, 1, 1), (1, 1, 1)).problem.dtype)
    return {
        "cpu": names[0] if names else platform.processor(),
        "llvm_cpu": machine.cpu_name(),
        "cores": os.cpu_count(),
        "vector_bits": vector_bits,
        "system": platform.platform(),
    }


def versions(peers: dict[str, Peer]) -> dict[str, str]:
    titles = {"Python": platform.python_version(), "fastconv1d": __version__, "Numba": version("numba")}
    installed = packages_distributions()
    return titles | {peer.title: version(installed[peer.modules[-1]][0]) for peer in peers.values()}


def heading(run: Run) -> str:
    at_best = ", ".join(f"{flops / 1e9:.0f} GFLOP/s {dtype}" for dtype, flops in run["peak_flops"].items())
    return (
        f"{run['machine']['cpu']}, {run['machine']['vector_bits']}-bit vectors, {run['threads']} thread(s)\n"
        f"at best {at_best}, copying {run['copied_bytes'] / 1e9:.1f} GB/s, measured now\n"
        f"{', '.join(f'{name} {number}' for name, number in run['versions'].items())}\n\n"
        f"{'problem':28}{'algorithm':>10}{'conv1d':>12}{'GFLOP/s':>9}{'% FMA':>7}{'% copy':>7}{'Conv1d':>12}"
        f"  {'best peer':26}{'ratio':>6}"
    )


def line(result: Result, run: Run, *, colour: bool) -> str:
    """One line of the table; red is a loss.  More than 100 % of a copy comes out of the caches."""
    seconds, (name, peer_seconds) = best(result, "conv1d"), best_peer(result)
    flops, moved = result["flops"] / seconds, result["bytes"] / seconds
    peak = run["peak_flops"].get(result["dtype"])
    peer = f"{PEERS[name].title} {milliseconds(peer_seconds)}" if name else "-"
    ours_to_best = ratio(result)
    text = (
        f"{result['name']:28}{result['algorithm']:>10}{milliseconds(seconds):>12}{flops / 1e9:9.1f}"
        f"{f'{100 * flops / peak:.0f}' if peak else '-':>7}{100 * moved / run['copied_bytes']:7.0f}"
        f"{milliseconds(best(result, 'Conv1d')):>12}  {peer:26}{ours_to_best:6.2f}"
    )
    if colour and ours_to_best == ours_to_best:  # not NaN
        text = f"{RED if ours_to_best < LOSS else GREEN if ours_to_best > 1 / LOSS else ''}{text}{PLAIN}"
    return "\n".join([text, *wrong([result])])


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms" if seconds < float("inf") else "-"


def wrong(results: Iterable[Result]) -> list[str]:
    """A line for each result that is not what it should be."""
    return [
        f"WRONG: {name} on {result['name']}, off by {share:.3g} times what is allowed"
        for result in results
        for name, share in result["error"].items()
        if not share <= 1
    ]


def summary(results: list[Result]) -> str:
    ratios = [ratio(result) for result in results]
    ratios = [value for value in ratios if value == value]  # not NaN
    if not ratios:
        return "no peer to compare with"
    return (
        f"best peer / conv1d over {len(ratios)} problems: geometric mean {geometric_mean(ratios):.2f},"
        f" worst {min(ratios):.2f}, best {max(ratios):.2f}, {sum(value < LOSS for value in ratios)} below {LOSS}"
    )


def main() -> None:
    """Run in the process that `bench` has started."""
    parser = argparse.ArgumentParser(prog="python -m fastconv1d bench")
    add_arguments(parser)
    options = parser.parse_args()
    run = measure(options)
    print(f"\n{summary(run['results'])}")
    if options.save:
        from .figures import draw
        from .results import load

        print(f"saved {save(run, options.save)} and {', '.join(map(str, draw(load(options.save), options.save)))}")
    if mistakes := wrong(run["results"]):
        sys.exit("\n".join(mistakes))
