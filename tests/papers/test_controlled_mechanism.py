"""Why patients differ, regimes, clinics, lethality: what is explained, what is frozen, what is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastcart.papers.srct import controlled_lethality, controlled_regime_figures
from fastcart.papers.srct import controlled_mechanism as m
from fastcart.papers.srct import controlled_regimes as r
from fastcart.papers.srct.controlled import Solved
from fastcart.papers.srct.controlled_tables import Reached, Setting
from fastcart.population import PRIOR, sample
from fastcart.trial.families import ENDPOINTS, Scan

N = 300


@pytest.fixture(scope="module")
def inputs():
    return m.inputs_of(sample(N, seed=2))


# ---- variance by mechanism


def test_groups_are_all_that_patients_differ_in(inputs):
    listed = [name for names in r.GROUPS.values() for name in names]
    assert sorted(listed) == sorted(PRIOR.names)
    assert list(inputs) == listed
    assert (inputs.nunique() > N / 5).all()  # most have no CD19- cell


def test_an_outcome_of_one_input_is_explained_by_its_group_alone(inputs):
    rank = inputs["pC"].rank().to_numpy() / N
    noise = np.random.default_rng(1).normal(0, 0.3, N)
    outcomes = np.column_stack([rank, rank**2 + noise, np.random.default_rng(2).random(N), np.full(N, 0.4)])
    weights = np.ones(N)
    whole = m.explained(inputs, outcomes, weights)
    assert whole[0] > 0.95
    assert 0.2 < whole[1] < 0.6  # the variance of the rank is 1/11 of 1, that of the noise 0.09
    assert whole[2] < 0.05
    assert np.isnan(whole[3])
    without = m.explained(inputs.drop(columns="pC"), outcomes, weights)
    assert whole[0] - without[0] > 0.8
    other = m.explained(inputs.drop(columns=["xi", "KX"]), outcomes, weights)
    assert abs(whole[0] - other[0]) < 0.02


def test_what_is_left_out_is_left_out_exactly(inputs):
    """The short cut for one patient left out is the fit without the patient."""
    y, w = np.random.default_rng(4).random(N), np.linspace(0.5, 1.5, N)
    x = m._quadratic(inputs.to_numpy())
    shrunk = m._RIDGE * np.eye(x.shape[1])
    shrunk[0, 0] = 0.0
    left = []
    for k in range(0, N, 50):
        rows = np.arange(N) != k
        xw = x[rows] * w[rows, None]
        left.append(y[k] - x[k] @ np.linalg.solve(xw.T @ x[rows] + shrunk, xw.T @ y[rows]))
    x = x * np.sqrt(w)[:, None]
    hat = x @ np.linalg.inv(x.T @ x + shrunk) @ x.T
    scaled = y * np.sqrt(w)
    short = ((scaled - hat @ scaled) / (1 - np.diag(hat)) / np.sqrt(w))[::50]
    np.testing.assert_allclose(short, left, rtol=1e-6)


def test_few_patients_explain_nothing(inputs):
    assert np.isnan(m.explained(inputs.head(50), np.random.default_rng(1).random((50, 2)), np.ones(50))).all()


def reached(**parts):
    rows = np.full((N, len(ENDPOINTS)), 0.5)
    for name, values in parts.items():
        rows[:, ENDPOINTS.index(name)] = values
    return Reached(1.0, rows)


def test_who_gains_and_who_loses_is_counted_with_weights():
    patients, weights = sample(N, seed=2), np.ones(N)
    weights[:100] = 4.0
    change = np.r_[np.full(100, 0.2), np.full(100, -0.2), np.full(100, 0.04)]
    found = {"single": reached(), "RISE_T": reached(CR90=0.5 + change)}
    at = Setting(patients, weights, 1, 5, {})
    table = m.individual(found, at).set_index("endpoint")
    assert table.loc["CR90", ["more", "less", "same"]].tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    assert table.loc["EFS730", ["more", "less", "same"]].tolist() == [0.0, 0.0, 1.0]
    assert m.individual({"single": found["single"]}, at).empty
    variance = m.variance(found, at)
    assert len(variance) == 2 * 3 * len(r.GROUPS)
    assert set(variance["arm"]) == {"single", "RISE_T"}


# ---- what is frozen


def test_freezing_a_mechanism_leaves_all_else_as_it_was():
    usual, frozen = sample(20, seed=7), sample(20, seed=7, prior=r.alike(r.GROUPS["IL-6 scale"]))
    assert frozen["pC"].nunique() == 1
    assert frozen["pC"].iloc[0] == pytest.approx(2e5)
    pd.testing.assert_frame_equal(usual.drop(columns="pC"), frozen.drop(columns="pC"))
    load = sample(20, seed=7, prior=r.alike(r.GROUPS["antigen load"]))
    assert load["L"].nunique() == load["B"].nunique() == 1
    assert load["rhoE"].equals(usual["rhoE"])


def test_variance_over_patients_is_read_where_severe_crs_has_the_rate():
    parts = np.zeros((3, 4, len(ENDPOINTS)))
    parts[:, :, ENDPOINTS.index("crs3")] = [[0.1] * 4, [0.3] * 4, [0.5] * 4]
    parts[:, :, ENDPOINTS.index("CR90")] = [[0.2] * 4, [0.0, 0.0, 1.0, 1.0], [1.0] * 4]
    scan = Scan("one", np.array([1e6, 1e7, 1e8]), parts)
    assert r.variance_at(scan, 0.3, "CR90") == pytest.approx(0.25)
    assert r.variance_at(scan, 0.2, "CR90") == pytest.approx(0.125)
    assert np.isnan(r.variance_at(scan, 0.6, "CR90"))


# ---- sentences


def variances():
    return pd.DataFrame(
        [{"arm": "single", "outcome": outcome, "group": group, "all": 0.6, "lost": lost}
         for outcome in m.OUTCOMES for group, lost in (("growth", 0.22), ("niche", 0.11), ("product", -0.01))]
    )  # fmt: skip


def frozen_table(**gains):
    return pd.DataFrame(
        [{"group": group, "level": 0.3, "endpoint": "CR90", "gain": gain} for group, gain in gains.items()]
    )


def spread(**changed):
    table = pd.DataFrame({"het": [0.5, 1.0, 2.0], "gain": [0.248, 0.103, 0.006]})
    same = {"part": "low then rising", "level": 0.3, "endpoint": "CR90", "uniform": 0.416, "chosen": 0.532}
    return table.assign(**{**same, **changed})


def quarters(weak, strong):
    return pd.DataFrame(
        {"variable": "pC", "endpoint": "crs3", "quarter": [1, 2, 3, 4], "gain": [weak, -0.1, -0.06, strong]}
    )


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([0.248, 0.103, 0.006], "it shrinks as patients differ more;"),
        (
            [0.150, 0.249, -0.001],
            "it is largest (+24.9) at 1 times;",
        ),
        ([0.100, 0.050, 0.120], "it does not shrink as patients differ more;"),
    ],
)
def test_where_the_gain_is_largest_is_told_from_all_spreads(gains, words):
    table = spread(gain=gains)
    tables = variances(), frozen_table(none=0.0), table, quarters(0.1, -0.1)
    assert any(words in text for text in m.why_patients_differ(*tables))


def test_four_sentences_of_numbers():
    explains, dilutes, spreads, pays = m.why_patients_differ(
        variances(), frozen_table(none=0.069, load=0.244, scale=0.191, growth=0.05), spread(),
        quarters(-0.025, 0.194),
    )  # fmt: skip
    assert "in severe CRS by growth (22 %), then niche (11 %)" in explains
    assert "gains +6.9 points" in dilutes
    assert "load +24.4 and scale +19.1" in dilutes
    assert "+24.8 and +0.6 points: it shrinks" in spreads
    assert "from 41.6 to 53.2 %" in spreads
    assert "by -2.5 points" in pays
    assert "by +19.4 in that with the strongest" in pays
    assert "shifts severe CRS onto" in pays
    assert "spares" in m.why_patients_differ(*[pd.DataFrame(columns=t.columns) for t in (
        variances(), frozen_table(none=0.0), spread())], quarters(0.1, -0.1))[0]  # fmt: skip


def test_no_sentence_without_its_numbers():
    nothing = m.why_patients_differ(
        variances().assign(lost=np.nan), frozen_table(none=np.nan, load=0.2), spread(gain=np.nan),
        quarters(np.nan, 0.1),
    )  # fmt: skip
    assert nothing == []
    assert (
        "perfect information"
        not in m.why_patients_differ(
            variances(), frozen_table(none=np.nan), spread(chosen=np.nan), quarters(np.nan, 0.1)
        )[1]
    )


def test_regimes_are_counted_and_those_named_in_which_it_fails():
    rows = [{"part": "low then rising", "level": 0.3, "endpoint": "CR90", "regime": name, "gain": gain}
            for name, gain in (("one", 0.1), ("two", -0.02), ("three", np.nan))]  # fmt: skip
    part = pd.DataFrame(
        [{"on": "crs3", "level": 0.3, "endpoint": "CR90", "gain": 0.1, "low": 0.05, "high": 0.15}]
    )
    (text,) = m.regimes_in_words({"low then rising": part}, pd.DataFrame(rows))
    assert "in 1 of 2 regimes" in text
    assert "not in: two" in text
    assert m.regimes_in_words({}, pd.DataFrame(rows)) == []
    (row,) = m.wider({"low then rising": part}, pd.DataFrame(rows)).to_dict("records")
    assert [row[k] for k in ("Low", "High", "Lowest regime", "Highest regime")] == pytest.approx(
        [5, 15, -2, 10]
    )
    assert row["Regimes"] == 2
    assert m.wider({"low then rising": part.assign(low=np.nan)}, pd.DataFrame(rows)).empty
    told = r.robustness(pd.DataFrame([*rows, {**rows[0], "level": 0.2}]), spread())
    assert list(told) == ["part", "regime", "endpoint", "gain"]
    assert told["regime"].tolist() == ["one", "two", "three", "spread x 0.5", "spread x 2"]


# ---- deadlier CRS


def test_deadlier_crs_and_where_restraint_pays():
    def parts(crs3, alive):
        rows = np.zeros((2, 5, len(ENDPOINTS)))
        rows[:, :, ENDPOINTS.index("crs3")] = np.reshape(crs3, (2, 1))
        rows[:, :, ENDPOINTS.index("OS730")] = np.reshape(alive, (2, 1))
        rows[:, :, ENDPOINTS.index("toxic_death")] = 0.015
        return rows

    x = np.array([1e6, 1e8])
    usual = {"single": parts((0.2, 0.5), (0.5, 0.6)), "RISE_T": parts((0.2, 0.4), (0.5, 0.56))}
    deadly = {"single": parts((0.2, 0.5), (0.40, 0.30)), "RISE_T": parts((0.2, 0.4), (0.45, 0.44))}
    solved = Solved(
        {name: Scan(name, x, values) for name, values in usual.items()}, {},
        {name: np.stack([usual[name], usual[name], deadly[name]]) for name in usual},
    )  # fmt: skip
    table = controlled_lethality.lethality(solved, np.ones(5), (2.0, 4.0, 8.0))
    assert table["wanted"].drop_duplicates().tolist() == [0.015, 0.1, 0.2, 0.4]
    last = table[table["wanted"] == 0.4].set_index("family")
    assert last.loc["RISE_T", "best_OS730"] == pytest.approx(0.45)
    assert last.loc["RISE_T", "gain_OS730"] == pytest.approx(0.45 - 0.40)
    text = controlled_lethality.in_words(table)
    assert "restraint pays in survival once CRS kills 40 %" in text
    assert "1.5 %: single 60.0 %" in text
    first = table[table["wanted"] < 0.3]
    assert "does not pay" in controlled_lethality.in_words(first)
    assert controlled_lethality.in_words(first.head(2)) == ""


def test_the_mechanism_is_drawn():
    from fastcart import plotting

    table = pd.concat([variances(), variances().assign(arm="RISE_T")])
    frozen = frozen_table(none=0.07, growth=0.1, niche=0.2)
    both = pd.concat([frozen, frozen.assign(endpoint="EFS730", gain=0.01)])
    with plotting.style():
        figure, told = controlled_regime_figures.mechanism({"variance": table, "frozen": both})
    assert len(figure.axes) == 2
    assert told["Mechanism"].tolist() == ["none", "growth", "niche", "product"]
    assert told["Gain with it alike, CR90 (points)"].iloc[0] == pytest.approx(7.0)


def test_the_usual_patients_are_the_same_in_every_table():
    at = r.Place(r.Scope(20, (), ()), 0.03, 0.003, None, {})
    pd.testing.assert_frame_equal(at.drawn(), at.drawn(het=1.0))
    pd.testing.assert_frame_equal(at.drawn(), at.drawn(prior=r.alike(())))
