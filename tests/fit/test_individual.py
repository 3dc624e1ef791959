"""Fits of individuals and profiles: against linear least squares, which are exact, and against the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fit_models import LINE, ORAL, line_table, oral_curve
from scipy.optimize import minimize
from scipy.stats import norm

from fastcart import SolveOptions, fit
from fastcart.errors import InputError
from fastcart.fit.levenberg import Bounds
from fastcart.fit.levenberg import minimize as levenberg
from fastcart.fit.normal import Equations

WIDE = {"a": (-100, 100), "b": (-10, 10)}
LINE_OF = fit.Observation("1", "a + b * t", fit.additive(0.3))


def least_squares(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates, standard errors for a deviation of 0.3, and sums of squares, by linear algebra."""
    values, errors, sums = [], [], []
    for _, rows in table.groupby("ID", sort=False):
        design = np.column_stack([np.ones(len(rows)), rows["TIME"]])
        found, rest = np.linalg.lstsq(design, rows["DV"], rcond=None)[:2]
        values.append(found)
        errors.append(0.3 * np.sqrt(np.diag(np.linalg.inv(design.T @ design))))
        sums.append(rest[0] / 0.09)
    return np.array(values), np.array(errors), np.array(sums)


@pytest.fixture(scope="module")
def line() -> fit.IndividualFit:
    data = fit.read(line_table(), LINE)
    return fit.individual(LINE, data, observations=LINE_OF, estimate=WIDE, starts=4)


def test_linear_least_squares(line):
    values, errors, sums = least_squares(line_table())
    np.testing.assert_allclose(line.values, values, rtol=1e-6)
    np.testing.assert_allclose(line.standard_errors, errors, rtol=1e-5)
    np.testing.assert_allclose(line.cost, sums, rtol=1e-9)
    size = len(line_table()) // 3
    np.testing.assert_allclose(line.minus2LL, sums + size * (2 * np.log(0.3) + np.log(2 * np.pi)), rtol=1e-9)
    assert line.not_identifiable == {}
    table = line.table()
    assert (table["says"] == "ok").all()
    np.testing.assert_allclose(table["high"] - table["low"], 2 * 1.959964 * errors.ravel(), rtol=1e-4)
    assert line.patients()["found_by"].min() >= 1
    fall = line.waterfall()
    assert (fall.groupby("patient")["cost"].diff().dropna() >= 0).all()
    assert fall["rank"].min() == 1
    assert "3 patients, 2 parameters" in line.summary()
    np.testing.assert_allclose(line.singular_values[0].prod() ** 2, 1 / np.linalg.det(
        np.linalg.inv(_design(0).T @ _design(0)) * 0.09), rtol=1e-4)  # fmt: skip


def _design(patient: int) -> np.ndarray:
    rows = line_table().query(f"ID == 'p{patient}'")
    return np.column_stack([np.ones(len(rows)), rows["TIME"]])


def test_an_error_that_is_estimated():
    """The likelihood has its maximum where the deviation is that of the residuals."""
    data = fit.read(line_table(measurements=30), LINE)
    one = fit.Observation("1", "a + b * t", fit.additive())
    found = fit.individual(LINE, data, observations=one, estimate=WIDE, starts=3)
    values, _, sums = least_squares(line_table(measurements=30))
    assert found.names == ("a", "b", "a_1")
    np.testing.assert_allclose(found.values[:, :2], values, rtol=1e-4)
    np.testing.assert_allclose(found.values[:, 2], np.sqrt(sums * 0.09 / 30), rtol=2e-4)
    np.testing.assert_allclose(found.standard_errors[:, 2] / found.values[:, 2], np.sqrt(1 / 60), rtol=1e-4)


