"""The experiment on controlled concentrations: its tables, what is kept, figures, sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_contrast import faint_texts, ratio

from fastcart.errors import InputError
from fastcart.papers.srct import controlled_findings as words
from fastcart.papers.srct import controlled_job, controlled_report
from fastcart.papers.srct import controlled_tables as t
from fastcart.papers.srct.controlled import PARTS
from fastcart.papers.srct.controlled_job import FILES, Size, common, controlled, size_of
from fastcart.papers.srct.controlled_regimes import Scope
from fastcart.runs.forms import CSV
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import open_run
from fastcart.trial.families import ENDPOINTS

pytest.importorskip("matplotlib")

SCOPE = Scope(
    10, (1e-4, 1e-2, 1.0, 10.0), (3e8, 6e9, 6e10), growth=(0.61,), structures=(), het=(0.5, 1.0),
    groups=("IL-6 scale",), noises=(0.35,), intervals=(7.0,), clinics=False,
)  # fmt: skip
TINY = Size(
    24, 10, doses=(1e3, 1e5, 1e7, 1e8, 1e9), cells=(1e8, 3e9, 6e10),
    named=("single", "RISE_T", "promote x10"), of_courses=4, scope=SCOPE, protocols=4, models=("crauste",),
    of_models=6,
)  # fmt: skip


def made(folder):
    with open_run(folder, Manifest("a test", {}), resume=True, force=False) as run:
        return controlled(TINY, run, common(TINY, threads=1))


def as_read(tables):
    """Return tables as the report gets them: read back from their files."""
    return {f"controlled_{name}": tables[file] for name, file in FILES.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("controlled") / "run"


@pytest.fixture(scope="module")
def tables(folder):
    return made(folder)


@pytest.fixture(scope="module")
def read(tables, folder):
    for file, table in tables.items():
        (folder / file).write_bytes(CSV.encode(table))
    return as_read({file: pd.read_csv(folder / file) for file in tables})


# ---- what is computed and kept


def test_all_tables_are_made(tables):
    assert set(tables) == set(FILES.values())
    scans = tables[FILES["scans"]]
    assert list(scans["family"].unique()) == ["single", "RISE_T", "promote x10", "OPEN"]
    assert scans[list(ENDPOINTS)].notna().all(axis=None)
    assert list(tables[FILES["verdicts"]]["part"]) == [
        "low then rising", "without feedback", "memory by promotion", "whole claim"
    ]  # fmt: skip


def test_the_rate_that_is_reached_is_near_the_one_wanted(tables):
    table = tables[FILES["toxicity"]]
    again = table[table["reached"].notna()]
    assert len(again) == 4
    assert ((again["on"] == "crs3") & (again["wanted"] == words.LEVEL)).all()
    # the scan of three targets is coarse
    np.testing.assert_allclose(again["reached"], again["wanted"], atol=0.15)


def test_memory_infused_once_more_is_none_where_promotion_is_all(tables):
    table = tables[FILES["memory"]].set_index("arm")
    assert table.loc["promoted x10, day 28", "change_EFS730"] == 0.0
    assert (table["relapse_positive"].diff()["promoted x30, day 28"] <= 1e-9).all()
    np.testing.assert_allclose(table.loc["infused x1, day 28", "crs3"], table.loc["no more memory", "crs3"],
                               atol=0.02)  # fmt: skip


@pytest.mark.slow
def test_a_killed_experiment_goes_on_to_the_same_bytes(tables, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(t, "reached", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "run")
    monkeypatch.setattr("fastcart.papers.srct.controlled.scan", None)  # no family is solved again
    again = made(tmp_path / "run")
    assert {name: CSV.encode(one) for name, one in again.items()} == {
        name: CSV.encode(one) for name, one in tables.items()
    }


def test_sizes():
    full, quick = size_of(3000, quick=False), size_of(150, quick=True)
    assert full.patients == 1000
    assert full.scope is not None
    assert full.scope.patients == 400  # as specified
    assert {part.family for part in PARTS} | {part.versus for part in PARTS} == {*full.chosen(), "OPEN"}
    assert quick.patients == 60
    arms = [sum(len(family.intensities) for family in one.chosen().values()) for one in (full, quick)]
    assert arms[0] > 3 * arms[1]


def test_weighted_quantiles_are_those_of_copies():
    values, weights = np.array([[3.0], [1.0], [2.0], [np.nan]]), np.array([1.0, 2.0, 1.0, 5.0])
    np.testing.assert_array_equal(
        t.weighted_quantiles(values, weights, (0.1, 0.6, 1.0))[:, 0], [1.0, 2.0, 3.0]
    )
    assert np.isnan(t.weighted_quantiles(values, 0 * weights, (0.5,))).all()


# ---- what the report says and shows


def test_figures_are_drawn(read, tmp_path):
    from matplotlib.image import imread

    from fastcart import plotting

    with plotting.style():
        figures = controlled_report.drawn(read)
        assert set(figures) == {
            f"controlled_{n}"
            for n in (
                "frontier", "ladder", "courses", "gainers", "memory", "heterogeneity", "regimes", "clinics",
                "lethality", "likeness", "zoo", "mechanism",
            )
        }  # fmt: skip
        for name, (figure, table) in figures.items():
            assert faint_texts(figure) == [], name  # first: it lays out once for all that is drawn
            plotting.save_figure(figure, tmp_path / f"{name}.png", dpi=60)
            plotting.save_figure(figure, tmp_path / f"{name}.svg")
            dark = (imread(tmp_path / f"{name}.png")[..., :3] < 0.9).any(axis=2)
            assert 0.02 < dark.mean() < 0.6, name
            assert len(table), name
            assert all(axes.has_data() for axes in figure.axes), name
    html = "".join(controlled_report.parts(read, {k: table for k, (_, table) in figures.items()}, tmp_path))
    assert html.count("<svg ") == html.count("</svg>") == 12
    assert "nan" not in html.split("<figure>")[0]


def test_faint_texts_are_found():
    from fastcart import plotting

    assert ratio((0, 0, 0), (1, 1, 1)) == pytest.approx(21.0)
    assert ratio((1, 0, 0), (1, 1, 1)) == pytest.approx(3.998, abs=0.001)
    with plotting.style():
        figure = plotting.new_figure(3.0, 2.0)
        axes = figure.subplots()
        axes.axvspan(0.5, 1.0, color="#222222")
        axes.text(0.1, 0.5, "pale", color="#aaaaaa")
        axes.text(0.1, 0.7, "clear", color="#333333")
        axes.text(0.6, 0.5, "dark", color="#333333")
        axes.text(0.6, 0.7, "white", color="#ffffff")
        axes.set_xlim(0, 1)
    assert sorted(text for text, _ in faint_texts(figure)) == ["dark", "pale"]


def test_families_differ_in_more_than_colour(read):
    from fastcart.papers.srct.controlled_figures import frontier

    figure, _ = frontier(read["controlled_scans"], read["controlled_frontier"])
    for axes in figure.axes:
        looks = [(line.get_linestyle(), line.get_marker()) for line in axes.get_lines()]
        assert len(set(looks)) == len(looks)


def test_nothing_is_said_of_numbers_that_are_not_there(read):
    told = controlled_report.findings(read)
    assert told
    assert not any("nan" in text for text in told)
    unknown = dict(read)
    places = ("level", "intensity", "het", "quarter", "wanted")
    for name in (name for name in read if name not in ("controlled_verdicts", "controlled_toxicity")):
        table = read[name].copy()
        table[[c for c in table if table[c].dtype == float and c not in places]] = np.nan
        unknown[name] = table
    unknown["controlled_contrasts"]["reference_intensity"] = np.nan
    left = controlled_report.findings(unknown)
    assert left == words.claim(read["controlled_verdicts"])  # which follows from the table of verdicts
    told = words.parts_in_words(
        {str(k): v for k, v in unknown["controlled_contrasts"].groupby("part")}, read["controlled_verdicts"]
    )
    assert not any("nan" in text or "At 30" in text for text in told)


def verdicts(**found):
    return pd.DataFrame({"part": list(found), "verdict": list(found.values())})


def test_the_claim_follows_from_the_verdicts_also_where_it_fails():
    found = {
        "low then rising": "supported",
        "without a rise": "harm",
        "tying to burden": "harm",
        "without feedback": "no benefit",
        "infusion timing": "undecided",
    }
    supported, harmful, undecided = words.claim(verdicts(**found))
    assert supported.startswith(
        "Supported: holding active effectors low and letting them rise; that they rise"
    )
    assert harmful == "Harmful: tying the rise to the burden instead of the calendar."
    assert "timing the infusions" in undecided
    assert "that cells are measured" in undecided
    (alike, sentence) = words.claim(verdicts(**{"infusion timing": "no effect"}))
    assert alike.startswith("Without effect: timing the infusions")
    assert "do what a smaller single dose does" in sentence


def test_every_statement_is_a_part():
    assert {one.part for one in words.STATEMENTS} <= {part.name for part in PARTS}


def scans(best):
    rows = [{"family": "single", "intensity": 1e8, "OS730": 0.577, "crs3": 0.456, "toxic_death": 0.015}]
    rows += [{"family": name, "intensity": 1.0, "OS730": value, "crs3": 0.5, "toxic_death": 0.01}
             for name, value in best.items()]  # fmt: skip
    return pd.DataFrame(rows)


def test_best_survival_names_who_wins():
    text = words.best_survival(scans({"single": 0.601, "RISE_T": 0.569, "promote x10": 0.66}))
    assert "kills 1.5 %" in text
    assert "a large single dose gives the best overall survival" in text
    assert "promote x10 66.0 %" in text
    assert "RISE_T gives the best" in words.best_survival(scans({"RISE_T": 0.7}))
    assert words.best_survival(scans({"RISE_T": np.nan})) == ""
    assert words.best_survival(scans({"RISE_T": 0.6}).iloc[1:]) == ""


def test_promotion_need_not_come_last_only_where_it_does_no_worse_earlier():
    def memory(change, low, high):
        return pd.DataFrame({
            "arm": ["promoted x10, day 0", "promoted x10, day 28"], "crs3": [0.303, 0.300],
            "change_EFS730": [change, 0.0], "change_low": [low, 0.0], "change_high": [high, 0.0],
        })  # fmt: skip

    assert "not that it comes last" in words.not_at_the_end(memory(0.042, 0.02, 0.06))
    assert "not that it comes last" not in words.not_at_the_end(memory(-0.042, -0.06, -0.02))
    assert words.not_at_the_end(memory(np.nan, np.nan, np.nan)) == ""
    assert words.not_at_the_end(memory(0, 0, 0).head(1)) == ""


def test_a_work_without_a_quick_look_says_so(tmp_path):
    from fastcart.cli.reproduce import run

    class Given:
        work, out, threads, sample, figures, force, quick = (
            "li-lei-2025",
            tmp_path,
            None,
            None,
            None,
            False,
            True,
        )

    with pytest.raises(InputError, match="no option --quick"):
        run(Given)
    assert controlled_job.SEED == 11


def test_the_search_says_nothing_of_a_gain_without_an_interval():
    from fastcart.papers.srct.search import _said_of_regime

    row = {"het": 1.0, "amplification": 700.0, "gain_EFS730": 0.05, "low": np.nan, "high": np.nan}
    text = _said_of_regime(pd.DataFrame(), row)
    assert "not known" in text
    assert "nan" not in text
