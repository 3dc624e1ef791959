"""Figure 2 of Li & Lei 2025: the published coefficients from the published parameters, and new draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart.errors import InputError
from fastcart.papers.li_lei_2025 import figure2_study as study
from fastcart.papers.li_lei_2025 import published_values as paper
from fastcart.sensitivity_analysis.design import Design

pytest.importorskip("SALib")


# --- the published parameters ---------------------------------------------------------------------


@pytest.fixture
def rows(published_results) -> pd.DataFrame:
    return pd.read_csv(published_results / "sensitivity_rows_0001_0500.csv")


def design_of(rows):
    names = [name for name in rows.columns if name not in ("patient", "published_pfs_day")]
    x = rows[names].to_numpy()
    return Design("pearson", tuple(names), np.stack([x.min(axis=0), x.max(axis=0)], axis=1), len(x), x)


def test_published_coefficients_to_three_digits(rows):
    patients = rows.drop(columns="published_pfs_day")
    pfs = fastcart.solve("li_lei", patients, engine="published").endpoints["pfs"].to_numpy()
    design = design_of(rows)
    found = study.responder_correlations(design, pfs)
    theirs = study.responder_correlations(design, rows["published_pfs_day"].to_numpy(float))
    assert found.used[0] == paper.PUBLISHED_RESPONDERS
    assert len(rows) == paper.PUBLISHED_PATIENTS
    assert set(design.names) == set(paper.PFS_CORRELATION)
    for name, r, published in zip(
        design.names, found.value["pearson"][:, 0], theirs.value["pearson"][:, 0], strict=True
    ):
        assert paper.round_digits(r, 3) == paper.PFS_CORRELATION[name] == paper.round_digits(published, 3)


def test_published_parameters_vary_by_ten_percent_but_lambda_t4_i2_around_another_value(rows):
    defaults = fastcart.models.get("li_lei").default_parameters()
    design = design_of(rows)
    for name, (low, high) in zip(design.names, design.bounds, strict=True):
        middle = study.LAMBDA_T4_I2 if name == "lambda_T4_I2" else defaults[name]
        assert 0.9 * middle * 0.999 < low < 0.91 * middle, name
        assert 1.09 * middle < high < 1.1 * middle * 1.001, name
    assert defaults["lambda_T4_I2"] == 0.25  # Table 1: erratum 9


def test_an_accurate_solution_of_the_published_parameters_has_close_coefficients(rows):
    patients = rows.drop(columns="published_pfs_day")
    pfs = fastcart.solve("li_lei", patients).endpoints["pfs"].to_numpy()
    found = study.responder_correlations(design_of(rows), pfs).value["pearson"][:, 0]
    np.testing.assert_allclose(found, list(paper.PFS_CORRELATION.values()), atol=0.05)


# --- new draws ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    return study.run_study(sample=4000, progress=False)


def test_what_varies(small):
    for result in (small.scheme, small.large, small.sobol):
        bounds = dict(zip(result.design.names, result.design.bounds, strict=True))
        assert len(bounds) == 41
        assert bounds["lambda_T4_I2"] == pytest.approx([0.315, 0.385])
        assert bounds["lambda_C"] == pytest.approx([2.97, 3.63])
        assert (result.counts["failed"] == 0).all()
        assert (result.counts["used"] == result.counts["patients"]).all()


@pytest.mark.parametrize("solution", ["published scheme", "accurate"])
def test_new_draws_agree_with_the_paper(small, solution):
    table = small.over_responders(solution)
    assert set(table["value"].abs().nlargest(2).index) == {"lambda_C", "k_TE"}
    assert table.loc["lambda_C", "high"] < 0 < table.loc["k_TE", "low"]
    early, late = (small.at_day(solution, day) for day in (80, 200))
    assert early.loc["lambda_C", "low"] > 0 > early.loc["k_TE", "high"]
    assert late.loc["d_C", "high"] < early.loc["d_C", "low"] - 0.3
    assert abs(late.loc["k_TE", "value"]) < 0.1


def test_published_coefficients_lie_where_those_of_so_few_patients_lie(small):
    from fastcart.papers.li_lei_2025.figure2 import sampling_intervals

    expected = sampling_intervals(small)
    published = pd.Series(paper.PFS_CORRELATION)[expected.index]
    inside = (published >= expected["low"]) & (published <= expected["high"])
    assert inside.sum() >= 36  # 39 of 41 are expected


def test_killing_must_keep_up_with_growth(small):
    boundary = small.boundary
    assert boundary.threshold == pytest.approx(0.98, abs=0.01)
    assert boundary.wrong < 0.01
    assert boundary.responders == pytest.approx(0.872, abs=0.02)
    assert boundary.fraction["patients"].sum() == 4000
    hits = (boundary.fraction["patients"] * boundary.fraction["responders"]).sum()
    assert hits / 4000 == pytest.approx(boundary.responders)


def test_the_boundary_of_an_exact_rule_is_found():
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.uniform(3, 4, 500), rng.uniform(3, 4, 500)])
    design = Design("pearson", ("lambda_C", "k_TE"), np.array([[3.0, 4.0], [3.0, 4.0]]), 500, x)

    class Result:
        pass

    result = Result()
    result.design = design
    result.values = {"y": np.where(x[:, 1] > 0.95 * x[:, 0], 80.0, 0.0)[:, None]}
    result.outputs = Result()
    result.outputs.names = ["pfs"]
    boundary = study.find_boundary(result)
    assert boundary.wrong == 0
    assert boundary.threshold == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("sample", [0, 999, 1e6, "many"])
def test_a_large_sample_that_is_none(sample):
    with pytest.raises(InputError, match="large sample of Figure 2"):
        study.run_study(sample=sample)
