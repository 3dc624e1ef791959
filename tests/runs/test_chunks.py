"""The loop under all studies: chunks solved in any order, kept, and taken from where they are kept."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import OutputError
from fastcart.runs.chunks import Chunk, PartFiles, chunks, here, stream
from fastcart.runs.forms import ARRAYS, CSV, TABLE
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run
from fastcart.solvers import interrupts

MANIFEST = Manifest("study", {"a": 1})
NAME = "parts/{:03d}.npz"


class Bar:
    initial = n = 0

    def resume(self, done):
        self.initial = self.n = self.shown = done

    def update(self, patients):
        self.n += patients


def numbers(chunk):
    return {"x": np.arange(chunk.start, chunk.stop)}


def studied(folder, solve=None, *, resume=False, wanted=None, bar=None):
    with open_run(folder, MANIFEST, resume=resume) as run:
        files = PartFiles(run, NAME, *ARRAYS)
        return dict(stream(wanted or chunks(10, 3), solve or here(numbers), files=files, bar=bar))


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_chunks_are_all_patients_once():
    assert chunks(7, 3) == [Chunk(0, 0, 3), Chunk(1, 3, 6), Chunk(2, 6, 7)]
    assert chunks(0, 3) == []


def test_without_files_nothing_is_kept():
    bar = Bar()
    found = list(stream(chunks(10, 4), here(numbers, lambda part: part["x"].sum()), bar=bar))
    assert found == [(Chunk(0, 0, 4), 6), (Chunk(1, 4, 8), 22), (Chunk(2, 8, 10), 17)]
    assert bar.n == 10


def test_only_what_is_missing_is_solved(tmp_path):
    whole = studied(tmp_path / "run")
    before = contents(tmp_path / "run")
    (tmp_path / "run" / "parts" / "001.npz").unlink()
    asked, bar = [], Bar()

    def solve(chunk):
        asked.append(chunk)
        return numbers(chunk)

    again = studied(tmp_path / "run", here(solve), resume=True, bar=bar)
    assert asked == [Chunk(1, 3, 6)]
    assert (bar.initial, bar.shown, bar.n) == (7, 7, 10)
    assert list(again) == [Chunk(0, 0, 3), Chunk(2, 6, 9), Chunk(3, 9, 10), Chunk(1, 3, 6)]
    assert {c: part["x"].tolist() for c, part in again.items()} == {
        c: part["x"].tolist() for c, part in whole.items()
    }
    assert contents(tmp_path / "run") == before


def test_any_order_gives_the_same_files(tmp_path):
    def backwards(wanted):
        for chunk in reversed(wanted):
            yield chunk, lambda chunk=chunk: numbers(chunk)

    studied(tmp_path / "one")
    studied(tmp_path / "other", backwards)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_solved_before_an_error_is_kept(tmp_path, error):
    def solve(chunk):
        if chunk.number == 2:
            raise error
        return numbers(chunk)

    with pytest.raises(error):
        studied(tmp_path / "run", here(solve))
    assert sorted(path.name for path in (tmp_path / "run" / "parts").iterdir()) == ["000.npz", "001.npz"]
    studied(tmp_path / "run", resume=True)
    studied(tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_request_to_end_that_was_lost_is_heard_between_chunks():
    asked = []

    def solve(chunk):
        asked.append(chunk.number)
        interrupts.request(KeyboardInterrupt())
        return numbers(chunk)

    try:
        with pytest.raises(KeyboardInterrupt):
            list(stream(chunks(10, 3), here(solve)))
    finally:
        interrupts.forget()
    assert asked == [0]


def test_a_part_that_cannot_be_written_says_how_to_go_on(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fastcart.runs.store.checksum", full)
        with pytest.raises(OutputError, match=r"No space left on device. .* go on with --resume"):
            studied(tmp_path / "run")
    assert not list((tmp_path / "run" / "parts").iterdir())


def test_a_part_is_written_while_the_next_is_solved(tmp_path):
    solving = threading.Event()

    def solve(chunk):
        if chunk.number == 1:
            solving.set()
        return chunk.number

    def finish(number):
        assert number or solving.wait(30)  # the first is finished only when the second is being solved
        return {"x": np.array(number)}

    assert len(studied(tmp_path / "run", here(solve, finish))) == 4


TABLES = pd.DataFrame(
    {"k": [1, 2], "x": [0.1, np.nan], "name": ["a", "b"], "flag": [True, False], "inf": [np.inf, 1e-300]}
)


def test_forms_give_back_what_was_kept(tmp_path):
    for form, value in ((ARRAYS, {"x": np.arange(3.0), "who": np.array("me")}), (TABLE, TABLES)):
        data = form.encode(value)
        assert form.encode(value) == data
        (tmp_path / "part").with_suffix(".parquet").write_bytes(data)
        found = form.decode((tmp_path / "part").with_suffix(".parquet"))
        if form is TABLE:
            pd.testing.assert_frame_equal(found, value.astype({"name": object}), check_exact=True)
        else:
            assert {name: part.tolist() for name, part in found.items()} == {"x": [0, 1, 2], "who": "me"}


def test_what_is_kept_is_read_back_also_the_first_time(tmp_path):
    with open_run(tmp_path / "run", MANIFEST) as run:
        made = run.kept("a.csv", lambda: pd.DataFrame({"x": [1 / 3]}), CSV)
        assert made["x"].tolist() == [0.333333333]
        assert run.kept("a.csv", lambda: pytest.fail("made again"), CSV).equals(made)
