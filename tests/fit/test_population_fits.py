"""Populations: against closed forms, against quadrature, and what must never depend on anything."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fit_models import LINE, ORAL
from scipy.special import chdtri, ndtri

from fastcart import InputError, Model, Parameter, fit
from fastcart.batch import check_threads
from fastcart.fit.complete import Complete
from fastcart.fit.effects import Values, check_effects, with_errors
from fastcart.fit.expected import Expected
from fastcart.fit.keeping import Keeper
from fastcart.fit.marginal import draws_of, information, log_weights, summarise
from fastcart.fit.maximum import Accuracy, adapt, know, proposal_of
from fastcart.fit.modes import modes, quadrature
from fastcart.fit.proposals import FREEDOM, _stretch, first_proposal, log_prior, tempered
from fastcart.fit.saem import positive
from fastcart.fit.simulated import bins_of
from fastcart.fit.stationarity import is_stationary

STRAIGHT = fit.Observation("y", "a + b * t", fit.additive())
SCALES = {"a": "normal", "b": "normal"}
# adaptive quadrature with 35 nodes in each dimension: estimates, standard errors
THEOPHYLLINE = np.array(
    [0.45929, 1.01167, 3.45385, *(0.5 * np.log([0.40504, 0.07032, 0.01849])), np.log(0.69591)]
)
THEOPHYLLINE_SE = np.array([0.1927, 0.0843, 0.0462, 0.2369, 0.2503, 0.2940, 0.0714])


def lines(patients: int = 30, *, seed: int = 0, correlation: float = 0.6) -> pd.DataFrame:
    """Straight lines with random intercepts and slopes, and a covariate."""
    random = np.random.default_rng(seed)
    omega = np.array([[1.0, correlation * 0.5], [correlation * 0.5, 0.25]])
    rows = []
    for i in range(patients):
        weight = random.uniform(50, 100)
        eta = np.linalg.cholesky(omega) @ random.standard_normal(2)
        a, b = 5.0 + 2.0 * np.log(weight / 75) + eta[0], -0.5 + eta[1]
        for t in np.sort(random.uniform(0, 10, random.integers(2, 7))):
            rows.append((i, t, a + b * t + 0.4 * random.standard_normal(), "y", weight))
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "DVID", "WT"])


def exact_minus2LL(complete: Complete, row: np.ndarray) -> float:
    """The closed form of a linear model with normal random effects."""
    values, data = complete.effects.unpack(row), complete.prepared.data
    of, total = data.measurements, 0.0
    for i in range(data.patients):
        mine = of.patient == i
        z = np.column_stack([np.ones(mine.sum()), of.time[mine]])
        if len(complete.effects.random) == 1:
            z, rest = z[:, :1], values.fixed[0] * z[:, 1]
        else:
            rest = np.zeros(len(z))
        mean = z @ complete.effects.centers(values.b)[i] + rest
        covariance = z @ values.omega @ z.T + values.errors[0] ** 2 * np.eye(len(z))
        away = of.value[mine] - mean
        total += np.linalg.slogdet(2 * np.pi * covariance)[1] + away @ np.linalg.solve(covariance, away)
    return total


def complete_of(
    data: fit.FitData, *, random=("a", "b"), fixed=(), omega="full", covariates=None, threads=None
) -> Complete:
    scales = dict.fromkeys((*random, *fixed), "normal")
    effects = check_effects(LINE, data, random, fixed, omega=omega, covariates=covariates, scales=scales)
    prepared = fit.prepare(LINE, data, list(effects.columns), observations=STRAIGHT, threads=threads)
    return Complete(prepared, with_errors(effects, prepared))


def numeric(function, row: np.ndarray, step: float = 1e-4) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and second derivative by central differences."""
    size = len(row)
    gradient, second = np.empty(size), np.empty((size, size))
    unit = np.eye(size) * step
    for j in range(size):
        gradient[j] = (function(row + unit[j]) - function(row - unit[j])) / (2 * step)
        for k in range(size):
            both = [function(row + s * unit[j] + r * unit[k]) for s in (1, -1) for r in (1, -1)]
            second[j, k] = (both[0] - both[1] - both[2] + both[3]) / (4 * step**2)
    return gradient, second


@pytest.fixture(scope="module")
def straight() -> fit.FitData:
    return fit.read(lines(), LINE)


