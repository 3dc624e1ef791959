"""The experiments of the specification of the simulated trial: tables, figures, sentences, comparison."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from fastcart.papers.srct import comparison, findings, prototype
from fastcart.papers.srct.experiments import HET, RHO_E, VARIANTS
from fastcart.trial.frontier import JUDGED

pytest.importorskip("matplotlib")


def regimes() -> pd.DataFrame:
    """The amplification experiment as the specification has it."""
    rows = []
    for rate, (dose, arms) in prototype.REGIMES.items():
        times = prototype.GAINS.loc[rate, "amplification"]
        for arm, values in zip(("A0", "A3", "A4", "A5"), arms, strict=True):
            gain = 0.0 if arm == "A0" else prototype.GAINS.loc[rate, arm]
            row = dict(zip(("CR90", "crs3", "EFS730"), values, strict=True))
            rows.append({"rhoE": rate, "arm": arm, "dose": dose, "amplification": times, **row,
                         "gain_EFS730": gain, "gain_CR90": gain})  # fmt: skip
    return pd.DataFrame(rows)


def tables() -> dict[str, pd.DataFrame]:
    """All experiments as the specification has them."""
    het = []
    for value, row in prototype.HETEROGENEITY.iterrows():
        for arm in ("A0", "A5"):
            shares = {name: row[f"{name}_{arm}"] for name in ("CR90", "crs3", "EFS730")}
            het.append({"het": value, "arm": arm, **shares, "OS730": 0.5})
    deaths = [
        {"wanted": wanted, "arm": arm, "EFS730": efs, "OS730": os}
        for wanted, arms in prototype.LETHALITY.items()
        for arm, (efs, os) in arms.items()
    ]
    variants = []
    for name, (cr, crs, efs) in zip(VARIANTS, prototype.STRUCTURES, strict=True):
        for arm, share in (("A0", 0.0), ("A5", 1.0)):
            gain = np.nan if "0.60" in name else 0.001
            row = {"CR90": share * cr, "crs3": share * crs, "EFS730": share * efs, "gain_EFS730": gain}
            variants.append({"variant": name, "arm": arm, **row})
    niche: dict[str, dict] = {}
    for (arm, name), value in prototype.NICHE.items():
        gain = 0.067 if arm == "X9" else 0.0
        niche.setdefault(arm, {"arm": arm, "title": f"title of {arm}", "gain_EFS730": gain})[name] = value
    cohorts: dict[str, dict] = {}
    for (cohort, name), value in prototype.FREY.items():
        cohorts.setdefault(cohort, {"cohort": cohort})[name] = value
    return {
        "amplification": regimes(),
        "heterogeneity": pd.DataFrame(het),
        "lethality": pd.DataFrame(deaths),
        "structures": pd.DataFrame(variants),
        "niche": pd.DataFrame(niche.values()),
        "frey": pd.DataFrame(cohorts.values()),
        "prcc": pd.DataFrame(prototype.PRCC).fillna(0.0).reset_index(names="parameter"),
    }


POWER = pd.DataFrame(
    [
        {"treatment": "A5", "endpoint": name, "n_per_arm": n, "power": p}
        for (name, n), p in prototype.POWER.items()
    ]
)


# ---- comparison with the specification


def test_the_numbers_of_the_specification_agree_with_themselves():
    table = comparison.compare(tables(), POWER)
    assert table["agrees"].all(), table[~table["agrees"]]
    np.testing.assert_allclose(table["here"], table["specification"], rtol=1e-12)
    assert set(table["experiment"]) == {*tables(), "power"}


def test_what_differs_is_told():
    changed = tables()
    changed["amplification"]["dose"] *= 1.6
    changed["niche"]["EFS730"] += 0.04
    changed["frey"]["CR90"] -= 0.06
    table = comparison.compare(changed, POWER)
    off = table[~table["agrees"]]
    assert set(off["experiment"]) == {"amplification", "frey"}
    assert off["what"].str.endswith("dose").sum() == len(RHO_E)


def test_the_prototype_has_every_regime_and_variant():
    assert tuple(prototype.REGIMES) == RHO_E == tuple(prototype.GAINS.index)
    assert tuple(prototype.HETEROGENEITY.index) == HET
    assert len(prototype.STRUCTURES) == len(VARIANTS)


# ---- sentences


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ({}, "The same as giving less: in none of the five"),
        ({"EFS730": (0.05, 0.02, 0.08)}, "Better than giving less, in event-free survival"),
        ({"CR90": (-0.05, -0.08, -0.04)}, "Worse than giving less, in remission."),
        ({"EFS730": (0.01, -0.02, 0.04)}, "Not clearly different"),
        ({"EFS730": (-0.01, -0.02, 0.004)}, "No better than giving less."),
        ({"crs4": (-0.05, -0.08, -0.02)}, "Not clearly different"),  # grade 4 is no evidence by itself
        (
            {"EFS730": (0.05, 0.02, 0.08), "toxic_death": (0.01, 0.004, 0.02)},
            "Better than giving less in event-free survival at 24 months, worse in death from CRS.",
        ),
    ],
)
def test_the_verdict_follows_all_five_intervals(gains, verdict):
    row = {"dose": 5.4e6}
    for name in JUDGED:
        for end, value in zip(("", "_low", "_high"), gains.get(name, (0.0, -0.002, 0.002)), strict=True):
            row[f"gain_{name}{end}"] = value
    text = findings.equal_toxicity(pd.DataFrame([row], index=["A5"]))
    assert verdict in text
    assert "5.4 million cells" in text
    for words in ("remission", "event-free survival", "survival at 24 months", "grade 4", "death from CRS"):
        assert words in text
    row["gain_crs4_low"] = np.nan
    assert "is not known" in findings.equal_toxicity(pd.DataFrame([row], index=["A5"]))


def test_sentences_are_made_of_the_numbers():
    arms = prototype.ARMS
    text = findings.equal_cells(arms)
    assert "severe CRS from 46 % to 35 %, remission from 79 % to 62 %" in text
    told = tables()
    assert "+8.0 to +32.0 points" in findings.amplified(told["amplification"])
    assert "0.0 to +1.0 points" in findings.amplified(told["amplification"])
    assert "severe CRS -15.2, remission -0.3, event-free survival +1.1" in findings.unlike_patients(
        told["heterogeneity"]
    )
    assert "In 8 of 9 structures" in findings.variants(told["structures"])
    one = told["amplification"].assign(het=1.0)
    two = one.assign(het=2.0, gain_EFS730=one["gain_EFS730"] + 1e-6)
    drives = findings.what_drives(pd.concat([one, two]))
    assert re.search(r"is -0\.\d\d with amplification and \+0\.\d\d with heterogeneity", drives)
    niche = findings.niche(told["niche"])
    assert "X9 (title of X9)" in niche
    assert "+6.7 points" in niche
    assert niche.endswith("+0.1 points: the niche matters, not the cells.")


# ---- figures


def test_figures_of_the_experiments(tmp_path):
    from fastcart import plotting
    from fastcart.papers.srct import figures

    told = tables()
    het = [
        told["amplification"].assign(het=h, CR90=lambda t, h=h: t["CR90"] + 0.02 - (h > 1) * 0.2)
        for h in (1.0, 1.5)
    ]
    with plotting.style():
        for name in ("amplification", "heterogeneity"):
            plotting.save_figure(getattr(figures, name)(told[name])[0], tmp_path / f"{name}.png", dpi=50)
        drawn, table = figures.regime_map(pd.concat(het))
        texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert sum("no dose" in text for text in texts) == 3 * len(RHO_E)  # remission misses 80 %
    assert len(table) == 2 * 4 * len(RHO_E)
    assert any("×3.5k" in text for text in texts)


def test_labels_of_arms_do_not_cover_each_other():
    from fastcart import plotting
    from fastcart.trial.figures import label_arms

    names = [f"X{k}" for k in range(12)]
    places = 10 + 20 * np.random.default_rng(1).random((12, 2))
    with plotting.style():
        figure = plotting.new_figure(3.5, 3.0)
        axes = figure.subplots()
        axes.plot(places[:, 0], places[:, 1], "o")
        label_arms(axes, names, places, along=np.array([[10.0, 10.0], [30.0, 30.0]]))
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == sorted(names)
    overlaps = sum(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
    assert overlaps == 0


# ---- experiments


def test_splitting_wins_where_the_product_hardly_amplifies():
    """Section 10.4: gains of 15 points and more for A3 and A4 at rhoE <= 1.8, here on few patients."""
    from fastcart.papers.srct.experiments import amplification
    from fastcart.population import sample

    table = amplification(sample(150, seed=1), rho_E=(1.0,)).set_index("arm")
    assert table.loc["A0", "CR90"] == pytest.approx(0.80, abs=0.02)
    assert table.loc["A0", "crs3"] == pytest.approx(0.46, abs=0.01)
    assert table["amplification"].iloc[0] < 5
    assert (table.loc[["A3", "A4"], "gain_EFS730"] > 0.15).all()


def test_agreement_is_counted_in_standard_deviations():
    from fastcart.papers.srct.job import agreement
    from fastcart.papers.srct.prototype import ARMS

    table = agreement(ARMS.assign(CR90=0.0)).set_index(["arm", "endpoint"])
    assert table.loc[("A0", "crs3"), "passes"] == "yes"
    assert table.loc[("A0", "CR90"), "passes"] == "no"
    assert table.loc[("A2", "CR90"), "passes"] == ""
