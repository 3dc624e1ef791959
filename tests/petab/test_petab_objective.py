"""Objectives and gradients against a conversion in closed form, and published objectives."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import petab_problems
import pytest

pytest.importorskip("petab")
pytest.importorskip("libsbml")

import fastcart
import fastcart.petab

LN10 = math.log(10.0)


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return fastcart.petab.load(petab_problems.write(tmp_path_factory.mktemp("petab")), threads=1)


def conversion(t, k1, k2, a, b):
    """A of A <-> B."""
    rest = (a + b) * k2 / (k1 + k2)
    return rest + (a - rest) * math.exp(-(k1 + k2) * t)


def expected(k1, k2, a0, scale, sd):
    def normal(m, f, s):
        return 0.5 * ((m - f) / s) ** 2 + math.log(s * math.sqrt(2.0 * math.pi))

    def log10(m, f, s):
        return normal(math.log10(m), math.log10(f), s) + math.log(m * LN10)

    def laplace(m, f, s):
        return abs(m - f) / s + math.log(2.0 * s)

    total = normal(2.2, scale * conversion(1, k1, k2, a0, 0), sd)
    total += normal(1.9, 2.0 * conversion(3, k1, k2, a0, 0), 0.3)
    whole = a0 + 3.0
    total += log10(2.5, whole - conversion(2, k1, k2, a0, 3.0) + 0.1, sd)
    # B starts the pre-equilibration at 1; the rest is that of k1 = 0.3
    steady = (a0 + 1.0) * k2 / (0.3 + k2)
    total += log10(1.1, a0 + 1.0 - conversion(1.5, k1, k2, steady, a0 + 1.0 - steady) + 0.1, sd)
    f = conversion(0.5, k1, k2, a0, 0)
    total += laplace(1.0, f, sd + 0.1 * f)
    f = whole * k2 / (k1 + k2)
    return total + laplace(2.0, f, sd + 0.1 * f)


def test_objective_is_the_closed_form(problem):
    random = np.random.default_rng(3)
    theta = problem.nominal + 0.2 * random.standard_normal((5, 5))
    theta[:, 2] = np.abs(theta[:, 2])
    answer = [expected(*row) for row in problem.natural(theta)]
    np.testing.assert_allclose(problem.objective(theta), answer, rtol=1e-7)
    assert problem.objective() == pytest.approx(expected(0.8, 0.6, 2.0, 1.5, 0.2), rel=1e-8)


def test_rows_do_not_depend_on_their_neighbours(problem):
    theta = np.array([problem.nominal, problem.nominal + 0.1, problem.nominal - 0.1])
    together = problem.objective(theta)
    assert [problem.objective(row) for row in theta] == list(together)


def test_gradient_is_that_of_the_closed_form(problem):
    theta = problem.nominal + np.array([0.1, -0.2, 0.3, 0.05, -0.1])
    slopes = []
    for k in range(5):
        beside = np.array([theta, theta])
        beside[:, k] += (1e-5, -1e-5)
        high, low = (expected(*row) for row in problem.natural(beside))
        slopes.append((high - low) / 2e-5)
    assert problem.differentiable
    np.testing.assert_allclose(problem.gradient(theta), slopes, rtol=1e-8, atol=1e-8)


def test_differences_agree_with_sensitivities(problem):
    natural = problem.natural(problem.nominal[np.newaxis])
    from fastcart.petab.likelihood import CENTRAL
    from fastcart.petab.slopes import gradient_of, with_slopes

    likelihood = problem.likelihood
    beside = gradient_of(likelihood.tight.parts(natural, by=CENTRAL)[0], likelihood)
    np.testing.assert_allclose(beside, gradient_of(with_slopes(likelihood, natural), likelihood), rtol=1e-5)


def test_simulations_are_what_is_compared(problem):
    table = problem.simulate()
    assert table["simulation"].iloc[0] == pytest.approx(1.5 * conversion(1, 0.8, 0.6, 2.0, 0.0), rel=1e-8)
    assert list(table["observableId"]) == ["a", "a", "b", "b", "l", "l"]
    assert problem.conditions[2] == ("before", "after")


def test_priors_are_added(tmp_path):
    rows = list(petab_problems.PARAMETERS)
    rows[0] += "\tobjectivePriorType\tobjectivePriorParameters"
    rows[1] += "\tparameterScaleNormal\t0;0.5"
    rows[2] += "\tlogNormal\t-1;2"
    rows[3] += "\tlaplace\t1;0.5"
    rows[4:] = [row + "\t\t" for row in rows[4:]]
    found = fastcart.petab.load(petab_problems.write(tmp_path, parameters=rows), threads=1)
    half = 0.5 * math.log(2.0 * math.pi)
    prior = 0.5 * (math.log10(0.8) / 0.5) ** 2 + math.log(0.5) + half
    prior += 0.5 * ((math.log(0.6) + 1) / 2) ** 2 + math.log(2.0) + half + math.log(0.6)
    prior += 1.0 / 0.5 + math.log(2 * 0.5)
    assert found.objective(priors=True) - found.objective() == pytest.approx(prior, rel=1e-12)
    by = found.gradient(priors=True) - found.gradient()
    slopes = [math.log10(0.8) / 0.25, (math.log(0.6) + 1) / 4 + 1.0, 2.0, 0.0, 0.0]
    np.testing.assert_allclose(by, slopes, rtol=1e-9, atol=1e-9)


def test_a_condition_without_a_steady_state_is_infinite_and_counted(tmp_path):
    # without the way back and with what grows without an end
    grows = petab_problems.SBML.replace(
        '<listOfReactants><speciesReference species="B" stoichiometry="1" constant="true"/>'
        "</listOfReactants>",
        "",
    ).replace("<ci>k2</ci><ci>B</ci>", "<ci>k2</ci>")
    found = fastcart.petab.load(petab_problems.write(tmp_path, model=grows), threads=1)
    at = found.evaluate()
    assert at.summary()["no_steady_state"] == 2
    assert at.failed == 2
    assert np.isinf(at.objective).all()
    assert np.isnan(found.gradient()).all()


REFERENCES = {
    "Boehm_JProteomeRes2014": 138.2219980, "Crauste_CellSystems2017": 190.9639776,
    "Perelson_Science1996": 432.0385498,
}  # fmt: skip
FURTHER = ["Borghans_BiophysChem1997", "Bruno_JExpBot2016", "Elowitz_Nature2000", "Rahman_MBS2016"]
LARGE = "Bachmann_MSB2011"


@pytest.mark.parametrize("name", [*REFERENCES, *FURTHER, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_published_problems_at_their_nominal_parameters(references: Path, name: str):
    path = references / "petab" / name / f"{name}.yaml"
    objective = fastcart.petab.load(path, threads=1).objective()
    assert objective == pytest.approx(of_published_simulations(path), abs=1e-3)
    if name in REFERENCES:
        assert objective == pytest.approx(REFERENCES[name], rel=1e-6)


def of_published_simulations(path: Path) -> float:
    """Return the objective of the simulations that come with a problem, by the package petab."""
    import pandas as pd
    from petab.v1 import Problem
    from petab.v1.calculate import calculate_llh

    problem = Problem.from_yaml(path)
    simulated = pd.read_csv(next(path.parent.glob("simulatedData*")), sep="\t")
    simulated = simulated.rename(columns={"measurement": "simulation"})
    order = ["observableId", "simulationConditionId", "time"]
    measured = problem.measurement_df.sort_values(order, kind="stable")
    values = simulated.sort_values(order, kind="stable")["simulation"]
    simulated = measured.drop(columns="measurement").assign(simulation=values.to_numpy())
    return -calculate_llh(measured, simulated, problem.observable_df, problem.parameter_df)
