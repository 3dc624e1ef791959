"""Facts, scans and products of the T-cell model, and the job that reports them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import drawn_as_pixels

from fastcart import InputError, models
from fastcart.models.t_cell_presets import PRESETS
from fastcart.papers.t_cell_theories import cart as cart
from fastcart.papers.t_cell_theories import cuts as cuts
from fastcart.papers.t_cell_theories import scans as scans
from fastcart.papers.t_cell_theories.facts import FACTS, POPULATION, fact_numbers, passes, t_cell_facts
from fastcart.papers.t_cell_theories.variants import (
    BLAST_PRESET,
    BLAST_RATES,
    CLINIC_VALUES,
    compare_searches,
    compare_variants,
)


@pytest.fixture(scope="module")
def table():
    return t_cell_facts(families=400, seed=1)


def test_passes_of_the_theories(table):
    """Of the sixteen facts; the numbers of the specification."""
    found = table.groupby("preset", sort=False)["holds"].sum().to_dict()
    expected = dict(zip(PRESETS, (10, 11, 11, 11, 10, 12, 9, 14, 15), strict=True))
    assert found == expected


@pytest.mark.parametrize(
    ("preset", "fact", "value", "digits"),
    [
        ("linear", "F3", 0.064, 3), ("progressive", "F4", 0.52, 2), ("selfrenew", "F4", 1.0, 2),
        ("signal", "F8", 2.17, 2), ("precursor", "F6", 0.82, 2), ("unified", "F9", 5.7, 1),
        ("unified", "F10", 0.46, 2), ("unified", "F12", 0.73, 2), ("unified", "F13", -1.1, 1),
        ("decreasing", "F2", 8.9, 1), ("bifurcating", "F7", 1.4, 1), ("unified", "F16", 0.018, 3),
    ],
)  # fmt: skip
def test_numbers_of_facts(table, preset, fact, value, digits):
    row = table[(table["preset"] == preset) & (table["fact"] == fact)].iloc[0]
    assert round(row["value"], digits) == pytest.approx(value)


def test_facts_without_families_and_with_other_rates():
    plain = t_cell_facts(["unified"], families=0, patient={"kappa": 1e-5, "N": 300.0})
    assert set(plain["fact"]) == set(POPULATION)
    with pytest.raises(InputError, match="no preset"):
        t_cell_facts(["unifed"])
    with pytest.raises(InputError, match="No preset is given"):
        t_cell_facts([])


def test_a_batch_gives_what_one_patient_gives():
    rates = scans.draw_common_rates(40, seed=4)
    together = fact_numbers("unified", rates)
    alone = fact_numbers("unified", rates.iloc[[7]])
    np.testing.assert_allclose(together.iloc[7], alone.iloc[0], rtol=1e-9)
    assert passes(together).shape == (40,)


def test_reverse_arrows_and_mixtures():
    reverse = scans.scan_reverse(factors=(0.0, 0.1, 0.25, 0.5, 1.0, 2.0), families=400)
    assert reverse["passes"].tolist() == [11, 10, 13, 14, 14, 12]
    mixtures = scans.scan_mixtures(weights=(0.0, 0.5, 1.0), families=400)
    assert mixtures["passes"].max() == 11  # never above the better end
    robust = scans.reverse_robustness(factors=(0.0, 0.5), draws=100)
    assert robust["mean"].iloc[1] > robust["mean"].iloc[0] + 2


def test_reverse_arrows_help_other_theories():
    found = scans.union_map(("linear", "progressive"), factors=(0.0, 0.5), draws=60)
    alone = scans.robustness(("linear", "progressive"), 60, clonal_draws=0)
    assert found["mean"].iloc[0] == alone.loc[alone["preset"] == "linear", "passes"].mean()
    assert found["mean"].iloc[2] == alone.loc[alone["preset"] == "progressive", "passes"].mean()
    assert found["mean"].iloc[1] > found["mean"].iloc[0]


def test_random_common_rates():
    rates = scans.draw_common_rates(500, seed=2)
    assert rates["kappa"].between(7e-6, 3e-5).all()
    pd.testing.assert_frame_equal(rates, scans.draw_common_rates(500, seed=2))
    found = scans.summarise(
        scans.robustness(("precursor", "unified"), 200, clonal_draws=2, families=50)
    ).set_index("preset")
    assert found.loc["unified", "mean"] > found.loc["precursor", "mean"] + 1
    assert found.loc["unified", "best_alone"] > 0.8


def test_equal_budget_keeps_sums_and_is_seeded():
    options = {"presets": ("precursor", "bifurcating"), "trials": 20, "families": 60, "finalists": 4}
    found = scans.equal_budget(**options, seed=3)
    pd.testing.assert_frame_equal(found, scans.equal_budget(**options, seed=3))
    assert (found["best"] >= 8).all()
    assert set(scans.SPACES) <= set(PRESETS)


# --- cuts


def facts_of(**values):
    """A table of three facts with one number each, by theory."""
    rows = [
        {"preset": preset, "fact": fact, "value": value, "second": np.nan}
        for preset, numbers in values.items()
        for fact, value in zip(("F3", "F9", "F10"), numbers, strict=True)
    ]
    return pd.DataFrame(rows)


def test_without_spread_the_cuts_are_those_of_the_table():
    table = t_cell_facts(["linear", "unified"], families=0)
    met = cuts.draw_cuts(table, spread=0, draws=3)
    assert met.to_numpy().tolist() == [table.groupby("preset", sort=False)["holds"].sum().tolist()] * 3


def test_a_limit_is_drawn_uniformly():
    # F9 asks for 2 or more: a value of 1.9 holds where the factor is below 0.95
    table = facts_of(linear=(0.0, 1.9, 0.0), unified=(0.0, 1.9, 0.0))
    met = cuts.draw_cuts(table, spread=0.25, draws=40_000)
    assert (met["linear"] == met["unified"]).all()  # the same cuts for all
    assert met["linear"].mean() == pytest.approx(0.4, abs=0.01)
    # F3, a range: 0.04 to 0.11
    table = facts_of(linear=(0.1, 0.0, 0.0), unified=(0.2, 0.0, 0.0))
    met = cuts.draw_cuts(table, spread=0.25, draws=40_000)
    assert met["linear"].mean() == pytest.approx((1.25 - 0.1 / 0.11) / 0.5, abs=0.01)
    assert met["unified"].max() == 0


def test_who_leads_with_and_without_ancestry():
    # `linear` meets F3 and F9, `unified` F3 and F10, a fact of ancestry; `unified_edge` takes no part
    table = facts_of(linear=(0.07, 9.0, 0.0), unified=(0.07, 0.0, 0.9), unified_edge=(0.07, 9.0, 0.9))
    found = cuts.leads(table, spreads=(0.1,), draws=100).set_index(["facts", "preset"])
    assert set(found.index) == {(3, "linear"), (3, "unified"), (2, "linear"), (2, "unified")}
    assert found.loc[(3, "unified"), ["alone", "level"]].tolist() == [0, 1]
    assert found.loc[(2, "linear"), ["alone", "level"]].tolist() == [1, 1]
    assert found.loc[(2, "unified"), ["alone", "level"]].tolist() == [0, 0]


def test_other_facts_change_no_cut_and_draws_are_seeded():
    table = facts_of(linear=(0.1, 1.9, 0.1), unified=(0.05, 2.1, 0.09))
    parts = [cuts.draw_cuts(table, facts=[fact], draws=500, seed=3) for fact in ("F3", "F9", "F10")]
    pd.testing.assert_frame_equal(sum(parts), cuts.draw_cuts(table, draws=500, seed=3))


def test_without_ancestry_the_lead_rests_on_the_cuts(table):
    found = cuts.leads(table, spreads=(cuts.SHOWN,), draws=2000).set_index(["facts", "preset"])
    assert found.loc[(16, "unified"), "alone"] > 0.9
    assert 0.2 < found.loc[(13, "unified"), "alone"] < 0.35


def test_bad_cuts():
    table = facts_of(linear=(0.1, 1.9, 0.1))
    with pytest.raises(InputError, match="spread of the cuts is 1"):
        cuts.draw_cuts(table, spread=1)
    with pytest.raises(InputError, match="no fact F99"):
        cuts.draw_cuts(table, facts=["F99"])


# --- CAR-T


def test_products_of_the_specification():
    found = cart.compare_theories(("linear", "precursor", "unified")).set_index(["preset", "product"])
    spread = found["T180"].groupby("preset").agg(lambda T: T.max() / T.min())
    assert spread.round(2).to_dict() == {"linear": 1.01, "precursor": 1.26, "unified": 8.56}
    typical = found.loc[("unified", "typical")]
    assert typical["fold"] == pytest.approx(2870, rel=0.01)
    assert typical["FB"] == pytest.approx(0.035, rel=0.03)
    assert typical["beta"] == pytest.approx(0.0031, rel=0.02)
    assert found.loc[("unified", "Tscm-rich"), "fold"] == pytest.approx(3460, rel=0.01)


def test_compositions():
    shares = cart.compositions()
    assert len(shares) == 286
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    scan = cart.scan_products(parts=2, loads=(1e9, 1e11), kappas=(1e-9,))
    assert len(scan) == 20
    assert scan.loc[scan["A"] == 1e11, "cleared"].notna().mean() > 0.8
    assert scan.loc[scan["A"] == 1e9, "cleared"].notna().mean() < 0.5


def test_dose_and_fractions():
    found = cart.scan_doses((1e6, 1e9))
    typical = found[found["product"] == "typical"]
    assert typical["peak"].max() / typical["peak"].min() < 1.05
    assert typical["t_peak"].tolist() == pytest.approx([16.1, 8.1], abs=0.1)
    splits = cart.scan_splits()
    short = splits[splits["split"].str.contains("0, 1, 2")]
    assert short["relative"].between(0.85, 1.15).all()


def test_boosts():
    live = cart.scan_boosts(days=(30, 60, 120), amounts=(1e9, 1e10), products=("typical",))
    gain = live[live["amount"] == 1e10].set_index("day")["gain"]
    assert gain.round(0).to_dict() == {30: 6, 60: 14, 120: 17}
    assert live.loc[live["amount"] == 1e9, "relapse"].all()
    assert not live.loc[live["amount"] == 1e10, "relapse"].any()
    vaccine = cart.scan_boosts("vaccine", days=(60,), amounts=(1e9, 1e10), products=("typical",))
    assert not vaccine["relapse"].any()
    assert (vaccine["gain"].diff().dropna() > 0).all()
    with pytest.raises(InputError, match="'live' or 'vaccine'"):
        cart.scan_boosts("dead")
    with pytest.raises(InputError, match="Did you mean 'typical'"):
        cart.scan_boosts(products=("typicl",))


def test_virtual_patients_and_variance():
    patients = cart.virtual_patients(400, seed=1)
    numbers = cart.kinetics(patients)
    spread = cart.variances(numbers)
    assert spread["alpha"] < 0.01  # product, load and potency do not spread the contraction
    assert 0.1 < spread["peak"] < 1
    wider = cart.variances(cart.kinetics(cart.virtual_patients(400, contraction=0.8, seed=1)))
    assert wider["alpha"] > 0.15
    indices, _ = cart.decompose(64, seed=1)
    first = indices[indices["output"] == "FB"].set_index("input")["ST"]
    assert first.idxmax() == "composition"
    again = [cart.decompose(8, seed=0)[0] for _ in range(2)]  # intervals too
    pd.testing.assert_frame_equal(*again, check_exact=True)


@pytest.mark.slow
def test_variants():
    found = compare_variants(patients=100).set_index(["variant", "quantity"])
    assert found.loc[("blasts", "facts of 14"), "with_variant"] == 13
    row = found.loc[("blasts", "F16 brief_number (- to +)")]
    assert row["with_variant"] > 0.5 > row["reference"]
    assert found.loc[("clinic", "FB"), "with_variant"] < 0.012
    assert CLINIC_VALUES["P_CM"] < 1


def test_blasts_make_F16_reachable_by_the_same_search():
    found = compare_searches(trials=300, searches=1, seed=1).set_index("model")
    assert found.loc["unified", "meet_F16"] == 0
    assert found.loc["unified with blasts", "meet_F16"] > 50
    assert found["trials"].nunique() == 1


def test_every_naive_cell_makes_its_blasts():
    """Without drive after recruitment, k divisions make 2**k cells of each."""
    import fastcart
    from fastcart.models.t_cell import BLASTS

    model = models.get("t_cell", preset=BLAST_PRESET, blasts=True)
    nothing = {
        f"{rate}_{a}": 0.0 for rate in ("rho", "h", "don", "doff") for a in "SCME"
    } | {"d_N": 0.0, "s_N": 0.0, **BLAST_RATES}  # fmt: skip
    row = fastcart.solve(model, nothing, t_end=60, save_at=[60], rtol=1e-9).trajectories.iloc[0]
    assert row["T"] == pytest.approx((150 - row["N"]) * 2**BLASTS, rel=1e-6)


def test_report(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from fastcart.papers.t_cell_theories import job, reproduce
    from fastcart.papers.t_cell_theories.job import FIGURES, TABLES
    from fastcart.plotting import beside

    out = tmp_path / "out"
    sizes = {"draws": 20, "trials": 6, "families": 60, "parts": 2, "samples": 16, "progress": False}
    # the same steps, of fewer theories, families and finalists, drawn coarsely; numbers are tested above
    for module, name, fewer in (
        (scans, "robustness", {"clonal_draws": 2, "families": 30}),
        (scans, "union_map", {"presets": ("linear", "progressive"), "factors": (0.0, 0.5)}),
        (scans, "equal_budget", {"families": 40, "finalists": 2, "searches": 1}),
        (job, "compare_searches", {"searches": 1}),
        (job, "write_outputs", {"dpi": 40}),
    ):
        monkeypatch.setattr(module, name, partial(getattr(module, name), **fewer))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as last:
        last.setattr(job.cart, "decompose", killed)
        with pytest.raises(KeyboardInterrupt):
            reproduce(out, **sizes)
    assert [path.name for path in out.iterdir()] == ["unfinished"]
    with pytest.raises(InputError, match=r"cannot go on.*sizes\.seed is 0 there and 1 now"):
        reproduce(out, **sizes, seed=1)
    for name in ("t_cell_facts", "leads", "compare_variants"):  # what is there is not computed again
        monkeypatch.setattr(job, name, killed)
    with drawn_as_pixels():
        report = reproduce(out, **sizes)
    text = report.read_text(encoding="utf-8")
    assert sorted(p.name for p in out.iterdir()) == sorted([*beside(FIGURES), *TABLES, "report.md"])
    assert all(f"| {fact.name} " in text for fact in FACTS)
    assert "What the table can not decide" in text
    assert "going on with what was kept" in text
    assert cuts.in_words(pd.read_csv(out / "cuts.csv")) in text
    with pytest.raises(InputError, match="already holds"):
        reproduce(out)