def test_measurements_that_say_nothing_of_their_error_give_no_errors():
    """Two points on a line, three points, and enough of them; in two patients what is estimated."""
    table = line_table(4)
    sizes = [2, 3, 8, 8]
    table = pd.concat([rows.head(n) for (_, rows), n in zip(table.groupby("ID"), sizes, strict=True)])
    one = fit.Observation("1", "a + b * t", fit.additive())
    how = dict(observations=one, estimate=WIDE, starts=3, options=SolveOptions(rtol=1e-8, t_end=10.0))
    found = fit.individual(LINE, fit.read(table, LINE), **how)
    says = found.table().groupby("patient")["says"].unique()
    assert [x.tolist() for x in says] == [["error at its bound"], ["too few measurements"], ["ok"], ["ok"]]
    assert np.isnan(found.standard_errors[:2]).all()
    assert np.isnan(found.table()["high"].to_numpy()[:6]).all()
    assert np.isfinite(found.standard_errors[2:]).all()
    assert "patient 'p0': error at its bound" in found.summary()
    # neighbours of another size say nothing of a patient's bounds
    other = table.assign(DV=np.where(table["ID"] == "p0", table["DV"], 1e6 * table["DV"]))
    again = fit.individual(LINE, fit.read(other, LINE), **how)
    alone = fit.individual(LINE, fit.read(table[table["ID"] == "p0"], LINE), **how)
    for fits in (again, alone):
        np.testing.assert_array_equal(fits.values[0], found.values[0])
        assert fits.cost[0] == found.cost[0]


def test_bounds_bind_and_are_named():
    data = fit.read(line_table(), LINE)
    found = fit.individual(
        LINE, data, observations=LINE_OF, estimate={"a": (-9, 9), "b": (-0.3, 3)}, starts=3
    )
    np.testing.assert_array_equal(found.values[:, 1], -0.3)
    for i, (_, rows) in enumerate(line_table().groupby("ID", sort=False)):
        assert found.values[i, 0] == pytest.approx((rows["DV"] + 0.3 * rows["TIME"]).mean(), rel=1e-6)
    assert (found.table().query("parameter == 'b'")["says"] == "at lower bound").all()


def test_what_is_not_identifiable_is_named():
    """Of a product only the product is known; the rest is."""
    data = fit.read(line_table(), LINE)
    one = fit.Observation("1", "a * c + b * t", fit.additive(0.3))
    wide = {"a": (0.01, 100, "log"), "b": (-10, 10), "c": (0.01, 100, "log")}
    found = fit.individual(LINE, data, observations=one, estimate=wide, starts=3)
    assert found.not_identifiable == {f"p{i}": ("a", "c") for i in range(3)}
    values, errors, _ = least_squares(line_table())
    np.testing.assert_allclose(found.values[:, 0] * found.values[:, 2], values[:, 0], rtol=1e-5)
    np.testing.assert_allclose(found.standard_errors[:, 1], errors[:, 1], rtol=1e-3)
    assert np.isnan(found.standard_errors[:, [0, 2]]).all()
    assert "patient 'p1': not identifiable: a, c" in found.summary()


def test_what_is_fixed_in_one_patient():
    data = fit.read(line_table(), LINE)
    found = fit.individual(
        LINE, data, observations=LINE_OF, estimate=WIDE, starts=3, fixed={"p1": {"b": -0.5}},
        guesses={"a": [1.0, 2.0, 3.0]},
    )  # fmt: skip
    values, _, _ = least_squares(line_table())
    np.testing.assert_allclose(found.values[[0, 2]], values[[0, 2]], rtol=1e-6)
    assert found.values[1, 1] == -0.5
    assert found.table()["says"].tolist()[3] == "fixed"


def test_censored_measurements_count_by_their_probability():
    """Against a general optimizer of the likelihood by scipy."""
    table = line_table(1, measurements=20)
    table["CENS"] = (table["DV"] < 0.0).astype(int)
    table.loc[table["CENS"] == 1, "DV"] = 0.0
    assert table["CENS"].sum() > 3
    data = fit.read(table, LINE)
    found = fit.individual(LINE, data, observations=LINE_OF, estimate=WIDE, starts=3)

    def minus2LL(x: np.ndarray) -> float:
        z = (table["DV"] - x[0] - x[1] * table["TIME"]) / 0.3
        each = np.where(table["CENS"] == 1, norm.logcdf(z), norm.logpdf(z) - np.log(0.3))
        return float(-2 * each.sum())

    best = minimize(minus2LL, [2.0, -0.5], method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-9))
    assert found.minus2LL[0] == pytest.approx(best.fun, rel=1e-7)
    np.testing.assert_allclose(found.values[0], best.x, rtol=1e-3)


def oral_data(noise: float, seed: int = 0) -> fit.FitData:
    random = np.random.default_rng(seed)
    parts = []
    for i, theta in enumerate(TRUTH):
        time = np.linspace(0.5, 24, 12)
        value = oral_curve(time, 300.0, *theta) * np.exp(noise * random.standard_normal(12))
        dose = pd.DataFrame({"ID": [i], "TIME": [0.0], "DV": ["."], "AMT": [300.0]})
        parts += [dose, pd.DataFrame({"ID": i, "TIME": time, "DV": value, "AMT": 0.0})]
    return fit.read(pd.concat(parts), ORAL, observables={1: "conc"})