@pytest.fixture(scope="module")
def fitted(straight) -> fit.PopulationFit:
    """Both random effects correlated, a covariate."""
    return fit.population(
        LINE, straight, observations=STRAIGHT, random=["a", "b"], omega="full", covariates={"a": "WT"},
        scales=SCALES, iterations=(100, 60), starts={"a": 3.0, "b": 0.3},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "row"),
    [
        (dict(omega="full", covariates={"a": "WT"}), [5.0, 1.5, -0.4, 0.1, -0.8, 0.5, -0.9]),
        (dict(omega="diagonal"), [5.2, -0.6, -0.1, -0.6, -1.0]),
        (dict(random=("a",), fixed=("b",), omega="diagonal"), [5.1, -0.5, 0.05, 0.3]),
    ],
)
def test_likelihood_score_and_information_are_those_of_the_closed_form(straight, chosen, row):
    complete, row = complete_of(straight, **chosen), np.array(row)
    effects = complete.effects
    values = effects.unpack(row)
    covariance = np.tile(values.omega, (straight.patients, 1, 1))
    proposal = proposal_of(complete, row, effects.centers(values.b), covariance)
    proposal = adapt(complete, row, proposal, np.random.default_rng(0))
    found = know(complete, row, proposal, Accuracy(0.01, 32_768, (1,)))
    exact = exact_minus2LL(complete, row)
    assert abs(found.minus2LL - exact) < 4 * found.rounds.error
    assert found.rounds.error < 0.02
    gradient, second = numeric(lambda x: -0.5 * exact_minus2LL(complete, x), row)
    size = np.sqrt(np.abs(np.diag(second)))
    assert np.abs((found.score - gradient) / size).max() < 0.03
    assert np.abs((found.information + second) / np.outer(size, size)).max() < 0.03


def test_standard_errors_follow_the_units_of_measurements():
    """The same in units of which a measurement has 100000: of the exact second derivatives, too."""
    table, unit = lines(), 1e5
    table["DV"] *= unit
    found = fit.population(
        LINE, fit.read(table, LINE), observations=STRAIGHT, random=["a", "b"], scales=SCALES,
        iterations=(80, 40),
        starts=[{"a": 5 * unit, "b": -0.5 * unit, "omega_a": unit, "omega_b": unit / 2, "a_y": unit / 2}],
    )  # fmt: skip
    size = np.array([unit, unit, 1.0, 1.0, 1.0])

    def half(x: np.ndarray) -> float:
        return 0.5 * exact_minus2LL(found.complete, x * size)

    exact = np.linalg.inv(numeric(half, found.row / size)[1]) * np.outer(size, size)
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov)), np.sqrt(np.diag(exact)), rtol=0.03)
    assert found.converged, found.problems
    assert found.known.all()
    drawn = found.to_population(2, uncertainty=True)
    assert np.isfinite(drawn).all(axis=None)


def test_what_is_flat_is_told_in_each_estimates_own_units():
    curved = np.array([[2.0, 1.9, 0.0], [1.9, 2.0, 0.1], [0.0, 0.1, 1.0]])
    for unit in (1.0, 1e-8, 1e8):
        size = np.array([1.0, unit, 1 / unit])
        np.testing.assert_allclose(
            positive(curved * np.outer(size, size)) / np.outer(size, size), curved, atol=1e-9
        )
    turned = positive(np.array([[1.0, 5.0], [5.0, 1e-9]]))
    assert np.linalg.eigvalsh(turned)[0] > 0
    np.testing.assert_allclose(positive(np.diag([4.0, -3.0, 0.0]), logs=2), np.diag([4.0, 3.0, 0.01]))


def test_errors_of_the_likelihood_are_what_they_say(straight):
    complete, row = complete_of(straight, omega="diagonal"), np.array([5.2, -0.6, -0.1, -0.6, -1.0])
    exact = exact_minus2LL(complete, row)
    values = complete.effects.unpack(row)
    centers = complete.effects.centers(values.b)
    proposal = proposal_of(complete, row, centers, np.tile(values.omega, (straight.patients, 1, 1)))
    proposal = adapt(complete, row, proposal, np.random.default_rng(0))
    errors = []
    for seed in range(8):
        found = know(complete, row, proposal, Accuracy(1.0, 4096, (seed,)))
        errors.append((found.minus2LL - exact) / found.rounds.error)
    assert np.abs(errors).max() < 4.5
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) < 1.7  # 1, and what 8 of them scatter


def test_a_fit_finds_the_maximum_of_the_closed_form(fitted):
    assert fitted.converged, fitted.problems
    complete = fitted.complete
    gradient, second = numeric(lambda x: -0.5 * exact_minus2LL(complete, x), fitted.row)
    covariance = np.linalg.inv(-second)
    assert gradient @ covariance @ gradient < 0.01  # of -2 ln L: a tenth of a standard error
    np.testing.assert_allclose(np.sqrt(np.diag(fitted.cov)), np.sqrt(np.diag(covariance)), rtol=0.05)
    assert abs(fitted.minus2LL - exact_minus2LL(complete, fitted.row)) < 4 * fitted.minus2LL_error
    assert fitted.minus2LL_error <= 0.03
    table = fitted.table().set_index("parameter")
    assert table.loc["beta_a_WT", "low"] < 2.0 < table.loc["beta_a_WT", "high"]
    assert table.loc["corr_a_b", "low"] < 0.6 < table.loc["corr_a_b", "high"]


