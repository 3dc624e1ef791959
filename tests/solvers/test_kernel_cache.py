"""Machine code on disk is run only as it was written, by this user; without it, all goes on."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fastcart.solvers import compile as compiling
from fastcart.solvers import kernel_cache
from fastcart.solvers.compile import announcements, cached

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path, monkeypatch, caplog) -> Path:
    """An empty cache on disk and in memory; nothing was said yet."""
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / "cache"))
    forget(monkeypatch)
    return tmp_path / "cache"


def forget(monkeypatch) -> None:
    """Be like a new process."""
    monkeypatch.setattr(compiling, "_memory", {})
    monkeypatch.setattr(kernel_cache, "_said", set())


def kernel(x):
    return 3.0 * x


def answer(monkeypatch) -> tuple[float, list[str]]:
    """Return what the kernel gives in what is like a new process, and what was compiled for it."""
    forget(monkeypatch)
    said: list[str] = []
    with announcements(said.append):
        return cached(kernel, "a test")(2.0), said


def files(cache: Path, ending: str) -> list[Path]:
    return sorted((cache / "__pycache__").glob(f"*{ending}"))


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def last_flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 128])


DAMAGES = {
    "truncated": truncated, "flipped": flipped, "end flipped": last_flipped, "empty": lambda data: b"",
    "one byte": lambda data: data[:1], "text": lambda data: b"[]", "zeros": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"x", "without its checksum": lambda data: data[:-49],
    "another pickle": lambda data: pickle.dumps([1, 2]),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_file_is_compiled_anew_and_replaced(cache, monkeypatch, caplog, ending):
    assert answer(monkeypatch) == (6.0, ["compiling a test, once ..."])
    assert answer(monkeypatch) == (6.0, [])
    for damage in DAMAGES.values():
        (file,) = files(cache, ending)
        file.write_bytes(damage(file.read_bytes()))
        caplog.clear()
        assert answer(monkeypatch)[0] == 6.0
        assert [
            record.getMessage().count("is damaged; it is compiled anew.") for record in caplog.records
        ] == [1]
        caplog.clear()
        assert answer(monkeypatch) == (6.0, [])  # it was replaced
        assert not caplog.records


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_what_is_not_as_it_was_written_is_not_unpickled(cache, monkeypatch, tmp_path, ending):
    answer(monkeypatch)
    (file,) = files(cache, ending)
    file.write_bytes(pickle.dumps(Evil(str(tmp_path / "evil"))))
    assert answer(monkeypatch)[0] == 6.0
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("ending", [".nbi", ".nbc", ".py"])
def test_missing_file_is_made_again(cache, monkeypatch, caplog, ending):
    answer(monkeypatch)
    for file in cache.rglob(f"*{ending}"):
        file.unlink()
    assert answer(monkeypatch)[0] == 6.0
    assert not caplog.records  # nothing is wrong
    assert answer(monkeypatch) == (6.0, [])


def test_folder_where_a_file_should_be(cache, monkeypatch, caplog):
    answer(monkeypatch)
    (file,) = files(cache, ".nbi")
    file.unlink()
    file.mkdir()
    assert answer(monkeypatch)[0] == 6.0
    assert len(caplog.records) == 2  # not read, not written


def test_folder_that_others_may_write_is_done_without(cache, monkeypatch, caplog):
    answer(monkeypatch)
    before = sorted(cache.rglob("*"))
    for folder, mode in ((cache, 0o770), (cache, 0o702), (cache / "__pycache__", 0o770)):
        folder.chmod(mode)
        caplog.clear()
        assert answer(monkeypatch) == (6.0, ["compiling a test, once ..."])
        (record,) = caplog.records
        assert f"other users may write {str(folder)!r}" in record.getMessage()
        folder.chmod(0o700)
    assert sorted(cache.rglob("*")) == before


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_file_that_others_may_write_is_replaced(cache, monkeypatch, caplog, ending):
    answer(monkeypatch)
    (file,) = files(cache, ending)
    file.chmod(0o664)
    assert answer(monkeypatch)[0] == 6.0
    (record,) = caplog.records
    assert "other users may write" in record.getMessage()
    (file,) = files(cache, ending)
    assert file.stat().st_mode & 0o777 == 0o600


def test_folder_of_another_user_is_done_without(cache, monkeypatch, caplog):
    answer(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    assert answer(monkeypatch) == (6.0, ["compiling a test, once ..."])
    (record,) = caplog.records
    assert "belongs to another user" in record.getMessage()


def test_nobody_else_may_write_whatever_the_mask_of_the_user(cache, monkeypatch):
    old = os.umask(0)
    try:
        answer(monkeypatch)
    finally:
        os.umask(old)
    assert answer(monkeypatch) == (6.0, [])
    for path in (cache, *cache.rglob("*")):
        assert path.stat().st_mode & 0o022 == 0, path


def test_read_only_cache_is_read(cache, monkeypatch, caplog):
    answer(monkeypatch)

    def denied(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", denied)
    monkeypatch.setattr(tempfile, "TemporaryFile", denied)
    assert answer(monkeypatch) == (6.0, [])
    assert not caplog.records


@pytest.mark.parametrize("ending", [".nbi", ".nbc", ".py"])
def test_full_disk(cache, monkeypatch, caplog, ending):
    """At whatever file the disk is full: the answer is right, it is said, no file is half-written."""
    real = kernel_cache.write_whole

    def write(path: Path, data: bytes) -> None:
        if path.suffix == ending:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(kernel_cache, "write_whole", write)
    monkeypatch.setattr(compiling, "write_whole", write)
    assert answer(monkeypatch)[0] == 6.0
    (record,) = caplog.records
    assert str(cache) in record.getMessage()
    assert "No space left on device" in record.getMessage()
    assert not [file for file in cache.rglob("*") if file.is_file() and file.suffix not in (".py", ".nbi")]
    monkeypatch.setattr(kernel_cache, "write_whole", real)
    monkeypatch.setattr(compiling, "write_whole", real)
    assert answer(monkeypatch)[0] == 6.0
    assert answer(monkeypatch) == (6.0, [])


@pytest.mark.parametrize("place", ["file", "file/below", "nul\0byte"])
def test_folder_that_cannot_be(tmp_path, cache, monkeypatch, caplog, place):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    if "\0" in place:
        monkeypatch.setattr(kernel_cache, "cache_directory", lambda: tmp_path / place)
    else:
        monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / place))
    assert answer(monkeypatch) == (6.0, ["compiling a test, once ..."])
    (record,) = caplog.records
    assert "compiled kernels cannot be kept in" in record.getMessage()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_without_a_home(cache, monkeypatch, caplog):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("FASTCART_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert answer(monkeypatch) == (6.0, ["compiling a test, once ..."])
    (record,) = caplog.records
    assert "there is no home folder" in record.getMessage()


def test_a_sentence_is_said_once(cache, monkeypatch, caplog):
    cache.write_text("", encoding="utf-8")
    forget(monkeypatch)
    cached(kernel, "a test")
    cached(lambda x: x, "another test")
    assert len(caplog.records) == 1


RACE = """
from fastcart.solvers.compile import cached
from numba import types

def kernel(x):
    return 5.0 * x

callback = cached(kernel, "a race", signature=types.float64(types.float64))
print(cached(kernel, "a race")(2.0), callback.ctypes(3.0))
"""


def test_processes_that_compile_the_same_kernel_at_once(cache):
    environment = {**os.environ, "FASTCART_CACHE_DIR": str(cache)}
    running = [
        subprocess.Popen([sys.executable, "-c", RACE], cwd=ROOT, env=environment, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]  # fmt: skip
    for process in running:
        assert process.communicate() == ("10.0 15.0\n", "")
    assert not [file for file in cache.rglob("*") if file.suffix not in (".py", ".nbi", ".nbc", ".lock", "")]


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))  # files end there, as on a full disk
"""


def test_process_that_can_write_no_file(cache):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED + RACE], capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "FASTCART_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "10.0 15.0\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fastcart: compiled kernels cannot be kept in {str(cache)!r} (File too large)")