TRUTH = np.array([[1.2, 2.5, 28.0], [0.7, 4.0, 35.0]])
ABSORBED = {"ka": (0.3, 20, "log"), "CL": (0.1, 50, "log"), "V": (3, 300, "log")}
CONCENTRATION = fit.Observation("conc", "center / V", fit.lognormal(0.1))


def test_the_truth_is_found():
    found = fit.individual(ORAL, oral_data(0.0), observations=CONCENTRATION, estimate=ABSORBED, starts=4)
    np.testing.assert_allclose(found.values, TRUTH, rtol=1e-4)
    assert found.cost.max() < 1e-6


def test_the_same_for_any_threads_and_neighbours():
    data = oral_data(0.1)
    how = dict(observations=CONCENTRATION, estimate=ABSORBED, starts=4, seed=3)
    first = fit.individual(ORAL, data, threads=1, **how)
    second = fit.individual(ORAL, data, threads=2, **how)
    pd.testing.assert_frame_equal(first.waterfall(), second.waterfall(), check_exact=True)
    other = fit.individual(ORAL, data, threads=2, **{**how, "seed": 4})
    np.testing.assert_allclose(other.values, first.values, rtol=1e-4)


def test_the_same_in_any_order_of_patients(line):
    table = line_table()
    other = pd.concat([table[table["ID"] == x] for x in ("p2", "p0", "p1")], ignore_index=True)
    found = fit.individual(LINE, fit.read(other, LINE), observations=LINE_OF, estimate=WIDE, starts=4)
    np.testing.assert_array_equal(found.values[[1, 2, 0]], line.values)
    table, moved = line.waterfall(), found.waterfall()
    for name in ("p0", "p1", "p2"):
        columns = [x for x in table if x != "start"]
        mine, theirs = (x[x["patient"] == name][columns].reset_index(drop=True) for x in (table, moved))
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


@pytest.mark.parametrize("points", [1, 2])
def test_a_profile_needs_three_points(line, points):
    with pytest.raises(InputError, match=f"at least 3 points.* not {points}"):
        fit.profile(line, "a", points=points)


def test_a_patient_whose_solves_all_fail_is_named():
    with pytest.raises(InputError, match="No start of patient 0 can be solved"):
        fit.individual(
            ORAL, oral_data(0.1), observations=CONCENTRATION, estimate=ABSORBED, starts=2,
            options=SolveOptions(max_steps=2),
        )  # fmt: skip


def test_a_profile_of_a_linear_parameter_is_a_parabola(line):
    values, errors, _ = least_squares(line_table())
    profile = fit.profile(line, "b", points=11)
    rise = ((profile.grid - values[:, [1]]) / errors[:, [1]]) ** 2
    np.testing.assert_allclose(profile.rise, rise, rtol=1e-4, atol=1e-4)
    ends = profile.intervals()
    np.testing.assert_allclose(ends["high"] - ends["low"], 2 * 1.959964 * errors[:, 1], rtol=1e-3)
    assert (ends["says"] == "ok").all()
    assert profile.restarted == ()
    table = profile.table()
    assert len(table) == 33
    assert (table["at_bound"].to_numpy()[1:10] == "").all()
    assert "patient 'p0': b" in profile.summary()


def test_a_profile_says_where_there_is_no_end():
    data = fit.read(line_table(1), LINE)
    one = fit.Observation("1", "a * c + b * t", fit.additive(0.3))
    wide = {"a": (0.01, 100, "log"), "b": (-10, 10), "c": (0.01, 100, "log")}
    found = fit.individual(LINE, data, observations=one, estimate=wide, starts=3)
    profile = fit.profile(found, "a", points=9, starts=1)
    inside = (profile.grid[0] > 0.1) & (profile.grid[0] < 10)
    assert profile.rise[0, inside].max() < 1e-3
    # where a is smallest, c cannot make up for it
    assert profile.intervals()["says"].tolist() == ["no upper end"]
    assert profile.table()["at_bound"].iloc[0] == "c"