def test_individuals_are_those_of_the_closed_form(fitted):
    values, of = fitted.values, fitted.complete.prepared.data.measurements
    table = fitted.individuals()
    for i in range(5):
        mine = of.patient == i
        z = np.column_stack([np.ones(mine.sum()), of.time[mine]])
        center = fitted.complete.effects.centers(values.b)[i]
        gain = (
            values.omega
            @ z.T
            @ np.linalg.inv(z @ values.omega @ z.T + values.errors[0] ** 2 * np.eye(len(z)))
        )
        mean = center + gain @ (of.value[mine] - z @ center)
        deviation = np.sqrt(np.diag(values.omega - gain @ z @ values.omega))
        for k, name in enumerate(("a", "b")):
            assert abs(table[f"{name}_scaled_mode"][i] - mean[k]) < 0.01 * deviation[k]
            assert abs(table[f"{name}_scaled_mean"][i] - mean[k]) < 0.05 * deviation[k]
            assert table[f"{name}_scaled_sd"][i] == pytest.approx(deviation[k], rel=0.05)


def test_quadrature_is_exact_for_a_linear_model(fitted):
    assert fitted.quadrature(5) == pytest.approx(exact_minus2LL(fitted.complete, fitted.row), abs=1e-3)


def test_criteria(fitted):
    assert fitted.aic == fitted.minus2LL + 14
    assert fitted.bic == pytest.approx(fitted.minus2LL + 7 * np.log(30))
    assert fitted.bicc == pytest.approx(fitted.minus2LL + 6 * np.log(30) + np.log(fitted.measurements))
    assert fitted.minus2LL_of_DV == fitted.minus2LL


def test_criteria_count_patients_with_measurements(fitted, straight):
    """One more patient, without any: the same likelihood, the same criteria."""
    more = pd.concat([lines(), pd.DataFrame({"ID": [99], "TIME": 1.0, "DV": ".", "DVID": "y", "WT": 75.0})])
    found = copy.copy(fitted)
    effects = fitted.complete.effects
    prepared = fit.prepare(LINE, fit.read(more, LINE), list(effects.columns), observations=STRAIGHT)
    assert prepared.patients == 31
    found.complete = Complete(prepared, effects)
    assert found.patients_measured == 30
    assert (found.bic, found.bicc) == (fitted.bic, fitted.bicc)
    assert found.bic == pytest.approx(fitted.minus2LL + np.log(30) * 7)


def test_no_measurement_at_all_is_refused(straight):
    table = lines(3).assign(DV=".")
    for data in (fit.read(table, LINE), fit.read(table.drop(columns="DVID"), LINE)):
        with pytest.raises(InputError, match="The data have no measurement, so nothing can be estimated"):
            fit.population(LINE, data, **SHORT)


def test_shrinkage_has_both_definitions(fitted):
    table = fitted.shrinkage().set_index("parameter")
    assert (1 - table.loc["a", "variance"]) == pytest.approx((1 - table.loc["a", "deviation"]) ** 2)
    assert 0 < table.loc["b", "deviation"] < table.loc["b", "variance"] < 1
    assert "residuals of y" in table.index


def test_distribution_errors_of_a_right_model_are_standard_normal(fitted):
    values = fitted.npde()["NPDE"]
    size = len(values)
    assert abs(values.mean()) < 4 / np.sqrt(size)
    assert abs(values.std() - 1) < 4 / np.sqrt(2 * size)
    assert fitted.npde(seed=1)["NPDE"].equals(values)


def test_a_predictive_check_covers_a_right_model(fitted):
    check = fitted.vpc(bins=5)
    inside = (check.bins["low"] <= check.bins["observed"]) & (check.bins["observed"] <= check.bins["high"])
    assert inside.mean() > 0.6
    assert (check.censored["observed"] == 0).all()
    assert len(fitted.vpc(bins=5, corrected=True).bins) == len(check.bins)


