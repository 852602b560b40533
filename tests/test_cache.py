"""Compiled code on disk is never wrong, and whatever happens to it costs one warning and a compilation."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from conftest import RunPython
from numba.core.codegen import JITCPUCodegen

import fastconv1d
from fastconv1d import cache, explain, keeping, plan
from fastconv1d.plan import ALGORITHMS
from fastconv1d.problem import ACTIVATIONS
from fastconv1d.simd.tiles import TIMES
from fastconv1d.sweep import SWEEPS

PACKAGE = Path(fastconv1d.__file__).parent
KEY, CONTENT = b"all that it depends on", bytes(range(256)) * 4


def only_file(directory: Path) -> Path:
    (path,) = directory.rglob("*.code*")
    return path


# ---- the files -------------------------------------------------------------------------------------------------------


@pytest.mark.nojit
@pytest.mark.generic
def test_what_is_saved_is_loaded_by_its_key_only(own_cache: Path) -> None:
    assert cache.load("name", KEY) is None
    cache.save("name", KEY, CONTENT)
    assert cache.load("name", KEY) == CONTENT
    assert cache.load("name", KEY + b"!") is None
    assert cache.load("other", KEY) is None
    info = fastconv1d.cache_info()
    assert (info.directory, info.files, info.hits, info.misses) == (own_cache, 1, 1, 3)
    assert info.bytes == only_file(own_cache).stat().st_size
    assert [line.split()[0] for line in repr(info).split("\n")] == ["directory", "files", "bytes", "hits", "misses"]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half of the hash": lambda data: data[:16],
    "no content": lambda data: data[:32],
    "half": lambda data: data[: len(data) // 2],
    "the last byte gone": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "garbage": lambda data: os.urandom(len(data)),
    "zeros": lambda data: bytes(len(data)),
    "a bit of the hash": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "a bit of the content": lambda data: data[:100] + bytes([data[100] ^ 128]) + data[101:],
}


@pytest.mark.nojit
@pytest.mark.generic
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_not_loaded_and_written_again(damage: str, own_cache: Path) -> None:
    cache.save("name", KEY, CONTENT)
    path = only_file(own_cache)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert cache.load("name", KEY) is None
    cache.save("name", KEY, CONTENT)
    assert cache.load("name", KEY) == CONTENT


@pytest.mark.nojit
@pytest.mark.generic
def test_a_file_under_the_name_of_another_is_not_loaded(own_cache: Path) -> None:
    cache.save("name", KEY, CONTENT)
    path = only_file(own_cache)
    cache.save("name", b"another key", b"another content")
    (other,) = set(own_cache.rglob("*.code")) - {path}
    shutil.copy(path, other)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert cache.load("name", b"another key") is None


@pytest.mark.nojit
@pytest.mark.generic
def test_trouble_warns_once(own_cache: Path) -> None:
    for name in ("one", "two"):
        cache.save(name, KEY, CONTENT)
    for path in own_cache.rglob("*.code"):
        path.unlink()
        path.mkdir()  # which can't be read as a file, not even by root
    with pytest.warns(RuntimeWarning, match="FASTCONV1D_CACHE=DIR"):
        assert cache.load("one", KEY) is None
    assert cache.load("two", KEY) is None  # any warning is an error here
    cache.save("two", KEY, CONTENT)


@pytest.mark.nojit
@pytest.mark.generic
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("step", ["open", "replace"])
def test_a_file_that_cant_be_written_leaves_nothing(
    step: str, number: int, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    cache.place()
    monkeypatch.setattr(os, step, fail)
    with pytest.warns(RuntimeWarning, match=os.strerror(number)):
        cache.save("name", KEY, CONTENT)
    assert list(own_cache.rglob("*.code*")) == []


WRITING_LITTLE = """
import resource, signal, sys, warnings
import fastconv1d
from fastconv1d import cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cache.save("name", b"key", bytes(10000))
print([w.category.__name__ for w in caught], cache.load("name", b"key"), fastconv1d.cache_info().files)
"""


@pytest.mark.nojit
@pytest.mark.generic
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_disk_that_gets_full_in_the_midst_of_a_file(run_python: RunPython, tmp_path: Path) -> None:
    child = run_python("-c", WRITING_LITTLE, FASTCONV1D_CACHE=str(tmp_path))
    assert child.stdout == "['RuntimeWarning'] None 0\n", child.stderr


@pytest.mark.nojit
@pytest.mark.generic
def test_a_file_is_seen_whole_or_not_at_all(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another process writes the same file at the same time; a warning would be an error."""
    seen, open_file = [], os.open

    def look(*arguments: Any) -> int:
        number = open_file(*arguments)
        seen.append(cache.load("name", KEY))
        if len(seen) == 1:
            cache.save("name", KEY, CONTENT)
        return number

    monkeypatch.setattr(os, "open", look)
    cache.save("name", KEY, CONTENT)
    cache.save("name", KEY, CONTENT)
    assert seen == [None, None, CONTENT]


