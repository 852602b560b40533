"""The compile cache under everything that can happen to files: the results have the right bits, nothing dies.

    python tests/stress/cache.py

Each line is a scenario: processes that convolve in several dtypes, on one thread and on several, with the files or the
directory in some state.  It takes about five minutes on 2 cores and exits with 1 if a result differed, a process died,
warned more than once, or warned where there was no reason to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAM = """
import hashlib, os, sys, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import fastconv1d
    from fastconv1d import cache, tuning
    tuning.PARALLEL_SECONDS = 50e-6

    def digest():
        found = hashlib.sha256()
        for dtype in ("float32", "float64", "int64"):
            x, w = np.arange(32 * 3000).reshape(1, 32, 3000) % 17, np.arange(32 * 32 * 3).reshape(32, 32, 3) % 5
            found.update(fastconv1d.conv1d(x.astype(dtype), w.astype(dtype), padding=1))
            found.update(fastconv1d.conv1d(x[:, :2, :9].astype(dtype), w[:, :2].astype(dtype), padding=1))
        return found.hexdigest()

    {body}
print(result, cache._process.hits, cache._process.misses, len(caught))
"""
PLAIN = "result = digest()"
FORKED = """
    before = os.fork()
    if before == 0:
        os._exit(0 if digest() else 1)
    assert os.waitpid(before, 0)[1] == 0
    result = digest()
    after = os.fork()
    if after == 0:
        os._exit(0 if digest() == result else 1)
    assert os.waitpid(after, 0)[1] == 0
"""
LIMITED = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    result = digest()
"""
OTHER_USER = """
    import numba
    numba.njit(lambda: 1)(), numba.get_num_threads()  # imports what that user may not be allowed to read
    os.setgid(65534), os.setuid(65534)
    result = digest()
"""


def start(body: str = PLAIN, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body.strip())],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, int, int, int]:
    """Return the digest of the results, and how many hits, misses and warnings there were."""
    output, errors = process.communicate()
    if process.returncode:
        return f"died with {process.returncode}: {errors[-500:]}", 0, 0, 0
    digest, *counts = output.split()
    hits, misses, warned = map(int, counts)
    return digest, hits, misses, warned


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.code"))


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def rewrite_all(directory: Path) -> None:
        for path in files(directory):
            path.write_bytes(change(path.read_bytes()))

    return rewrite_all


def exchange(directory: Path) -> None:
    """Every file gets the content of the next."""
    paths = files(directory)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)


def replace_by_directories(directory: Path) -> None:
    for path in files(directory):
        path.unlink()
        path.mkdir()


#: What happens to the files, and whether that is a reason to warn.
FILES: dict[str, tuple[Callable[[Path], None], bool]] = {
    "untouched": (lambda directory: None, False),
    "all gone": (shutil.rmtree, False),
    "empty": (rewrite(lambda data: b""), True),
    "only the hash": (rewrite(lambda data: data[:32]), True),
    "cut in half": (rewrite(lambda data: data[: len(data) // 2]), True),
    "the last byte gone": (rewrite(lambda data: data[:-1]), True),
    "a byte more": (rewrite(lambda data: data + b"x"), True),
    "garbage": (rewrite(lambda data: os.urandom(len(data))), True),
    "a bit flipped in the middle": (
        rewrite(lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]),
        True,
    ),
    "exchanged": (exchange, True),
    "directories in their places": (replace_by_directories, True),
}


def scenarios(scratch: Path) -> Iterator[tuple[str, list[tuple[str, int, int, int]], bool, bool]]:
    """Yield what was tried, what came out, whether there was a reason to warn, and whether all has to be loaded."""
    full = scratch / "full"
    yield "empty directory", [finish(start(FASTCONV1D_CACHE=str(full)))], False, False
    yield "full directory", [finish(start(FASTCONV1D_CACHE=str(full)))], False, True
    empty = str(scratch / "race")
    yield "eight at once, empty", list(map(finish, [start(FASTCONV1D_CACHE=empty) for _ in range(8)])), False, False
    yield "eight at once, full", list(map(finish, [start(FASTCONV1D_CACHE=empty) for _ in range(8)])), False, True
    for name, (damage, warns) in FILES.items():
        directory = scratch / name.replace(" ", "-")
        shutil.copytree(full, directory)
        for stamp in directory.iterdir():
            stamp.chmod(0o755)
        damage(directory)
        yield f"files {name}", [finish(start(FASTCONV1D_CACHE=str(directory)))], warns, False
        if name not in ("untouched", "directories in their places"):
            yield f"files {name}, after that", [finish(start(FASTCONV1D_CACHE=str(directory)))], False, True
    blocked = scratch / "a-file"
    blocked.write_text("")
    nowhere = {"HOME": str(blocked), "XDG_CACHE_HOME": str(blocked), "FASTCONV1D_CACHE": "1"}
    temporary = scratch / "tmp"
    temporary.mkdir()
    yield "no home", [finish(start(**nowhere, TMPDIR=str(temporary)))], False, False
    yield "no home, once more", [finish(start(**nowhere, TMPDIR=str(temporary)))], False, True
    yield "a file for a directory", [finish(start(FASTCONV1D_CACHE=str(blocked)))], True, False
    yield "no room for a file", [finish(start(LIMITED, FASTCONV1D_CACHE=str(scratch / "limited")))], True, False
    yield "forks", [finish(start(FORKED, FASTCONV1D_CACHE=str(scratch / "forks")))], False, False
    yield "forks, full directory", [finish(start(FORKED, FASTCONV1D_CACHE=str(full)))], False, True
    if os.geteuid() == 0:
        scratch.chmod(0o755)
        yield "root's directory, another user", [finish(start(OTHER_USER, FASTCONV1D_CACHE=str(full)))], False, True
        other = scratch / "other"
        shutil.copytree(full, other)
        for path in other.rglob("*"):
            os.chown(path, 12345, 12345)
        yield "another user's directory", [finish(start(OTHER_USER, FASTCONV1D_CACHE=str(other)))], True, False
    if sys.platform == "linux" and subprocess.run(["mountpoint", "-q", "/dev/shm"], check=False).returncode == 0:
        small = scratch / "small-disk"
        small.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
        if subprocess.run(mount, check=False, capture_output=True).returncode == 0:
            try:
                yield "full disk", [finish(start(FASTCONV1D_CACHE=str(small)))], True, False
                subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
                yield "read-only disk", [finish(start(FASTCONV1D_CACHE=str(small)))], True, False
            finally:
                subprocess.run(["umount", str(small)], check=True)


def main() -> int:
    expected, *_ = finish(start(FASTCONV1D_CACHE="0"))
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, outcomes, may_warn, loads_all in scenarios(Path(scratch)):
            right = all(
                digest == expected and warned == may_warn and not (loads_all and misses)
                for digest, _, misses, warned in outcomes
            )
            bad += not right
            counts = ", ".join(
                f"{hits} hits {misses} misses {warned} warnings" for _, hits, misses, warned in outcomes[:1]
            )
            print(f"{'ok   ' if right else 'WRONG'}  {name:45}{counts}", flush=True)
            if not right:
                print(*outcomes, sep="\n")
    print(f"{bad} scenarios went wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
