"""A library of virtual patients weighted by data: against conjugate posteriors, references, quadrature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fit_models import LINE, ORAL
from scipy.stats import multivariate_normal, norm

from fastcart import InputError, fit
from fastcart.fit import libraries, weighted_library
from fastcart.fit.reweighting import Weighted
from fastcart.sampling.density import log_density
from fastcart.sampling.design import Design

MEAN = fit.Observation("y", "a", fit.additive(0.7))
PRIOR = {"a": {"normal": (1.0, 2.0)}}


def values(patients: int = 4) -> pd.DataFrame:
    """A mean of each patient, measured once more in each than in the one before."""
    random = np.random.default_rng(2)
    rows = []
    for i in range(patients):
        rows += [(f"p{i}", t, random.normal(1.0 + i, 0.7), "y", 0) for t in range(i + 1)]
    return pd.DataFrame(rows, columns=["ID", "TIME", "DV", "DVID", "CENS"])


def library(table: pd.DataFrame, **options) -> fit.Library:
    how = dict(observations=MEAN, n=20_000) | options
    return fit.library(LINE, fit.read(table, LINE), how.pop("prior", PRIOR), **how)


@pytest.fixture(scope="module")
def means() -> fit.Library:
    return library(values())


def test_the_posterior_of_a_normal_mean(means):
    """Prior N(1, 4), variance of errors 0.49: the conjugate posterior, within the error that is said."""
    table = means.posteriors(quantiles=(0.1, 0.5, 0.9)).set_index("patient")
    for name, rows in values().groupby("ID"):
        precision = 1 / 4 + len(rows) / 0.49
        mean, sd = (1 / 4 + rows["DV"].sum() / 0.49) / precision, precision**-0.5
        found = table.loc[name]
        assert abs(found["mean"] - mean) < 4 * found["error"]
        # draws far from the mean weigh less than others: the error is no larger than of equal ones
        assert 0.5 < found["error"] * np.sqrt(found["effective"]) / sd < 1.1
        assert found["sd"] == pytest.approx(sd, rel=0.1)
        for level in (0.1, 0.5, 0.9):
            assert found[f"q{level:g}"] == pytest.approx(norm.ppf(level, mean, sd), abs=6 * found["error"])
        assert found["says"] == "ok"
        assert found["scaled_mean"] == found["mean"]


def test_errors_of_posterior_means_are_what_they_say():
    away = []
    y = values().groupby("ID")["DV"].agg(["sum", "size"])
    exact = (1 / 4 + y["sum"] / 0.49) / (1 / 4 + y["size"] / 0.49)
    for seed in range(2, 8):
        table = library(values(), n=4000, seed=seed).posteriors()
        away += ((table["mean"].to_numpy() - exact) / table["error"].to_numpy()).tolist()
    assert 0.6 < np.sqrt(np.mean(np.square(away))) < 1.5


def test_patients_that_are_given_the_same_share_solves(means):
    assert means.solves == means.n == 20_000
    assert "4 patients in 1 group" in means.summary()
    table = values().assign(c=lambda x: np.where(x["ID"] == "p2", 2.0, 1.0))
    other = library(table, n=300)
    assert other.solves == 600
    assert other.group.tolist() == [0, 0, 1, 0]


def test_a_limit_of_quantification_counts_by_its_probability():
    table = values(1).assign(DV=0.5, CENS=1)
    found = library(table)
    a = found.draws()["a"].to_numpy()
    weight = norm.cdf((0.5 - a) / 0.7)
    np.testing.assert_allclose(found.weights("p0"), weight / weight.sum(), rtol=1e-9, atol=1e-15)


def test_the_same_for_more_draws_threads_parts_and_folders(means, tmp_path, monkeypatch):
    first = means.draws(0, 500)
    assert library(values(), n=500, threads=1).draws().equals(first)
    whole = means.posteriors()
    monkeypatch.setattr(libraries, "_NUMBERS", 5_000)
    monkeypatch.setattr(weighted_library, "_WEIGHED", 20_000)
    pd.testing.assert_frame_equal(library(values(), threads=2).posteriors(), whole, check_exact=True)
    monkeypatch.setattr(libraries, "_HELD", 1_000)
    with pytest.raises(InputError, match="keep them in a folder"):
        library(values())
    kept = library(values(), keep=tmp_path / "library")
    pd.testing.assert_frame_equal(kept.posteriors(), whole, check_exact=True)
    parts = sorted((tmp_path / "library" / "parts").iterdir())
    assert len(parts) > 10
    before = parts[1].stat().st_mtime_ns
    parts[0].unlink()
    again = library(values(), keep=tmp_path / "library")
    assert parts[1].stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(again.posteriors(), whole, check_exact=True)
    assert again.failed == 0
    with pytest.raises(InputError, match="other inputs"):
        library(values(), keep=tmp_path / "library", seed=2)


def test_few_draws_are_warned_of():
    table = values(2)
    table.loc[table["ID"] == "p1", "DV"] = 9.0
    found = library(table, n=400)
    with pytest.warns(UserWarning, match="fewer than 200 effective draws .the least .*, patient 'p1'."):
        rows = found.posteriors().set_index("patient")
    assert rows.loc["p1", "says"] == "few draws"


def test_where_no_draw_is_possible_nothing_is_given():
    weighted = Weighted.of(np.full(5, -np.inf))
    assert not weighted.weights.any()
    assert weighted.effective == 0
    table = values(1).assign(DV=1e200)
    found = library(table, n=300)
    with pytest.warns(UserWarning, match="fewer than"):
        row = found.posteriors().iloc[0]
    assert row["says"] == "no draw"
    assert np.isnan(row[["mean", "sd", "q0.5", "error"]].astype(float)).all()
    with pytest.raises(InputError, match="No draw of the library is possible for patient 'p0'"):
        found.sample("p0", 3)


def test_error_parameters_are_given_or_drawn():
    unknown = fit.Observation("y", "a", fit.additive())
    found = library(values(), observations=unknown, n=500)
    with pytest.raises(InputError, match="'a_y' has no value"):
        found.weights("p1")
    with pytest.raises(InputError, match="no error parameter 'b_y'"):
        found.weights("p1", errors={"b_y": 1.0})
    known = library(values(), n=500).weights("p1")
    np.testing.assert_allclose(found.weights("p1", errors={"a_y": 0.7}), known)
    drawn = library(values(), observations=unknown, n=500, prior={**PRIOR, "a_y": {"log_normal": (0.7, 0.3)}})
    assert drawn.names == ("a", "a_y")
    rows = drawn.design.table()
    y = values().query("ID == 'p1'")["DV"].to_numpy()
    weight = norm.pdf(y, rows[["a"]], rows[["a_y"]]).prod(axis=1)
    np.testing.assert_allclose(drawn.weights("p1"), weight / weight.sum(), rtol=1e-8, atol=1e-40)
    assert "a_y" not in drawn.draws()


def test_samples_have_the_posterior(means):
    drawn = means.sample("p3", 4000, seed=3)
    row = means.posteriors().set_index("patient").loc["p3"]
    assert drawn["a"].mean() == pytest.approx(row["mean"], abs=5 * row["sd"] / np.sqrt(4000))
    assert drawn["a"].std() == pytest.approx(row["sd"], rel=0.1)
    assert means.sample("p3", 5).equals(means.sample("p3", 5))
    np.testing.assert_array_equal(drawn["a"], means.draws()["a"].to_numpy()[drawn["draw"]])


def test_a_start_is_the_maximum_of_a_population_of_means():
    """Balanced means: the closed form of one-way random effects."""
    random = np.random.default_rng(4)
    table = pd.DataFrame(
        [(i, t, y, "y") for i, a in enumerate(random.normal(2.0, 1.0, 40))
         for t, y in enumerate(a + 0.5 * random.standard_normal(5))], columns=["ID", "TIME", "DV", "DVID"],
    )  # fmt: skip
    found = library(table, observations=fit.Observation("y", "a", fit.additive()), n=4000).start()
    y = table["DV"].to_numpy().reshape(40, 5)
    within = y.var(axis=1, ddof=1).mean()
    between = y.mean(axis=1).var() - within / 5
    assert list(found) == ["a", "omega_a", "a_y"]
    assert found["a"] == pytest.approx(y.mean(), abs=0.03)
    assert found["a_y"] == pytest.approx(np.sqrt(within), rel=0.03)
    assert found["omega_a"] == pytest.approx(np.sqrt(between), rel=0.03)


@pytest.fixture(scope="module")
def theophylline() -> fit.FitData:
    table = pd.read_csv(Path(__file__).parent / "theophylline.csv")
    table["CMT"] = np.where(table["EVID"] == 1, "depot", "conc")
    return fit.read(table, ORAL)


CONCENTRATION = fit.Observation("conc", "center / V", fit.additive())
# adaptive quadrature with 35 nodes in each dimension
EXACT = {"ka": (0.45929, 0.40504), "CL": (1.01167, 0.07032), "V": (3.45385, 0.01849)}
POPULATION = {name: {"log_normal": (np.exp(mu), np.sqrt(v))} for name, (mu, v) in EXACT.items()}


@pytest.fixture(scope="module")
def oral(theophylline) -> fit.Library:
    return fit.library(ORAL, theophylline, POPULATION, observations=CONCENTRATION, n=30_000)


def test_conditional_means_of_theophylline(oral, references):
    known = pd.read_csv(references / "fit" / "theophylline_all_additive_individual.csv")
    with pytest.warns(UserWarning, match="effective draws"):
        table = oral.posteriors(errors={"a_conc": 0.69591})
    assert oral.solves == 11 * 30_000  # two patients got the same dose
    for name, rows in table.groupby("parameter"):
        away = np.abs(rows["scaled_mean"].to_numpy() - known[f"mean_ln_{name}"])
        assert (away < 4 * rows["error"].to_numpy()).all()
        assert (away < 0.15 * known[f"sd_ln_{name}"]).all()
        np.testing.assert_allclose(rows["scaled_sd"], known[f"sd_ln_{name}"], rtol=0.2)


def test_a_population_is_checked_by_weights(oral, theophylline):
    """-2 ln L at the exact estimates is 360.7007; a start from a wide prior is near these."""
    found = fit.population(
        ORAL, theophylline, random=["ka", "CL", "V"], iterations=(64, 20), accuracy=0.3, chains=8,
        observations=CONCENTRATION, starts=[{"ka": 1.6, "CL": 2.75, "V": 31.6, "a_conc": 0.7}],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="effective draws"):
        checked = oral.minus2LL(found)
    assert abs(checked.minus2LL - 360.70) < 4 * checked.error + 0.1
    assert checked.error < 1.0
    assert checked.effective.shape == (12,)
    again = fit.library(ORAL, theophylline, found, observations=CONCENTRATION, n=300)
    assert again.names == ("ka", "CL", "V")
    with pytest.raises(InputError, match="the library draws CL, V"):
        fit.library(
            ORAL, theophylline, {x: POPULATION[x] for x in ("CL", "V")}, observations=CONCENTRATION, n=100
        ).minus2LL(found)


def test_a_start_from_a_wide_prior_is_near_the_maximum(theophylline):
    wide = {
        "ka": {"log_normal": (1.0, 1.0)},
        "CL": {"log_normal": (3.0, 0.6)},
        "V": {"log_uniform": (15, 70)},
    }
    found = fit.library(ORAL, theophylline, wide, observations=CONCENTRATION, n=20_000).start()
    for name, (mu, variance) in EXACT.items():
        assert abs(np.log(found[name]) - mu) < 0.1 * np.sqrt(variance)
        assert found[f"omega_{name}"] == pytest.approx(np.sqrt(variance), rel=0.1)
    assert found["a_conc"] == pytest.approx(0.69591, rel=0.03)


@pytest.mark.parametrize(
    ("columns", "correlation"),
    [
        ({"x": {"uniform": (1, 3)}, "y": {"triangular": (0, 1, 4)}}, None),
        ({"x": {"log_uniform": (1, 30)}, "y": {"normal": (1, 2, 0, 4)}}, None),
        ({"x": {"log_normal": (2, 0.5)}, "y": {"log_normal": (2, 0.5, 1, 3)}}, None),
        ({"x": {"log_normal": (2, 0.5)}, "y": {"normal": (2, 0.5, 1, 3)}}, {("x", "y"): 0.7}),
    ],
)
def test_densities_of_samples_integrate_to_one_and_are_those_of_histograms(columns, correlation):
    design = Design(columns, 200_000, seed=1, correlation=correlation)
    table = design.table()
    grids = [np.linspace(table[x].min(), table[x].max(), 301) for x in ("x", "y")]
    cells = [(grid[1:] + grid[:-1]) / 2 for grid in grids]
    x, y = np.meshgrid(*cells, indexing="ij")
    density = np.exp(log_density(design, {"x": x.ravel(), "y": y.ravel()})).reshape(x.shape)
    area = np.diff(grids[0])[0] * np.diff(grids[1])[0]
    assert density.sum() * area == pytest.approx(1.0, abs=0.02)
    box = (table["x"] < np.median(table["x"])) & (table["y"] < np.quantile(table["y"], 0.3))
    inside = (x < np.median(table["x"])) & (y < np.quantile(table["y"], 0.3))
    assert density[inside].sum() * area == pytest.approx(box.mean(), abs=0.02)
    outside = log_density(design, {"x": np.array([-1.0]), "y": np.array([50.0])})
    assert outside[0] == -np.inf or correlation is not None


def test_a_correlated_density_without_limits_is_that_of_a_normal_distribution():
    design = Design(
        {"x": {"normal": (1, 2)}, "y": {"normal": (0, 3)}}, 5, seed=1, correlation={("x", "y"): 0.5}
    )
    table = design.table()
    exact = multivariate_normal([1, 0], [[4, 3], [3, 9]]).logpdf(table[["x", "y"]])
    np.testing.assert_allclose(log_density(design, {n: table[n].to_numpy() for n in "xy"}), exact)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(prior={"q": {"normal": (0, 1)}}), "'q' is not a parameter or state"),
        (dict(prior={"a": 1.0}), "draws nothing"),
        (dict(prior={"c": {"normal": (0, 1)}}), "allowed is at least 0"),
        (dict(n=0), "The number of patients n must be"),
        (dict(seed=-1), "The seed must be a whole number"),
    ],
)
def test_bad_input_is_one_sentence(change, sentence):
    with pytest.raises(InputError, match=sentence):
        library(values(), **change)


def test_other_bad_input_is_one_sentence(means):
    with pytest.raises(InputError, match="'p9' is not among those of the data"):
        means.weights("p9")
    with pytest.raises(InputError, match="The quantiles must lie between 0 and 1"):
        means.posteriors(quantiles=(0.0,))
    with pytest.raises(InputError, match="is compared with the result of"):
        means.minus2LL(3)