def test_each_visit_is_a_bin_of_the_predictive_check():
    """Nine nominal visits, the last two of which were one bin between them; another kind has four."""
    visits = np.array([0.0, 7, 14, 28, 42, 56, 60, 90, 120])
    table = pd.DataFrame({
        "ID": np.repeat(np.arange(1, 9), 13), "TIME": np.tile([*visits, 3.0, 14, 60, 90], 8),
        "DVID": np.tile([*["y"] * 9, *["late"] * 4], 8),
    })  # fmt: skip
    table["DV"] = table["ID"] + table["TIME"] + np.random.default_rng(1).standard_normal(len(table))
    both = [fit.Observation(kind, "a + b * t", fit.additive(1.0)) for kind in ("y", "late")]
    data = fit.read(table, LINE)
    found = fit.population(
        LINE,
        data,
        **(SHORT | {"random": ["a"], "scales": {"a": "normal"}, "observations": both}),
    )
    check = found.vpc(replicates=20)
    for one in (check.bins[check.bins["percentile"] == 0.5], check.censored):
        times = {kind: part["time"].tolist() for kind, part in one.groupby("kind")}
        assert times == {"y": visits.tolist(), "late": [3, 14, 60, 90]}
        assert (one["measurements"] == 8).all()
    few = found.vpc(bins=3, replicates=20).censored
    assert few["time"].isin(table["TIME"]).all()  # nobody was measured between two visits
    assert few.groupby("kind")["measurements"].sum().to_dict() == {"y": 72, "late": 32}


def test_bins_hold_equally_many_of_times_that_all_differ():
    time = np.random.default_rng(2).permutation(120).astype(float)
    assert np.bincount(bins_of(time, 12)).tolist() == [10] * 12
    assert len(np.unique(bins_of(np.repeat(np.arange(40.0), 3), 12))) == 12


def test_virtual_patients_have_the_population(fitted):
    table = fitted.to_population(4000)
    ratio = np.log(table["WT"] / np.median(lines().groupby("ID")["WT"].first()))
    row = dict(zip(fitted.names, fitted.row, strict=True))
    away = table["a"] - row["a"] - row["beta_a_WT"] * ratio
    assert abs(away.mean()) < 4 * np.exp(row["omega_a"]) / np.sqrt(4000)
    assert away.std() == pytest.approx(np.exp(row["omega_a"]), rel=0.06)
    assert np.corrcoef(away, table["b"])[0, 1] == pytest.approx(np.tanh(row["corr_a_b"]), abs=0.06)
    wider = fitted.to_population(4000, uncertainty=True)
    assert wider["a"].std() > table["a"].std()
    assert fitted.to_population(10).equals(fitted.to_population(10))


def test_what_the_data_do_not_say_is_not_drawn(fitted):
    """A spread known to a factor of a thousand would give patients beyond all bounds."""
    found, k = copy.copy(fitted), fitted.names.index("omega_b")
    found.__dict__.pop("known", None)
    found.cov = fitted.cov.copy()
    found.cov[k, :], found.cov[:, k] = 0.0, 0.0
    found.cov[k, k] = 49.0
    with pytest.warns(UserWarning, match="The data do not say what omega_b is: virtual patients have its"):
        drawn = found.to_population(2000, uncertainty=True)
    assert drawn["b"].std() == pytest.approx(np.exp(fitted.row[k]), rel=0.1)


def test_a_bootstrap_is_as_wide_as_the_standard_errors(fitted):
    table = fit.bootstrap(fitted, 40)
    good = table[table["status"] == "ok"]
    assert len(good) >= 36
    error = fitted.table().set_index("parameter")["se"]
    for name in ("a", "b"):
        assert 0.6 < good[name].std() / error[name] < 1.5
        assert abs(good[name].mean() - fitted.natural(fitted.row)[fitted.names.index(name)]) < error[name]


def test_a_bootstrap_of_a_patients_weights_is_a_fit_of_those(straight):
    """Counting each patient twice doubles score and information."""
    complete, row = complete_of(straight, omega="diagonal"), np.array([5.2, -0.6, -0.1, -0.6, -1.0])
    values = complete.effects.unpack(row)
    centers = complete.effects.centers(values.b)
    proposal = proposal_of(complete, row, centers, np.tile(values.omega, (straight.patients, 1, 1)))
    found = know(complete, row, proposal, Accuracy(1.0, 4096, (0,)))
    once = information(complete.effects, row, found.summary)
    twice = information(complete.effects, row, found.summary, np.full(straight.patients, 2.0))
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-9, atol=1e-9)


def test_a_posterior_is_that_of_the_closed_form(fitted):
    pytest.importorskip("emcee")
    drawn, table = fit.posterior(fitted, 3, walkers=32, steps=400), fitted.individuals()
    for name in ("a", "b"):
        assert drawn[name].mean() == pytest.approx(
            table[f"{name}_scaled_mean"][3], abs=0.25 * table[f"{name}_scaled_sd"][3]
        )
        assert drawn[name].std() == pytest.approx(table[f"{name}_scaled_sd"][3], rel=0.2)
    with pytest.raises(InputError, match="not among those of the data"):
        fit.posterior(fitted, 99)