def test_a_profile_that_goes_lower_starts_the_fit_anew():
    """A fit that was stopped too early is not taken for an optimum."""
    data = oral_data(0.1)
    how = dict(observations=CONCENTRATION, estimate=ABSORBED)
    early = fit.individual(ORAL, data, starts=1, iterations=1, **how)
    good = fit.individual(ORAL, data, starts=4, **how)
    assert (early.cost > good.cost + 0.01).any()
    profile = fit.profile(early, "CL", points=5, patients=[0, 1])
    assert len(profile.restarted) >= 1
    np.testing.assert_allclose(profile.fit.cost, good.cost, rtol=1e-2)
    assert (profile.rise > -1e-3).all()


def test_rosenbrock_within_bounds():
    """The method alone: curved valleys, bounds that cut the minimum off, problems without a value."""

    def evaluate(x: np.ndarray, rows: np.ndarray) -> Equations:
        a, b = x.T
        residuals = np.stack([1 - a, 10 * (b - a * a)], axis=1)
        slopes = np.zeros((len(x), 2, 2))
        slopes[:, 0, 0], slopes[:, 1, 0], slopes[:, 1, 1] = -1, -20 * a, 10
        cost = (residuals**2).sum(axis=1)
        cost[rows == 2] = np.inf
        gradient = np.einsum("irk,ir->ik", slopes, residuals)
        return Equations(cost, gradient, np.einsum("irj,irk->ijk", slopes, slopes))

    start = np.array([[-1.9, -2.0], [-1.2, 0.5], [0.0, 0.0], [-1.2, -1.0]])
    free = np.ones((4, 2), dtype=bool)
    free[3, 0] = False
    found = levenberg(evaluate, start, Bounds(np.full(2, -2.0), np.array([2.0, 0.5]), free), iterations=200)
    assert found.how.tolist() == ["converged", "converged", "failed", "converged"]
    # on b = 0.5 the best a solves 2 (a - 1) + 400 a (a^2 - 0.5) = 0
    root = max(np.roots([400.0, 0.0, -198.0, -2.0]).real)
    np.testing.assert_allclose(found.x[:2], [[root, 0.5]] * 2, rtol=1e-6)
    np.testing.assert_allclose(found.x[3], [-1.2, 0.5], rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(estimate={}), "a mapping of names to bounds"),
        (dict(estimate={"kb": (1, 2)}), "no parameter or state 'kb' to estimate"),
        (dict(estimate={"a": (2, 1)}), "with low < high"),
        (dict(estimate={"a": (0, 1, "log")}), "must be above 0 for the scale 'log'"),
        (dict(estimate={"a": (1, 2, "ln")}), "must be 'linear' or 'log'"),
        (dict(estimate={"c": (-1, 2)}), "the model allows 0 to inf"),
        (dict(fixed={"p9": {"a": 1.0}}), "patient 'p9' of what is fixed"),
        (dict(fixed={"p0": {"c": 1.0}}), "names 'c', which is not estimated"),
        (dict(guesses={"a": [1.0, 2.0]}), "must be a number, or one for each patient"),
        (
            dict(estimate={"c": (0, 2)}, fixed={"p1": {"c": -1.0}}),
            "'p1' is -1, but the model allows 0 to inf",
        ),
        (dict(guesses={"a": np.nan}), "of patient 'p0' must lie within the bounds, -100 to 100, not nan"),
        (
            dict(guesses={"a": [1.0, 101.0, 2.0]}),
            "patient 'p1' must lie within the bounds, -100 to 100, not 101",
        ),
        (dict(guesses=3), "guesses must be a mapping such as {'k': 0.1}, not 3"),
        (dict(guesses={"a": "x"}), "must be a number, or one for each patient"),
        (dict(guesses={"k": 1.0}), "name 'k', which is not estimated"),
        (dict(starts=0), "number of starts must be a whole number"),
        (dict(seed=-1), "seed must be a whole number"),
    ],
)
def test_bad_fits_get_one_sentence(changes, says):
    how = dict(observations=LINE_OF, estimate=WIDE, starts=1)
    with pytest.raises(InputError) as caught:
        fit.individual(LINE, fit.read(line_table(), LINE), **{**how, **changes})
    assert says in str(caught.value)


