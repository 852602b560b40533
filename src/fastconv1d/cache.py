"""Compiled code on disk: what one process compiled, the next one loads.  This file stores bytes, compile.py makes them.

    DIRECTORY/<stamp>/<name>-<hash of the key>.code      the SHA-256 of key and content, then the content

The stamp is a hash of the source of the whole package; the key is the text of everything else that the content depends
on.  So a file is never out of date: other code has another name.  A file is written under a name of its own and then
renamed, so that many processes may write at once.  It is read only if its hash is right, and only from a directory
into which nobody else can write, as reading executes it.  Whatever goes wrong costs a compilation and one warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["CacheInfo", "cache_info", "clear_cache", "load", "place", "save"]

PACKAGE = Path(__file__).parent

#: Directories of other stamps that a process leaves when it writes its first file: versions in use side by side.
MOST_STAMPS = 8

_HASH_BYTES = hashlib.sha256().digest_size
_STAMP = re.compile(r"[0-9a-f]{32}")
_FILE = re.compile(r"\w+-[0-9a-f]{32}\.code(\.new-\w+)?")


def hash_of_the_source() -> str:
    """The stamp: another one after any change of the package."""
    found = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_bytes()
        found.update(f"{path.relative_to(PACKAGE).as_posix()} {len(source)}\n".encode() + source)
    return found.hexdigest()[:32]


#: Taken at import, when the source on disk still is what runs.
STAMP = hash_of_the_source()


@dataclass
class _Process:
    """What happened in this process."""

    hits: int = 0
    misses: int = 0
    warned: bool = False


_process = _Process()


def warn(trouble: str) -> None:
    """Warn, the first time in a process."""
    if not _process.warned:
        _process.warned = True
        ways = "FASTCONV1D_CACHE=DIR keeps compiled code in a directory of your choice, FASTCONV1D_CACHE=0 keeps none"
        warnings.warn(f"compiling anew: {trouble}. {ways}", RuntimeWarning, stacklevel=2)


def _places() -> list[Path]:
    """Where code may be kept, in order of preference."""
    setting = os.environ.get("FASTCONV1D_CACHE", "")
    if setting == "0":
        return []
    if setting not in ("", "1"):
        return [Path(setting).expanduser().absolute()]
    if not setting and os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(os.environ["NUMBA_CACHE_DIR"]).absolute() / "fastconv1d"]
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    temporary = Path(tempfile.gettempdir()) / f"fastconv1d-{user}"
    caches = _caches_of_the_user()
    return [caches / "fastconv1d", temporary] if caches.is_absolute() else [temporary]


def _caches_of_the_user() -> Path:
    home = Path(os.path.expanduser("~"))  # which stays "~" where there is none
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else home / ".cache"


def _make(directory: Path) -> None:
    """Make the directory if need be; OSError unless all in it was written by this user, or by root."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    facts = directory.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise OSError("not a directory")
    if hasattr(os, "geteuid"):
        if facts.st_uid not in (os.geteuid(), 0):
            raise OSError(f"belongs to another user, number {facts.st_uid}")
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise OSError("other users may write into it")


@cache
def place() -> tuple[Path | None, str]:
    """The directory of this process's stamp, or None and why there is none.  Decided once."""
    failures = []
    try:
        for directory in _places():
            try:
                _make(directory / STAMP)
            except OSError as error:
                failures.append(f"{directory}: {error.strerror or error}")
            else:
                with contextlib.suppress(OSError):  # it is read-only
                    os.utime(directory / STAMP)  # used now
                return directory / STAMP, ""
    except OSError as error:  # there is no temporary directory
        failures.append(str(error))
    if failures:
        warn(f"nowhere to keep compiled code ({'; '.join(failures)})")
    return None, "; ".join(failures) or "FASTCONV1D_CACHE=0"


def _path(directory: Path, name: str, key: bytes) -> Path:
    return directory / f"{name}-{hashlib.sha256(key).hexdigest()[:32]}.code"