def test_theophylline_is_exact():
    """Answers of a second program with quadrature; data: Boeckmann, Sheiner, Beal 1994."""
    table = pd.read_csv(Path(__file__).parent / "theophylline.csv")
    table["CMT"] = np.where(table["EVID"] == 1, "depot", "conc")
    data = fit.read(table, ORAL)
    found = fit.population(
        ORAL, data, random=["ka", "CL", "V"], iterations=(120, 60), accuracy=0.02,
        observations=fit.Observation("conc", "center / V", fit.additive()),
        starts=[{"ka": 4.7, "CL": 0.92, "V": 95.0, "a_conc": 0.2}],
    )  # fmt: skip
    away = np.abs(found.row - THEOPHYLLINE) / THEOPHYLLINE_SE
    assert away[:3].max() < 0.05
    assert away[3:].max() < 0.08
    assert abs(found.minus2LL - 360.7007) < 0.1
    assert found.minus2LL_error <= 0.02
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov)), THEOPHYLLINE_SE, rtol=0.02)
    assert found.quadrature(15) == pytest.approx(360.7007, abs=0.002)
    assert found.converged, found.problems


SHORT = dict(
    observations=STRAIGHT, random=["a", "b"], scales=SCALES, iterations=(64, 20), starts=[{"a": 3.0}],
    chains=4, accuracy=1.0, draws=4096,
)  # fmt: skip


def test_threads_and_kills_change_nothing(straight, tmp_path, monkeypatch):
    whole = fit.population(LINE, straight, threads=1, **SHORT)
    assert np.array_equal(fit.population(LINE, straight, threads=2, **SHORT).row, whole.row)
    writes = Keeper.keep

    def killed(self, number, arrays):
        writes(self, number, arrays)
        raise KeyboardInterrupt

    monkeypatch.setattr(Keeper, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        fit.population(LINE, straight, keep=tmp_path / "kept", **SHORT)
    monkeypatch.undo()
    again = fit.population(LINE, straight, keep=tmp_path / "kept", threads=2, **SHORT)
    assert np.array_equal(again.row, whole.row)
    assert again.minus2LL == whole.minus2LL
    with pytest.raises(InputError, match="begun with other inputs: seed is 1 there and 2 now"):
        fit.population(LINE, straight, keep=tmp_path / "kept", **SHORT, seed=2)


BOTH = SHORT | dict(starts=[{"a": 3.0}, {"a": 1.0, "b": -1.0}])


def test_starts_at_once_are_the_starts_one_after_the_other(straight, tmp_path, monkeypatch):
    one = fit.population(LINE, straight, threads=1, **BOTH)
    writes, begun = Keeper.keep, set()
    found = fit.population(LINE, straight, threads=2, **BOTH)
    for mine, theirs in zip(one.ended, found.ended, strict=True):
        assert np.array_equal(mine.trace, theirs.trace)
        assert np.array_equal(mine.known.row, theirs.known.row)
    assert found.minus2LL == one.minus2LL
    assert found.complete.prepared.counts == one.complete.prepared.counts
    assert found.complete.prepared.threads == check_threads(2)  # as many as before

    def killed(self, number, arrays):
        begun.add(number)
        writes(self, number, arrays)
        if number == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Keeper, "keep", killed)
    with pytest.raises(KeyboardInterrupt):
        fit.population(LINE, straight, keep=tmp_path / "kept", threads=3, **BOTH)
    monkeypatch.undo()
    assert 1 in begun
    again = fit.population(LINE, straight, keep=tmp_path / "kept", threads=2, **BOTH)
    assert np.array_equal(again.row, one.row)
    assert again.minus2LL == one.minus2LL


def test_draws_shared_out_among_threads_say_the_same_to_the_bit():
    """Of 13 patients: parts of unequal size, with and without predictions that are kept."""
    data, row = fit.read(lines(13), LINE), np.array([5.2, -0.6, -0.1, -0.6, -1.0])
    found = []
    for threads in (1, 2, 7):
        complete = complete_of(data, omega="diagonal", threads=threads)
        effects, values = complete.effects, complete.effects.unpack(row)
        wide = np.tile(0.5 * np.eye(2), (13, 1, 1))
        proposal = first_proposal(effects, values, effects.centers(values.b), wide)
        draws = draws_of(proposal, np.arange(13), 2048, np.random.default_rng(1), threads)
        told = [draws.phi, draws.log_density, log_weights(complete, values, draws)]
        for some in (draws, draws.predicted(complete, row)):
            told += vars(summarise(complete, row, some)).values()
        found.append([*told, np.array(list(complete.prepared.counts.values()))])
    for others in found[1:]:
        for mine, theirs in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_draws_are_stretched_as_a_t_distribution_stretches():
    u = np.linspace(1e-9, 1 - 1e-9, 10_001)
    np.testing.assert_allclose(_stretch(ndtri(u)), np.sqrt(FREEDOM / chdtri(FREEDOM, u)), rtol=1e-6)
    middle = u[1:-1]
    np.testing.assert_allclose(_stretch(ndtri(middle)), np.sqrt(FREEDOM / chdtri(FREEDOM, middle)), rtol=1e-8)