def test_bad_profiles_get_one_sentence(line):
    for arguments, says in (
        ((3, "a"), "made of a fit of individuals"),
        ((line, "d"), "no parameter 'd'"),
    ):
        with pytest.raises(InputError) as caught:
            fit.profile(*arguments)
        assert says in str(caught.value)
    with pytest.raises(InputError, match="'p7' is not in the fit"):
        fit.profile(line, "a", patients=["p7"])


def test_a_fit_draws_itself():
    table = line_table()
    table["CENS"] = [int(k == 7) for k in range(len(table))]
    found = fit.individual(LINE, fit.read(table, LINE), observations=LINE_OF, estimate=WIDE, starts=3, seed=1)
    figure = found.plot()
    assert [axes.get_title("left") for axes in figure.axes if axes.axison] == [
        f"Patient p{i}" for i in range(3)
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "fitted",
        "measured",
        "below the limit",
    ]
    assert figure.axes[0].get_xlabel() == "Time (days)"
    (curve, dots, limit) = figure.axes[0].lines
    own = table[table["ID"] == "p0"]
    assert dots.get_ydata().tolist() == own["DV"][own["CENS"] == 0].to_list()
    assert limit.get_xdata().tolist() == own["TIME"][own["CENS"] == 1].to_list()
    assert len(found.plot("p1").axes) == 1
    with pytest.raises(InputError, match="not in the fit"):
        found.plot("p9")


def two_kinds(values: int = 8) -> fit.FitData:
    table = line_table(2).assign(DVID="tumor")
    other = line_table(2, seed=5).assign(DVID="IL6")
    other["DV"] += 30.0
    other["CENS"] = (other.groupby("ID").cumcount() >= values).astype(int)
    return fit.read(pd.concat([table, other]).fillna({"CENS": 0}), LINE)


def test_what_is_not_fitted_is_said():
    one = fit.Observation("tumor", "a + b * t", fit.additive(0.3))
    found = fit.individual(LINE, two_kinds(), observations=one, estimate=WIDE, starts=3)
    assert "IL6: 16 measurements; not used, for no observation names this kind" in found.summary()
    assert "tumor: 16 measurements;" not in found.summary()
    said = found.search.prepared.data.summary(used=["tumor"]).splitlines()
    assert [line.split(":")[0] for line in said if "not used" in line] == ["IL6"]
    assert "not used" not in found.search.prepared.data.summary()


def test_starts_are_counted_with_those_around_the_best():
    found = fit.individual(LINE, two_kinds(), observations=LINE_TUMOR, estimate=WIDE, starts=8)
    assert "11 starts each (with those anew around the best)" in found.summary()


def test_an_error_of_few_values_is_not_reliable():
    il6 = fit.Observation("IL6", "a + b * t + 30", fit.additive())
    found = fit.individual(LINE, two_kinds(4), observations=[LINE_TUMOR, il6], estimate=WIDE, starts=3)
    table = found.table()
    assert set(table.loc[table["parameter"] == "a_IL6", "says"]) == {"few measured values"}
    assert set(table.loc[table["parameter"] != "a_IL6", "says"]) == {"ok"}
    assert "a_IL6 is not reliable in 2 of 2 patients" in found.summary()
    enough = fit.individual(LINE, two_kinds(5), observations=[LINE_TUMOR, il6], estimate=WIDE, starts=3)
    assert set(enough.table()["says"]) == {"ok"}
    assert "not reliable" not in enough.summary()


LINE_TUMOR = fit.Observation("tumor", "a + b * t", fit.additive(0.3))


@pytest.mark.parametrize("cell", ["<2", "BLQ"])
def test_a_limit_in_the_cell_of_a_measurement_is_pointed_to_its_column(cell):
    table = line_table(1).astype({"DV": object})
    table.loc[3, "DV"] = cell
    with pytest.raises(
        InputError, match=f"holds '{cell}' in row 4, where a number belongs; .*DV is the limit.*CENS is 1"
    ):
        fit.read(table, LINE)


def test_a_limit_of_zero_is_no_limit_of_logarithms():
    table = line_table(1).assign(CENS=0)
    table["DV"] = table["DV"].abs() + 1.0
    table.loc[2, ["DV", "CENS"]] = 0.0, 1
    one = fit.Observation("1", "a", fit.lognormal(0.2))
    with pytest.raises(InputError, match=r"row 3 is censored .CENS 1. and has the DV 0.*must hold the limit"):
        fit.individual(LINE, fit.read(table, LINE), observations=one, estimate={"a": (0.1, 10)}, starts=2)
