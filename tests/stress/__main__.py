"""All of them, one after the other, the guard pages, and the fuzzing in full: python tests/stress.

It takes about half an hour on 2 cores and exits with 1 if any of them did not end well.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

COMMANDS = {
    "the compile cache": (HERE / "cache.py",),
    "start methods": (HERE / "start_methods.py",),
    "a million calls": (HERE / "threads.py",),
    "memory": (HERE / "memory.py", "--calls", "400000"),
    "guard pages": ("-m", "pytest", "-q", HERE.parent / "test_guard_pages.py"),
    "random problems": (HERE.parent / "fuzz.py", "--problems", "100000", "--seed", "11"),
}


def main() -> int:
    ends = {}
    for name, command in COMMANDS.items():
        print(f"\n== {name}: python {' '.join(map(str, command))}", flush=True)
        start = time.perf_counter()
        code = subprocess.run([sys.executable, *map(str, command)]).returncode
        ends[name] = f"{'passed' if code == 0 else f'FAILED, exit code {code}'} in {time.perf_counter() - start:.0f} s"
    print("", *(f"{name:25} {end}" for name, end in ends.items()), sep="\n")
    return any("FAILED" in end for end in ends.values())


if __name__ == "__main__":
    sys.exit(main())