def test_what_is_known_is_kept_and_what_is_fixed_is_estimated(straight):
    known = fit.Observation("y", "a + b * t", fit.additive(0.4))
    chosen = SHORT | dict(observations=known, random=["a"], fixed=["b"], starts=[{"a": 3.0, "b": 0.5}])
    found = fit.population(LINE, straight, **chosen)
    assert found.names == ("a", "b", "omega_a")
    assert found.values.errors.tolist() == [0.4]
    gradient, second = numeric(lambda x: -0.5 * exact_minus2LL(found.complete, x), found.row)
    assert gradient @ np.linalg.solve(-second, gradient) < 0.01


def test_censored_and_combined_errors_have_their_maximum():
    """By quadrature of the same likelihood: no step in any estimate makes it larger."""
    table = lines(30, seed=3)
    table["DV"] *= 1 + 0.2 * np.random.default_rng(3).standard_normal(len(table))
    table["CENS"] = (table["DV"] < 2.0).astype(int)
    table["DV"] = table["DV"].clip(lower=2.0)
    observation = fit.Observation("y", "a + b * t", fit.combined1())
    data = fit.read(table, LINE)
    assert 0.2 < (data.measurements.censored == 1).mean() < 0.8
    chosen = SHORT | dict(observations=observation, iterations=(100, 60), accuracy=0.1)
    found = fit.population(LINE, data, **chosen)
    values = found.values
    at = found.modes

    def minus2LL(row):
        return -2 * quadrature(found.complete, row, at, 21).sum()

    error = np.sqrt(np.diag(found.cov))
    best = minus2LL(found.row)
    assert abs(found.minus2LL - best) < 4 * found.minus2LL_error + 0.02
    for k, step in enumerate(error):
        for side in (-0.3, 0.3):
            moved = found.row.copy()
            moved[k] += side * step
            assert minus2LL(moved) > best
    assert values.errors.shape == (2,)
    values = found.npde()["NPDE"]
    assert np.isfinite(values).all()
    assert (found.vpc(bins=3).censored["observed"] > 0).any()


def test_an_error_that_is_not_there_is_said_to_be_unknown(straight):
    observation = fit.Observation("y", "a + b * t", fit.combined1())
    found = fit.population(LINE, straight, **(SHORT | dict(observations=observation, iterations=(100, 60))))
    table = found.table().set_index("parameter")
    assert table.loc["b_y", "estimate"] < 0.05
    assert table.loc["a", "says"] == "ok"
    if table.loc["b_y", "scaled_se"] > 2.3:
        pytest.fail("an error known to a factor of ten is given")
    assert (table["says"] == "ok").equals(table["se"].notna())


def test_degenerate_data_have_defined_results():
    table = lines(6, seed=1)
    single = pd.DataFrame({"ID": ["lonely"], "TIME": [1.0], "DV": [4.0], "DVID": ["y"], "WT": [70.0]})
    nothing = pd.DataFrame({"ID": ["empty"], "TIME": [1.0], "DV": ["."], "DVID": ["y"], "WT": [70.0]})
    data = fit.read(pd.concat([table, single, nothing], ignore_index=True), LINE)
    found = fit.population(LINE, data, **SHORT)
    table = found.individuals().set_index("patient")
    assert table.loc["empty", "minus2LL"] == pytest.approx(0.0, abs=0.02)
    assert table.loc["empty", "a_scaled_mode"] == pytest.approx(found.row[0], abs=1e-3)
    assert np.isfinite(table.to_numpy(dtype=float)).all()
    assert np.isfinite(found.diagnostics()["NPDE"]).sum() >= 1


def test_starts_that_disagree_are_no_convergence(fitted):
    other = fitted.ended[0]
    away = type(other)(**{**vars(other), "known": type(other.known)(**vars(other.known))})
    away.known.rounds = copy.deepcopy(other.known.rounds)
    away.known.rounds._offset -= 0.1
    judged = fit.PopulationFit(fitted.complete, [other, away], 1, 0.03)
    assert not judged.converged
    assert any("different -2 ln L" in text for text in judged.problems)


