"""Verdicts: each word by rule, what is not comparable, Holm over parts, regimes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.errors import InputError
from fastcart.trial.holm import holm
from fastcart.trial.verdict import MARGINS, Judging, adjusted, verdicts

LEVELS = (0.2, 0.3, 0.4)


def gains(p: float = 0.001, grade4: dict[str, float] | None = None, **limits) -> pd.DataFrame:
    """Return a table of gains in points: (estimate, low, high) at all levels, or a list of three such.

    What is not named is 0 with limits of 0.2; at equal grade 4 estimates are those of 30 % unless given.
    """
    rows = []
    for endpoint in MARGINS:
        given = limits.get(endpoint, (0.0, -0.2, 0.2))
        by_level = given if isinstance(given, list) else [given] * 3
        for level, (gain, low, high) in zip(LEVELS, by_level, strict=True):
            rows.append({"on": "crs3", "level": level, "endpoint": endpoint, "gain": gain / 100,
                         "low": low / 100, "high": high / 100, "p": p})  # fmt: skip
        there = (grade4 or {}).get(endpoint, by_level[1][0])
        rows.append({"on": "crs4", "level": 0.15, "endpoint": endpoint, "gain": there / 100,
                     "low": np.nan, "high": np.nan, "p": np.nan})  # fmt: skip
    return pd.DataFrame(rows)


def word(table: pd.DataFrame, **options) -> str:
    return verdicts({"part": table}, **options)["verdict"].iloc[0]


UNKNOWN = (np.nan, np.nan, np.nan)


@pytest.mark.parametrize(
    ("expected", "table"),
    [
        ("supported", gains(CR90=(10, 5, 14))),
        ("supported", gains(EFS730=[(2, 1.1, 3), (2, 1.1, 3), (1, 0.2, 2)])),
        ("undecided", gains(EFS730=[(2, 1.1, 3), (2, 0.9, 3), (1, 0.2, 2)])),  # at one level only
        ("undecided", gains(CR90=(10, 5, 14), grade4={"CR90": -1})),  # only the scale of toxicity
        ("supported", gains(toxic_death=(-1, -1.5, -0.4))),  # fewer deaths are better
        ("harm", gains(toxic_death=(1, 0.4, 1.5))),
        ("harm", gains(CR90=(-20, -28, -14), EFS730=(-26, -29, -22))),
        ("harm", gains(CR90=(-20, -28, -14), crs4=(-4, -6, -2))),  # fewer grade 4 do not make up for it
        ("trade-off", gains(EFS730=(-6, -8, -4), crs4=(-4, -6, -2), grade4={"EFS730": 1})),
        ("trade-off", gains(CR90=(5, 4, 6), OS730=(-3, -4, -2))),
        ("undecided", gains(crs4=(-4, -6, -2))),  # grade 4 is no evidence by itself
        ("no effect", gains()),
        ("no effect", gains(CR90=(0.1, -1.2, 1.0))),
        ("no benefit", gains(CR90=(-0.8, -4.0, 0.1))),
        ("no benefit", gains(crs4=(-0.5, -1.1, 0.2))),  # fewer grade 4 are no benefit by themselves
        ("undecided", gains(CR90=(-0.8, -4.0, 3.5))),
        ("supported", gains(CR90=[(10, 5, 14), (10, 5, 14), UNKNOWN])),
        ("not comparable", gains(CR90=[(10, 5, 14), UNKNOWN, UNKNOWN])),
    ],
)  # fmt: skip
def test_words(expected, table):
    assert word(table) == expected


def test_a_verdict_that_a_twentieth_of_a_margin_decides_says_so():
    def told(table):
        return tuple(verdicts({"part": table})[["verdict", "if_narrower", "if_wider"]].iloc[0])

    assert told(gains(CR90=(0.1, -1.2, 1.0))) == ("no effect", "", "")
    assert told(gains(EFS730=(0.2, -0.5, 0.993))) == ("no effect", "undecided", "")
    assert told(gains(EFS730=(0.2, -0.5, 1.03))) == ("undecided", "", "no effect")
    assert told(gains(EFS730=(2, 1.02, 3))) == ("supported", "", "undecided")
    assert told(gains(EFS730=(2, 1.2, 3))) == ("supported", "", "")


def test_levels_are_named_and_unknown_ones_are_never_zero():
    row = verdicts({"part": gains(CR90=[(10, 5, 14), (10, 5, 14), UNKNOWN])}).iloc[0]
    assert row["better"] == "CR90 (20/30 %)"
    assert row["levels"] == "20 %, 30 %"
    assert row["not_comparable"] == "40 %"


def test_what_cannot_be_compared_at_equal_grade_4_is_not_supported():
    assert word(gains(CR90=(10, 5, 14), grade4={"CR90": np.nan})) == "undecided"


def test_holm_over_the_parts_within_an_endpoint():
    parts = {name: gains(p=p, CR90=(10, 5, 14)) for name, p in (("a", 0.01), ("b", 0.04), ("c", 0.03))}
    tables = adjusted(parts)
    at = {
        name: table.query("endpoint == 'CR90' and level == 0.3")["p_holm"].iloc[0]
        for name, table in tables.items()
    }
    assert at == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    words = verdicts(parts).set_index("part")["verdict"]
    assert list(words[["a", "b", "c"]]) == ["supported", "undecided", "undecided"]


def test_robust_in_four_of_five_regimes():
    def regimes(failing: int) -> pd.DataFrame:
        values = [4.0] * (5 - failing) + [2.0] * failing
        return pd.DataFrame(
            {"part": "part", "regime": [f"r{k}" for k in range(5)], "endpoint": "CR90",
             "gain": np.array(values) / 100}
        )  # fmt: skip

    table = {"part": gains(CR90=(10, 5, 14))}
    robust = verdicts(table, regimes=regimes(1)).iloc[0]
    assert (robust["robust"], robust["fails_in"]) == ("yes", "r4")
    fragile = verdicts(table, regimes=regimes(2)).iloc[0]
    assert (fragile["robust"], fragile["fails_in"]) == ("no", "r3, r4")
    undefined = regimes(1).assign(gain=np.nan)
    assert verdicts(table, regimes=undefined)["robust"].iloc[0] == ""


def test_bad_margins_get_one_sentence():
    with pytest.raises(InputError, match="margins must be positive numbers for CR90"):
        Judging(margins={"CR90": 0.01})


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(seed).random(seed + 1) ** 3
    p[-1] = p[0]  # a tie
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1], rtol=1e-14)
