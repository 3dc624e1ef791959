"""The frame of papers: steps that are kept, folders, tables, comparisons."""

from __future__ import annotations

import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.models import names
from fastcart.papers import WORKS, get
from fastcart.papers.frame import Compared, Step, compared, compute, how_made, markdown, new_folder
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run


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
    assert list(made.tables) == ["a.csv", "b.csv", "c.csv"]
    assert made.tables["c.csv"]["x"].tolist() == [1.0]
    assert set(made.seconds) == {"first", "second"}


def test_what_is_kept_is_not_made_again_and_gives_the_same(tmp_path):
    calls = []
    with pytest.raises(KeyboardInterrupt), opened(tmp_path / "run") as run:
        compute(steps(calls, fail=True), kept=run, progress=False)
    with opened(tmp_path / "run", resume=True) as run:
        resumed = compute(steps(calls), kept=run, progress=False)
    assert calls == ["first", "second", "second"]
    with opened(tmp_path / "other") as run:
        at_once = compute(steps(calls), kept=run, progress=False)
    for name, table in at_once.tables.items():
        pd.testing.assert_frame_equal(table, resumed.tables[name], check_exact=True)
    assert at_once.tables["c.csv"]["x"].tolist() == [0.999999999]  # from what was read, with nine digits


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
    assert "(unknown version)" in how_made(1, 2.0, ["no-such-package"])["Packages"]


def test_every_work_says_what_it_is():
    for work in WORKS.values():
        assert work.title
        assert work.source
        assert set(work.models) <= set(names())
        assert get(work.name).__doc__