def test_a_drift_is_told_from_noise():
    random = np.random.default_rng(0)
    noise = random.standard_normal((200, 3))
    for k in range(1, 200):
        noise[k] = 0.8 * noise[k - 1] + noise[k]
    assert is_stationary(noise)
    assert not is_stationary(noise + np.linspace(0, 30, 200)[:, np.newaxis])
    assert not is_stationary(noise[:50])


def test_weights_are_flattened_only_where_few_count():
    even, odd = np.zeros((1, 1000)), np.full((1, 1000), -50.0)
    odd[0, 0] = 0.0
    weight = tempered(np.vstack([even, odd]))
    np.testing.assert_allclose(weight[0], 1e-3)
    assert weight[1, 0] < 1.0


def test_a_proposal_integrates_to_one():
    """The mean of (density of a normal distribution / density of the draws) is 1."""
    omega = np.array([[1.0, 0.3], [0.3, 0.5]])
    effects = check_effects(
        LINE, fit.read(lines(2), LINE), ["a", "b"], [], omega="full", covariates=None, scales=SCALES
    )  # fmt: skip
    start = Values(np.zeros(2), np.empty(0), omega, np.empty(0))
    proposal = first_proposal(effects, start, np.full((2, 2), 0.5), np.tile(0.5 * omega, (2, 1, 1)))
    random = np.random.default_rng(0)
    phi, density = proposal.draw(2048, random)
    ratio = np.exp(log_prior(phi - 0.4, 0.6 * omega) - density)
    np.testing.assert_allclose(ratio.mean(axis=1), 1.0, atol=0.01)
    split = proposal.split(phi, np.zeros((2, 2048)), 3, random).adapted(phi, np.zeros((2, 2048)))
    phi, density = split.draw(2048, random)
    ratio = np.exp(log_prior(phi - 0.4, 0.6 * omega) - density)
    np.testing.assert_allclose(ratio.mean(axis=1), 1.0, atol=0.02)


def test_modes_are_found_from_afar(straight):
    complete, row = complete_of(straight, omega="diagonal"), np.array([5.2, -0.6, -0.1, -0.6, -1.0])
    values = complete.effects.unpack(row)
    near = complete.effects.centers(values.b)[:, np.newaxis]
    deviations = np.full((straight.patients, 2), 0.3)
    one = modes(complete, values, near, deviations)
    other = modes(complete, values, near + np.array([3.0, -2.0]), deviations)
    np.testing.assert_allclose(one.phi, other.phi, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(random=[]), "At least one parameter must have a random effect"),
        (dict(random=["a", "nonsense"]), "has no parameter or state 'nonsense'"),
        (dict(fixed=["a"]), "'a' is named twice"),
        (dict(omega="some"), "omega must be 'diagonal', 'full'"),
        (dict(omega=[["a", "c"]]), "names 'c', which has no random effect"),
        (dict(covariates={"a": "AGE"}), "no constant covariate 'AGE'"),
        (dict(covariates={"c": "WT"}), "'c', which has no random effect"),
        (dict(covariates={"a": ["WT", "WT"]}), "The covariates of 'a' must differ; 'WT' is given twice"),
        (dict(covariates={"a": ["WT", "SAME"]}), r"The covariates of 'a' \(WT, SAME\) say the same"),
        (dict(covariates={"a": 3}), "The covariates of 'a' must be a list of names, not 3"),
        (dict(keep=3), "'keep' must be the path of a folder, not 3"),
        (dict(scales={"a": "cubic"}), "must be one of log, normal, logit"),
        (dict(scales={"a": "normal", "b": "normal", "c": "log"}), "'c', which is not estimated"),
        (dict(method="foce"), "The method must be 'saem'"),
        (dict(chains=0), "The chains of a patient must be a whole number from 1 on"),
        (dict(iterations=5), "must be two numbers"),
        (dict(starts={"omega_c": 1.0}), "names 'omega_c', which is not estimated"),
        (dict(starts=[{"omega_a": -1.0}]), "must be a positive, finite number"),
        (dict(starts=[]), "must be a mapping, or a list of mappings"),
        (dict(seed=-1), "The seed must be a whole number from 0 on"),
        (dict(accuracy=0), "The accuracy must be a positive"),
    ],
)
def test_bad_input_is_one_sentence(straight, change, sentence):
    same = straight.covariates.assign(SAME=2 * straight.covariates["WT"])
    with pytest.raises(InputError, match=sentence):
        fit.population(LINE, replace(straight, covariates=same), **(SHORT | change))


