"""The frame of papers: steps that are kept, folders, tables, comparisons."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.models import names
from fastcart.papers import WORKS, get
from fastcart.papers.frame import (
    UNFINISHED,
    Compared,
    Step,
    compared,
    compute,
    how_made,
    job,
    markdown,
    new_folder,
    write_outputs,
)
from fastcart.runs.forms import CELLS, CSV
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run
from fastcart.tables.storage import write_text


def opened(folder, **options):
    return open_run(folder, Manifest("test", {"of": "steps"}), owns=("*.csv",), **options)


def steps(calls, *, fail=False):
    def first(_):
        calls.append("first")
        return {"a.csv": pd.DataFrame({"x": [1 / 3]}), "b.csv": pd.DataFrame({"x": [2.0]})}

    def second(tables):
        calls.append("second")
        if fail:
            raise KeyboardInterrupt
        return {"c.csv": tables["a.csv"] * 3}

    return [Step("first", ("a.csv", "b.csv"), first), Step("second", ("c.csv",), second)]


def test_a_step_gets_the_tables_before_it():
    made = compute(steps([]), progress=False)
    assert list(made) == ["a.csv", "b.csv", "c.csv"]
    assert made["c.csv"]["x"].tolist() == [1.0]


@pytest.mark.parametrize(("form", "third"), [(CSV, 0.999999999), (CELLS, 1.0)])
def test_what_is_kept_is_not_made_again_and_gives_the_same(tmp_path, form, third):
    calls = []
    with pytest.raises(KeyboardInterrupt), opened(tmp_path / "run") as run:
        compute(steps(calls, fail=True), keep=partial(run.kept, form=form), progress=False)
    with opened(tmp_path / "run", resume=True) as run:
        resumed = compute(steps(calls), keep=partial(run.kept, form=form), progress=False)
    assert calls == ["first", "second", "second"]
    with opened(tmp_path / "other") as run:
        at_once = compute(steps(calls), keep=partial(run.kept, form=form), progress=False)
    for name, table in at_once.items():
        pd.testing.assert_frame_equal(table, resumed[name], check_exact=True)
    assert at_once["c.csv"]["x"].tolist() == [third]  # from what was read: nine digits, or all


def test_cells_come_back_in_their_types_to_the_last_bit(tmp_path):
    table = pd.DataFrame({
        "x": [1 / 3, np.nan, -0.0, np.inf], "n": [1, 2, 3, 4], "b": [True, False, True, True],
        "mixed": ["a", np.nan, None, np.float64(0.1)], "text": ["a", "", "1", "nan"],
    })  # fmt: skip
    (tmp_path / "cells").write_bytes(CELLS.encode(table))
    again = CELLS.decode(tmp_path / "cells")
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert np.signbit(again["x"][2])
    assert again["mixed"][2] is None
    assert CELLS.encode(again) == CELLS.encode(table)


WORK = "t-cell-theories"


def one_job(out, *, size=1, force=False, fail=False):
    with job(out, ["a.csv", "report.md"], WORK, {"size": size}, force=force) as opened:
        table = opened.run.kept("part.json", lambda: pd.DataFrame({"x": [size]}), CELLS)
        if fail:
            raise KeyboardInterrupt
        write_outputs(opened.folder, {"a.csv": table}, list)
        write_text(opened.folder / "report.md", opened.taken(2))


def test_a_job_waits_to_go_on_until_its_report_is_written(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        one_job(tmp_path, fail=True)
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED]
    with pytest.raises(InputError, match=r"cannot go on.*size is 1 there and 2 now.*--force"):
        one_job(tmp_path, size=2)
    (tmp_path / "a.csv").write_text("half of the outputs were there")
    (tmp_path / ".report.md.123.part").write_text("and one was being written")
    one_job(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "report.md"]
    assert (tmp_path / "a.csv").read_text() == "x\n1\n"
    assert (tmp_path / "report.md").read_text().endswith("s with 2 threads, going on with what was kept")
    with pytest.raises(InputError, match=r"already holds a\.csv"):
        one_job(tmp_path)


def test_force_begins_a_job_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        one_job(tmp_path, fail=True)
    one_job(tmp_path, size=2, force=True)
    assert (tmp_path / "a.csv").read_text() == "x\n2\n"
    assert (tmp_path / "report.md").read_text().endswith("s with 2 threads")


def test_a_job_that_kept_nothing_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), job(tmp_path / "new", [], WORK, {}, force=False):
        raise ZeroDivisionError
    assert list((tmp_path / "new").iterdir()) == []


def test_nothing_is_replaced_unasked(tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(InputError, match=r"already holds a\.csv"):
        new_folder(tmp_path, ["a.csv", "b.csv"], force=False)
    assert new_folder(tmp_path, ["a.csv"], force=True) == tmp_path
    with pytest.raises(InputError, match="is a file"):
        new_folder(tmp_path / "a.csv", [], force=True)


def test_numbers_agree_within_a_difference_or_a_factor():
    numbers = [
        Compared("text", "share", 0.50, 0.54, 0.05),
        Compared("text", "share", 0.50, 0.56, 0.05),
        Compared("text", "dose", 1e7, 1.4e7, 1.5),
        Compared("text", "dose", 1e7, 0.6e7, 1.5),
    ]
    table = compared(numbers, where="where", published="published")
    assert table["agrees"].tolist() == [True, False, True, False]
    assert table["tolerance"].tolist() == ["0.05", "0.05", "times 1.5", "times 1.5"]
    assert table.columns.tolist() == ["where", "what", "published", "here", "tolerance", "agrees"]


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown(["a"], [["x|y"]]) == ["| a |", "| --- |", "| x\\|y |"]
    assert "(unknown version)" in how_made("2 s", ["no-such-package"])["Packages"]


def test_every_work_says_what_it_is():
    for work in WORKS.values():
        assert work.title
        assert work.source
        assert set(work.models) <= set(names())
        assert get(work.name).__doc__
