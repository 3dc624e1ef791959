"""What the report says in words: against what an arm is judged, by which rule, with how many digits."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fastcart.protocols import get
from fastcart.trial.frontier import JUDGED, isotoxic
from fastcart.trial.html import page, table_html, titled_table
from fastcart.trial.report_words import how_judged, in_short

SHARES = {"CR90": 0.968, "EFS730": 0.244, "OS730": 0.968, "crs4": 0.23, "toxic_death": 0.03}
DOSES = [1e6, 1e7, 1e8, 1e9]


def result(rates, crs3: float, *, width: float = 0.0) -> SimpleNamespace:
    """Return what the words are of: an arm B of a trial of 1e8 cells, as good as every single dose."""
    scan = pd.DataFrame({"dose": DOSES, "crs3": rates, **SHARES})
    both = {"EFS365": 0.3, "OS365": 0.97, **SHARES}
    arms = pd.DataFrame(
        [{"title": "Single infusion", "crs3": rates[2], **both}, {"title": "B", "crs3": crs3, **both}],
        index=["A0", "B"],
    )
    table = isotoxic(arms, scan).assign(unjudged=0.0)
    for name in JUDGED:
        table[f"gain_{name}_low"], table[f"gain_{name}_high"] = (
            table[f"gain_{name}"] + side * width for side in (-1, 1)
        )
    spec = SimpleNamespace(control=get("A0"), dose=1e8, treatments=("B",))
    return SimpleNamespace(arms=arms, frontier=scan, isotoxic=table, spec=spec)


RISING, FALLING = [0.2, 0.3, 0.4, 0.5], [0.533, 0.456, 0.396, 0.336]


@pytest.mark.parametrize(
    ("rates", "crs3", "against"),
    [
        (RISING, 0.35, "giving less"),
        (RISING, 0.45, "that single dose"),  # more cells than the trial's
        (FALLING, 0.42, "that single dose"),  # fewer cells, which are more toxic
        (FALLING, 0.36, "that single dose"),
    ],
)
def test_giving_less_is_what_is_less_toxic(rates, crs3, against):
    told = result(rates, crs3)
    words, rule = in_short(told, "B"), how_judged(told)
    assert f"<b>The same as {against}: in none of the five" in words
    assert ("giving less" in (words + rule).lower()) == (against == "giving less")
    assert ("fewer cells at once are more toxic" in rule) == (rates is FALLING)


@pytest.mark.parametrize(("rates", "crs3"), [([0.2, 0.5, 0.3, 0.2], 0.4), (RISING, 0.8), ([0.4] * 4, 0.4)])
def test_what_cannot_be_compared_has_neither_gain_nor_verdict(rates, crs3):
    told = result(rates, crs3)
    words = in_short(told, "B")
    assert "Cannot be compared with a single dose of equal toxicity: " in words
    assert not re.search("nan|points|etter|orse|cells has the same", words)
    assert how_judged(told) == ""


def test_the_rule_of_a_verdict_is_stated_beside_it():
    told = result(RISING, 0.35, width=0.2)
    assert "<b>Not clearly different from giving less.</b>" in in_short(told, "B")
    rule = how_judged(told)
    for words in ("3 of remission", "0.3 of death from CRS", "Not clearly different"):
        assert words in rule


def test_sentences_are_short_and_shares_have_one_digit():
    words = in_short(result(FALLING, 0.4209), "B")
    assert words.startswith("<b>B</b><ul>")  # not B (B)
    assert "Severe CRS 42.1 % instead of 39.6 %, remission 96.8 % instead of 96.8 %" in words
    assert all(re.fullmatch(r"\d+\.\d", share) for share in re.findall(r"([\d.]+) %(?! interval)", words))
    sentences = re.findall(r"<li>(.*?)</li>", words)
    assert max(len(sentence.split()) for sentence in sentences) < 50


def test_a_table_has_no_empty_column_of_words():
    table = pd.DataFrame({"arm": ["A", "B"], "note": ["", ""]})
    assert "In words" not in table_html(table)
    assert "In words" in table_html(table.assign(note=["", "few"]))
    assert "Lost" in table_html(pd.DataFrame({"negative_share": [0.5]}), heads={"negative_share": "Lost"})


def test_examples_of_the_guide_name_what_they_use():
    """Each block of Python can be run by itself, after those before it have left their files."""
    page = Path(__file__).resolve().parents[2] / "docs" / "guides" / "own_trial.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        nodes = list(ast.walk(ast.parse(block)))
        bound = {
            alias.asname or alias.name
            for n in nodes
            if isinstance(n, ast.Import | ast.ImportFrom)
            for alias in n.names
        }
        names = [n for n in nodes if isinstance(n, ast.Name)]
        bound |= {n.id for n in names if isinstance(n.ctx, ast.Store)}
        used = {n.id for n in names if isinstance(n.ctx, ast.Load)}
        assert used <= bound | set(dir(builtins)), block


def test_a_report_has_room_on_a_screen_of_1200_pixels(tmp_path):
    """No column is cut off, with the long words that methods, notes and arms have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
        from browser import missing, open_browser
    if missing():
        pytest.skip(missing())
    note = "NNT 1600 (95 % interval: NNT 15 to infinity to NNH 16)"
    long = {
        "treatment": "low-high-memory_with_a_hold_at_1_and_2", "endpoint": "toxic_death",
        "measure": "number needed to treat", "estimate": 1600.0, "low": 15.3, "high": np.inf, "p": 0.99,
        "method": f"1 / risk difference, Newcombe interval, Cochran-Mantel-Haenszel test. {note}",
    }  # fmt: skip
    names = ["CR28", "CR90", "RFS12", "crs_any", "crs3", "crs4", "toxic_death", "EFS365", "EFS730", "OS365",
             "OS730", "negative_share"]  # fmt: skip
    arms = {"arm": long["treatment"], "title": "Low, high, memory last, with a hold of all that follows"}
    tables = [pd.DataFrame([long]), pd.DataFrame([{**arms, **dict.fromkeys(names, 0.987)}])]
    (tmp_path / "report.html").write_text(page("A trial", [titled_table("Wide", one) for one in tables]))
    browser = open_browser()
    try:
        browser.set_window_size(1200, 900)
        browser.get((tmp_path / "report.html").as_uri())
        widths = browser.execute_script(
            "return [...document.querySelectorAll('.scroll')].map(e => [e.clientWidth, e.scrollWidth])"
        )
    finally:
        browser.quit()
    assert len(widths) == 2
    assert all(room >= needed for room, needed in widths), widths