def load(name: str, key: bytes) -> bytes | None:
    """What was saved under this key, or None."""
    directory, _ = place()
    if directory is not None:
        path = _path(directory, name, key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            pass
        except OSError as error:
            warn(f"{path} can't be read ({error.strerror})")
        else:
            content = data[_HASH_BYTES:]
            if hashlib.sha256(key + content).digest() == data[:_HASH_BYTES]:
                _process.hits += 1
                return content
            warn(f"{path} is damaged")
    _process.misses += 1
    return None


def save(name: str, key: bytes, content: bytes) -> None:
    """Keep `content` for who asks for this key."""
    directory, _ = place()
    if directory is None:
        return
    path = _path(directory, name, key)
    try:
        directory.mkdir(mode=0o755, exist_ok=True)  # another process may have removed it
        _write(path, hashlib.sha256(key + content).digest() + content)
        _remove_old_stamps(directory)
    except OSError as error:
        warn(f"{path} can't be written ({error.strerror})")


def _write(path: Path, data: bytes) -> None:
    """Write the file, all of it or nothing."""
    new = path.with_name(f"{path.name}.new-{os.getpid()}_{os.urandom(8).hex()}")
    try:
        # Readable for all, as a container's image is made by root and run by somebody else.
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "wb") as file:
            file.write(data)
        os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _stamps(directory: Path) -> list[Path]:
    """The directories of all stamps, the one used last first."""
    found = [path for path in directory.iterdir() if _STAMP.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def _files(stamp: Path) -> list[Path]:
    return [path for path in stamp.iterdir() if _FILE.fullmatch(path.name)]


def _remove(stamp: Path) -> int:
    """Remove the files of a stamp and its directory; how many files."""
    files = _files(stamp)
    for path in files:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody put something else there
        stamp.rmdir()
    return len(files)


@cache
def _remove_old_stamps(directory: Path) -> None:
    """Leave the directories that were used last.  Once a process."""
    for stamp in _stamps(directory.parent)[MOST_STAMPS:]:
        _remove(stamp)


@dataclass(frozen=True)
class CacheInfo:
    """Where compiled code is kept, and how much; prints as a table."""

    #: None if none is kept.
    directory: Path | None
    #: Why none is kept.
    reason: str
    #: Files in the directory, those of other versions too.
    files: int
    #: What they take.
    bytes: int
    #: Kernels that this process loaded.
    hits: int
    #: Kernels that this process compiled.
    misses: int

    def __repr__(self) -> str:
        rows = (
            ("directory", str(self.directory or f"none, {self.reason}")),
            ("files", f"{self.files:,}"),
            ("bytes", f"{self.bytes:,}"),
            ("hits", f"{self.hits:,} kernels loaded by this process"),
            ("misses", f"{self.misses:,} kernels compiled by this process"),
        )
        return "\n".join(f"{name:10}{text}" for name, text in rows)


def cache_info() -> CacheInfo:
    """Tell where compiled code is kept, how much of it there is, and how often it saved this process compiling.

    Returns
    -------
    CacheInfo
        Prints as a table.  Its attributes are `directory` (None if none is kept, for the `reason`), `files`, `bytes`,
        `hits` and `misses`.

    See Also
    --------
    clear_cache : removes it.

    Examples
    --------
    >>> import fastconv1d
    >>> fastconv1d.cache_info()  # doctest: +SKIP
    directory /home/me/.cache/fastconv1d
    files     9
    bytes     1,338,215
    hits      2 kernels loaded by this process
    misses    0 kernels compiled by this process
    >>> info = fastconv1d.cache_info()
    >>> info.directory is None or info.directory.is_dir()
    True
    """
    stamp, reason = place()
    sizes = [path.stat().st_size for path in _all_files(stamp)] if stamp else []
    directory = stamp.parent if stamp else None
    return CacheInfo(directory, reason, len(sizes), sum(sizes), _process.hits, _process.misses)


def _all_files(stamp: Path) -> Iterator[Path]:
    for directory in _stamps(stamp.parent):
        yield from _files(directory)


def clear_cache() -> int:
    """Remove the compiled code on disk, that of other versions too.  What is loaded goes on working.

    Returns
    -------
    int
        How many files were removed.

    See Also
    --------
    cache_info : where they are.

    Examples
    --------
    >>> import fastconv1d
    >>> files = fastconv1d.cache_info().files
    >>> fastconv1d.clear_cache() == files
    True
    """
    stamp, _ = place()
    return sum(map(_remove, _stamps(stamp.parent))) if stamp else 0