def test_bad_seeds_are_one_sentence(fitted):
    for make in (
        fitted.vpc,
        fitted.npde,
        lambda **seed: fitted.to_population(2, **seed),
        lambda **seed: fit.bootstrap(fitted, 2, **seed),
        lambda **seed: fit.posterior(fitted, 0, **seed),
    ):
        for seed in (-1, 0.5, "1"):
            with pytest.raises(InputError, match="The seed must be a whole number from 0 on"):
                make(seed=seed)


@pytest.mark.parametrize("name", ["a_y", "omega_a", "corr_a_b", "beta_a_WT"])
def test_a_parameter_with_the_name_of_an_estimate_is_refused(straight, name):
    model = Model("named", {"z": 0.0}, [*LINE.parameters, Parameter(name, 1.0)], LINE.rhs)
    how = SHORT | dict(omega="full", covariates={"a": "WT"})
    with pytest.raises(InputError, match=f"'{name}' of model 'named' has the name of what a fit estimates"):
        fit.population(model, straight, **how)
    # an estimated parameter counts as well, and a fit of individuals has names of errors
    with pytest.raises(InputError, match=f"'{name}' of model 'named'"):
        fit.population(model, straight, **(how | dict(fixed=[name])))
    if name == "a_y":
        with pytest.raises(InputError, match="'a_y' of model 'named'"):
            fit.individual(model, straight, observations=STRAIGHT, estimate={"a_y": (0, 1)})


def test_a_population_of_one_is_refused():
    with pytest.raises(InputError, match="at least two patients"):
        fit.population(LINE, fit.read(lines(1), LINE), **SHORT)


def test_covariates_enter_the_design_as_they_are_described():
    table = lines(6, seed=2)
    table["SEX"] = np.where(table["ID"] % 3 == 0, "male", "female")
    table["LEVEL"] = 50 + 50 * (table["ID"] % 2)
    data = fit.read(table, LINE)
    effects = check_effects(
        LINE, data, ["a", "b"], ["c"], omega=[["a", "b"]], covariates={"a": ["WT", "SEX"], "b": "LEVEL"},
        scales=None,
    )  # fmt: skip
    assert effects.coefficients == ("a", "beta_a_WT", "beta_a_SEX_male", "b", "beta_b_LEVEL")
    assert effects.names[5:] == ("c", "omega_a", "omega_b", "corr_a_b")
    weight = table.groupby("ID")["WT"].first().to_numpy()
    np.testing.assert_allclose(effects.design[:, 0, 1], np.log(weight / np.median(weight)))
    assert effects.design[:, 0, 2].tolist() == [1, 0, 0, 1, 0, 0]
    assert effects.design[:, 1, 4].tolist() == [0, 1, 0, 1, 0, 1]
    assert not effects.design[:, 0, 3:].any()


@pytest.mark.parametrize("levels", [["m", "f", "m", "."], [1.0, 2.0, 5.0, "."]])
def test_a_covariate_that_is_missing_is_refused(levels):
    table = lines(4)
    table["COV"] = [levels[i] for i in table["ID"]]
    with pytest.raises(InputError, match="The covariate 'COV' of patient 3 is missing"):
        fit.population(LINE, fit.read(table, LINE), **SHORT, covariates={"a": "COV"})


def test_scales_go_there_and_back():
    effects = check_effects(
        LINE, fit.read(lines(2), LINE), ["a", "b", "c"], [], omega="full", covariates=None,
        scales={"a": "logit", "b": "normal"},
    )  # fmt: skip
    values = np.array([[-9e5, -3.0, 0.2], [3e5, 4.0, 7.0]])
    np.testing.assert_allclose(effects.natural(effects.scaled(values)), values, rtol=1e-9)
    step = 1e-6
    for row in effects.scaled(values):
        slope = (effects.natural(row + step) - effects.natural(row - step)) / (2 * step)
        np.testing.assert_allclose(effects.slopes(row), slope, rtol=1e-4)
    row = np.array([0.1, 0.2, 0.3, -0.5, 0.2, 0.7, 0.4, -0.3, 0.9])
    np.testing.assert_allclose(effects.pack(effects.unpack(row)), row)


def test_time_to_go_counts_the_likelihood(straight, monkeypatch):
    """What is expected is never less than what is done, and ends at all that was solved."""
    seen, solved = [], Expected.solved

    def noted(expected, count):
        solved(expected, count)
        seen.append((expected.bar.n, expected.bar.total))

    monkeypatch.setattr(Expected, "solved", noted)
    found = fit.population(LINE, straight, **SHORT)
    done, expected = np.array(seen).T
    assert (expected >= done).all()
    counted = sum(found.complete.prepared.counts.values())
    assert done[-1] == counted
    assert expected[0] == pytest.approx(done[-1], rel=1.0)