@pytest.mark.nojit
@pytest.mark.generic
def test_old_stamps_make_room_and_clear_cache_leaves_what_is_not_ours(own_cache: Path) -> None:
    for age in range(12):
        stamp = own_cache / f"{age:032x}"
        stamp.mkdir(parents=True)
        (stamp / f"name-{age:032x}.code").write_bytes(b"old")
        os.utime(stamp, (1e9 - age, 1e9 - age))
    mine = own_cache / f"{11:032x}" / "notes.txt"
    mine.write_text("of the user")
    os.utime(mine.parent, (0, 0))
    cache.save("name", KEY, CONTENT)
    assert fastconv1d.cache_info().files == cache.MOST_STAMPS
    assert {path.name for path in own_cache.iterdir()} == {
        cache.STAMP,
        mine.parent.name,
        *(f"{age:032x}" for age in range(cache.MOST_STAMPS - 1)),
    }
    assert fastconv1d.clear_cache() == cache.MOST_STAMPS
    assert fastconv1d.cache_info().files == 0
    assert mine.read_text() == "of the user"


# ---- the directory ---------------------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Path]]:
    """Where code may be kept, by the environment that is given."""

    def where(**environment: str) -> list[Path]:
        for name in ("FASTCONV1D_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return cache._places()

    return where


@pytest.mark.nojit
@pytest.mark.generic
@pytest.mark.skipif(sys.platform != "linux", reason="the names of Linux")
def test_where_code_is_kept(places: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert places(FASTCONV1D_CACHE="0") == []
    assert places(FASTCONV1D_CACHE="/somewhere", NUMBA_CACHE_DIR="/n") == [Path("/somewhere")]
    assert places(FASTCONV1D_CACHE="here") == [Path.cwd() / "here"]
    assert places(NUMBA_CACHE_DIR="/n") == [Path("/n/fastconv1d")]
    home, temporary = places(FASTCONV1D_CACHE="1", NUMBA_CACHE_DIR="/n", HOME="/home/me")
    assert home == Path("/home/me/.cache/fastconv1d")
    assert temporary.name == f"fastconv1d-{os.getuid()}"
    assert places(XDG_CACHE_HOME="/x")[0] == Path("/x/fastconv1d")
    assert places(XDG_CACHE_HOME="x", HOME="/home/me")[0] == home
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no HOME, and no entry among the users
    assert places() == [temporary]


def change_the_owner(stamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(stamp, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)


UNSAFE: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "belongs to another user": change_the_owner,
    "other users may write into it": lambda stamp, _: stamp.chmod(0o777),
    "not a directory": lambda stamp, _: (stamp.rename(stamp.with_name("real")), stamp.symlink_to("real")),
}


@pytest.mark.nojit
@pytest.mark.generic
@pytest.mark.skipif(sys.platform == "win32", reason="no owners")
@pytest.mark.parametrize("reason", UNSAFE)
def test_a_directory_that_others_can_write_into_is_not_read(
    reason: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.save("name", KEY, CONTENT)
    assert cache.load("name", KEY) == CONTENT
    UNSAFE[reason](own_cache / cache.STAMP, monkeypatch)
    cache.place.cache_clear()
    with pytest.warns(RuntimeWarning, match=reason):
        assert cache.load("name", KEY) is None
    info = fastconv1d.cache_info()
    assert info.directory is None
    assert reason in info.reason


@pytest.mark.nojit
@pytest.mark.generic
def test_no_directory_at_all(own_cache: Path) -> None:
    own_cache.write_text("a file stands there")
    with pytest.warns(RuntimeWarning, match="nowhere to keep compiled code"):
        cache.save("name", KEY, CONTENT)
    assert cache.load("name", KEY) is None
    assert "none, " in repr(fastconv1d.cache_info())
    assert fastconv1d.clear_cache() == 0


@pytest.mark.nojit
@pytest.mark.generic
def test_switched_off_is_silent(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCONV1D_CACHE", "0")
    cache.save("name", KEY, CONTENT)
    assert cache.load("name", KEY) is None
    assert fastconv1d.cache_info().reason == "FASTCONV1D_CACHE=0"
    assert not own_cache.exists()


# ---- the key ---------------------------------------------------------------------------------------------------------


def key_of_a_sweep(
    lanes_along: int = TIMES, one_chain: bool = False, signature: str = "float32", **flags: object
) -> bytes:
    key = keeping.key(SWEEPS[lanes_along, one_chain].function, signature, flags)
    assert key is not None
    return key


CONFIGURATION = (
    "BOUNDSCHECK",
    "OPT",
    "DEBUGINFO_DEFAULT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "CPU_NAME",
    "CPU_FEATURES",
)


@pytest.mark.generic
def test_the_key_has_all_that_changes_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of_a_sweep(parallel=False)
    assert key_of_a_sweep(parallel=False) == before
    assert key_of_a_sweep(parallel=True) != before
    assert key_of_a_sweep(signature="float64", parallel=False) != before
    keys = {key_of_a_sweep(*kind, parallel=False) for kind in SWEEPS}
    assert len(keys) == len(SWEEPS)  # the same lines on other tiles
    changes = [
        *((numba.config, name, "changed") for name in CONFIGURATION),
        (numba, "__version__", "9"),
        (np, "__version__", "9"),
        (sys.modules["llvmlite"], "__version__", "9"),
        (sys, "version", "9"),
        (JITCPUCodegen, "magic_tuple", lambda self: ("another", "CPU", "behind the same network drive")),
        (fastconv1d.sweep, "CHUNK", 64),
        (fastconv1d.simd.tiles, "MOST_ROWS", 12),
        (fastconv1d.simd.tiles, "most_rows", lambda *_: 3),
        (fastconv1d.tuning, "CHAIN", 8),
        (fastconv1d.machine, "registers", lambda: 16),
    ]
    for owner, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            assert key_of_a_sweep(parallel=False) != before, name
    for name in keeping.UNRELATED:
        with monkeypatch.context() as patch:
            patch.setattr(numba.config, name, "changed")
            assert key_of_a_sweep(parallel=False) == before, name


@pytest.mark.generic
def test_what_is_not_of_the_package_is_not_kept() -> None:
    assert keeping.key(lambda: None, "signature", {}) is None


# ---- compiled code ---------------------------------------------------------------------------------------------------

# A package of that name with those modules and kernels of its own, whose source a test can change.
MODULES = ("cache", "keeping", "compile", "simd/__init__", "simd/vectors", "simd/arrays", "machine")
KERNELS = """
from .compile import kernel, standalone
from .helper import shift

def make(constant):
    @kernel
    def inner(v, n):  # too long to be inlined, so that it has a symbol
        for i in range(n):
            v = v * 1.5 if v < 1e9 else v / 3.0 + i
            v = v - 7.0 if i % 3 == 1 else v + 2.0 / (1.0 + v * v)
            v = v * 0.5 if i % 5 == 2 else v
        return v + constant

    def outer(a, table, n):
        a[0] = inner(a[0], n) + inner(a[1], n + 1) + inner(a[2], n + 2) + shift(n)

    return standalone(pointers=1, integers=1)(outer)

first, second = make(1000.0), make(2000.0)
"""
HELPER = """
from .compile import kernel

@kernel
def shift(n):
    return n + 0.25
"""
RUN = """
import ctypes, sys
import numpy as np
from fastconv1d import cache, kernels
call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t)
for name in sys.argv[1:]:
    a, table = np.zeros(3), np.zeros(1, np.int64)
    call(getattr(kernels, name).address(a.dtype))(a.ctypes.data, table.ctypes.data, 0)
    print(a[0], end=" ")
print(cache._process.hits, cache._process.misses)
"""


class Small:
    """A small package with a cache, run in processes of their own."""

    def __init__(self, directory: Path):
        self.package, self.cache = directory / "fastconv1d", directory / "compiled"
        for name in MODULES:
            copy = self.package / f"{name}.py"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACKAGE / f"{name}.py", copy)
        (self.package / "__init__.py").touch()
        (self.package / "kernels.py").write_text(KERNELS)
        (self.package / "helper.py").write_text(HELPER)

    def edit(self, module: str, old: str, new: str) -> None:
        path = self.package / f"{module}.py"
        source = path.read_text()
        assert old in source
        path.write_text(source.replace(old, new))

    def start(self, *names: str, code: str = RUN, **environment: str) -> subprocess.Popen[str]:
        # Python tells an edit by its second and the size of the file, so that its own cache may be stale here.
        paths = {"PYTHONPATH": str(self.package.parent), "FASTCONV1D_CACHE": str(self.cache)}
        paths["PYTHONDONTWRITEBYTECODE"] = "1"
        return subprocess.Popen(
            [sys.executable, "-c", code, *names],
            env=os.environ | paths | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *names: str, code: str = RUN, **environment: str) -> list[float]:
        """What the kernels of these names return, then the numbers of hits and misses."""
        output, errors = self.start(*names, code=code, **environment).communicate(timeout=600)
        assert output.endswith("\n"), errors
        return list(map(float, output.split()))


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path)


FIRST, SECOND = 2998.25, 5998.25  # three times the constant, 0.25 of the helper, and -2 of the loops


@pytest.mark.generic
def test_two_constants_in_the_same_lines(small: Small) -> None:
    assert small.run("first", "second") == [FIRST, SECOND, 0, 2]
    assert small.run("second", "first") == [SECOND, FIRST, 2, 0]


@pytest.mark.generic
def test_inner_functions_of_one_name_from_two_processes(small: Small) -> None:
    assert small.run("first") == [FIRST, 0, 1]
    assert small.run("second") == [SECOND, 0, 1]
    assert small.run("first", "second") == [FIRST, SECOND, 2, 0]
    assert small.run("second", "first") == [SECOND, FIRST, 2, 0]


GENERATED = """
from .compile import standalone

def make(constant, space):
    source = f"def outer(a, table, n):\\n    a[0] = {constant}"
    exec(compile(source, __file__, "exec"), space)
    return standalone(pointers=1, integers=1)(space["outer"])

first, second = (make(constant, {"__name__": __name__}) for constant in (1000.0, 2000.0))
nowhere = make(3000.0, {})
"""


@pytest.mark.generic
def test_constants_in_generated_source(small: Small) -> None:
    (small.package / "kernels.py").write_text(GENERATED)
    assert small.run("first", "second") == [1000, 2000, 0, 2]
    assert small.run("second", "first") == [2000, 1000, 2, 0]
    assert small.run("nowhere")[0] == 3000
    assert small.run("nowhere")[0] == 3000


IN_FORKS = """
import os, sys
from fastconv1d import kernels
for name in sys.argv[1:]:
    if os.fork() == 0:
        sys.argv[1:] = [name]
        break
    os.wait()
else:
    sys.exit()
"""


@pytest.mark.generic
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_inner_functions_of_one_name_from_two_forks(small: Small) -> None:
    assert small.run("first", "second", code=IN_FORKS + RUN) == [FIRST, 0, 1, SECOND, 0, 1]
    assert small.run("first", "second") == [FIRST, SECOND, 2, 0]


@pytest.mark.generic
def test_an_address_of_the_process_is_not_kept(small: Small) -> None:
    small.edit("helper", "n + 0.25", "same(n) + 0.25")
    small.edit("helper", "@kernel", "import ctypes\nsame = ctypes.CFUNCTYPE(*[ctypes.c_ssize_t] * 2)(int)\n\n@kernel")
    assert small.run("first") == [FIRST, 0, 1]
    assert small.run("first") == [FIRST, 0, 1]


@pytest.mark.generic
def test_code_from_disk_beside_code_compiled_in_this_process(small: Small) -> None:
    assert small.run("first") == [FIRST, 0, 1]
    assert small.run("first", "second") == [FIRST, SECOND, 1, 1]


@pytest.mark.generic
def test_an_edit_of_a_function_that_is_called(small: Small) -> None:
    assert small.run("first") == [FIRST, 0, 1]
    small.edit("helper", "0.25", "0.75")
    assert small.run("first") == [FIRST + 0.5, 0, 1]
    small.edit("kernels", "1000.0", "5000.0")
    assert small.run("first") == [FIRST + 12000.5, 0, 1]
    small.edit("kernels", "5000.0", "1000.0")
    small.edit("helper", "0.75", "0.25")
    assert small.run("first") == [FIRST, 1, 0]


@pytest.mark.generic
def test_the_environment_separates(small: Small) -> None:
    assert small.run("first") == [FIRST, 0, 1]
    assert small.run("first", NUMBA_BOUNDSCHECK="1") == [FIRST, 0, 1]
    assert small.run("first", NUMBA_OPT="1") == [FIRST, 0, 1]
    assert small.run("first", NUMBA_NUM_THREADS="1") == [FIRST, 1, 0]
    assert small.run("first", NUMBA_BOUNDSCHECK="1") == [FIRST, 1, 0]


@pytest.mark.generic
def test_eight_processes_at_once(small: Small) -> None:
    children = [small.start("first", "second") for _ in range(8)]
    for child in children:
        output, errors = child.communicate(timeout=600)
        assert output.startswith(f"{FIRST} {SECOND} "), errors
    assert small.run("first", "second") == [FIRST, SECOND, 2, 0]


OLDER = """
import warnings
import numba
@numba.njit("float64(float64, intp)")
def same(v, n):
    return v
""" + RUN.replace("from fastconv1d import", "warnings.simplefilter('error')\nfrom fastconv1d import")


@pytest.mark.generic
def test_functions_compiled_before_the_import_do_no_harm(small: Small) -> None:
    assert small.run("first", code=OLDER) == [FIRST, 0, 1]
    assert small.run("first", "second") == [FIRST, SECOND, 1, 1]


@pytest.mark.generic
def test_what_calls_functions_compiled_before_the_import_is_not_kept(small: Small) -> None:
    """They have numbers that other functions have in other processes."""
    small.edit("helper", "n + 0.25", "round(n + 0.25, 2)")
    older = OLDER.replace("return v", "return round(v, 2)").replace("'error'", "'ignore'")
    assert small.run("first", code=older) == [FIRST, 0, 1]
    assert small.run("first") == [FIRST, 0, 1]


IN_THREADS = """
import threading
import numpy as np
from fastconv1d import cache, kernels
start = threading.Barrier(6)

def ask():
    start.wait()
    kernels.first.address(np.dtype(float))

threads = [threading.Thread(target=ask) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

FORKED_IN_THE_MIDST = """
import os, signal, threading, time
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from fastconv1d import kernels
thread = threading.Thread(target=kernels.second.address, args=[np.dtype(float)])
thread.start()
while global_compiler_lock._lock.acquire(blocking=False):
    global_compiler_lock._lock.release()
    time.sleep(1e-3)
if os.fork() == 0:
    signal.alarm(30)  # the end of a child that waits for the thread
else:
    os._exit(os.wait()[1] != 0)
"""


@pytest.mark.generic
def test_six_threads_that_come_first_compile_once(small: Small) -> None:
    assert small.run("first", code=IN_THREADS + RUN) == [FIRST, 0, 1]


@pytest.mark.generic
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_fork_while_a_thread_compiles(small: Small) -> None:
    assert small.run("first", code=FORKED_IN_THE_MIDST + RUN) == [FIRST, 0, 2]


OTHER_NUMBA = """
import warnings
import numba.core.compiler
del numba.core.compiler.CompileResult.{name}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
""" + "".join(f"    {line}\n" for line in RUN.strip().split("\n"))


@pytest.mark.generic
@pytest.mark.parametrize("name", ["_reduce", "_rebuild"])
def test_a_numba_that_lacks_a_private_part(name: str, small: Small) -> None:
    assert small.run("first", "second")[:2] == [FIRST, SECOND]
    shutil.rmtree(small.cache) if name == "_reduce" else None
    code = OTHER_NUMBA.format(name=name) + "print(len(caught))\n"
    *results, _, _, warned = small.run("first", "second", code=code)
    assert results == [FIRST, SECOND]
    assert warned == 1


# ---- the whole package -----------------------------------------------------------------------------------------------

CONVOLUTION = """
import hashlib
import numpy as np, fastconv1d
x, w = np.arange(4096.0).reshape(1, 4, 1024), np.arange(48.0).reshape(4, 4, 3)
bits = [fastconv1d.conv1d(x.astype(t), w.astype(t)).tobytes() for t in ("f4", "i8")]
print(hashlib.sha256(b"".join(bits)).hexdigest(), fastconv1d.cache_info().misses)
"""


@pytest.mark.generic
def test_a_second_process_compiles_nothing_and_gives_the_same_bits(run_python: RunPython) -> None:
    first = run_python("-c", CONVOLUTION).stdout.split()
    second = run_python("-c", CONVOLUTION).stdout.split()
    assert second == [first[0], "0"]


FORKED_IN_A_CALL = """
import os, signal, threading, time
import numpy as np, fastconv1d
x, w = np.ones((1, 4, 64)), np.ones((4, 4, 3))
thread = threading.Thread(target=fastconv1d.conv1d, args=(x, w))
thread.start()
time.sleep(0.5)  # it compiles for seconds
child = os.fork()
if not child:
    signal.alarm(100)
    os._exit(int(fastconv1d.conv1d(x, w)[0, 0, 0]))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_child_forked_while_a_thread_compiles_a_convolution(run_python: RunPython) -> None:
    assert run_python("-W", "ignore", "-c", FORKED_IN_A_CALL).stdout.split() == ["12"]


FORKED_BY_A_HANDLER = """
import os, signal
import fastconv1d.compile
signal.alarm(100)
with fastconv1d.compile.lock:  # in the midst of compiling
    child = os.fork()
    if not child:
        signal.alarm(100)
        os._exit(int(fastconv1d.conv1d([0, 3, 4, 5], [1, 2])[0]))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_a_child_forked_by_the_thread_that_compiles(run_python: RunPython) -> None:
    assert run_python("-c", FORKED_BY_A_HANDLER).stdout.split() == ["6"]


WARMUP = """
import importlib, pkgutil
import fastconv1d
from fastconv1d.compile import Standalone
from fastconv1d.driver import Driver
fastconv1d.warmup("float32", verbose=True)
for module in pkgutil.walk_packages(fastconv1d.__path__, "fastconv1d."):
    if not module.name.endswith("__main__") and ".bench" not in module.name:  # whose yardstick is no part of a call
        members = dict(vars(importlib.import_module(module.name)))
        members |= members.get("ROWS", {})  # one for each activation
        members |= {f"sweep-{along}-{one_chain}": s for (along, one_chain), s in members.get("SWEEPS", {}).items()}
        for name, value in members.items():
            if isinstance(value, (Driver, Standalone)):
                print(name, len(value._compiled))
"""


@pytest.mark.generic
def test_warmup_compiles_every_kernel(run_python: RunPython) -> None:
    child = run_python("-c", WARMUP)
    lines = child.stderr.splitlines()
    assert [line.split()[:2] for line in lines] == [[a.name, "float32"] for a in ALGORITHMS]
    kernels = dict(line.split() for line in child.stdout.splitlines())
    assert {
        "run_blocks",
        *(f"sweep-{along}-{one_chain}" for along, one_chain in SWEEPS),
        *ACTIVATIONS,
    } <= kernels.keys()
    wide = plan.plan_for(explain((1, 32, 256), (256, 32, 1)).problem, "direct", False)
    idle = set() if wide.geometry[0].into_panels else {"line_into_panels"}  # depends on the width of a tile
    assert {name for name, count in kernels.items() if count == "0"} == idle


def test_the_commands(run_python: RunPython, tmp_path: Path) -> None:
    info = run_python("-m", "fastconv1d", "info", FASTCONV1D_CACHE=str(tmp_path))
    assert f"0 kept in {tmp_path}" in info.stdout
    assert not list(tmp_path.rglob("*.code"))  # to name algorithms it compiles nothing
    assert "(64, 64, 3)    (64, 1, 3)" in info.stdout  # the layers that it names algorithms for
    child = run_python("-m", "fastconv1d", "warmup", "--dtype", "float32")
    assert child.returncode == 0, child.stderr
    assert "misses" in child.stdout
    child = run_python("-m", "fastconv1d", "warmup", "--dtype", "float31")
    assert child.returncode == 1
    assert child.stderr.splitlines() == [line for line in child.stderr.splitlines() if line.startswith("--dtype: ")]
    assert "float32" in child.stderr
    assert "'float31'" in child.stderr
    child = run_python("-m", "fastconv1d", "warmup", "--dtype", "int8", FASTCONV1D_CACHE="0")
    assert "nothing is kept" in child.stderr
    assert child.returncode == 1


LOGGED = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(message)s")
import fastconv1d.compile
fastconv1d.compile.LOGGED_SECONDS = {seconds}
fastconv1d.conv1d([0, 3, 4, 5], [1, 2])
"""


def test_a_call_that_compiles_says_so(run_python: RunPython, tmp_path: Path) -> None:
    child = run_python("-c", LOGGED.format(seconds=0), FASTCONV1D_CACHE=str(tmp_path))
    before, after = child.stdout.splitlines()
    assert before == "fastconv1d compiling for a first call of its kind, which takes some seconds"
    assert after.startswith("fastconv1d compiled run_loops for int64 in ")
    assert after.endswith(f"kept in {tmp_path / cache.STAMP} for the next process")
    assert run_python("-c", LOGGED.format(seconds=0), FASTCONV1D_CACHE=str(tmp_path)).stdout == ""
    assert "compiled" not in run_python("-c", LOGGED.format(seconds=600), FASTCONV1D_CACHE="0").stdout
