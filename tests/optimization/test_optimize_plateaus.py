"""Searches where the objective is flat, undefined, or nowhere allowed; what is said of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from problems import TURNOVER as MODEL
from problems import turnover

from fastcart import Model, optimize, pareto
from fastcart.cli import main
from fastcart.errors import InputError
from fastcart.optimization.ranking import Lead, Worth, best_of, floor_of, is_better, ordered
from fastcart.optimization.space import Space
from fastcart.optimization.swarm import Swarms, SwarmSettings

QUICK = dict(seed=1, particles=10, iterations=8)

SUBTYPES = dict.fromkeys(("T4", "TP", "TE", "TM", "Tr"), (1e3, 2e7, "log"))
LIMITS = ["T4 + TP + TE + TM + Tr <= 10*C", "peak_I6 <= 1.9e-3"]  # of the README


def readme_problem(**options):
    """Search the README's problem without its start, twelve times unless asked for less."""
    settings = {"objective": "pfs", "particles": 50, "iterations": 40, "constraints": LIMITS, **options}
    variables = settings.pop("variables", SUBTYPES)
    rows = {"C": [1e6, 2e6, 4e6] * settings.pop("times", 4)}  # each problem has random numbers of its own
    return optimize("li_lei", variables, for_each=rows, seed=1, **settings)


@pytest.mark.parametrize("method", ["pso", "cmaes", "de"])
def test_twelve_searches_leave_the_plateau_of_no_survival(method):
    if method == "cmaes":
        pytest.importorskip("cmaes")
    # differential evolution goes through its problems one by one, which takes longer
    result = readme_problem(method=method, times=2 if method == "de" else 4)
    assert (result.best["objective"] > 110).sum() >= len(result.best) - 1
    assert not result.best["plateau"].any()
    assert (result.endpoints["peak_I6"] <= 1.9e-3).all()


def test_neither_a_slope_that_leads_nowhere_nor_the_order_of_variables_matters():
    cost = readme_problem(objective="pfs - 1e-6*(TP + TE)")
    assert (cost.endpoints["pfs"] > 110).sum() >= 11
    turned = readme_problem(variables=dict(reversed(SUBTYPES.items())))
    assert (turned.best["objective"] > 110).sum() >= 11


def test_the_other_plateau_is_searched_by_the_final_burden():
    # whatever the dose, nobody progresses by day 30; the largest dose leaves the smallest tumor
    model = Model("treated", {"A": 1.0, "E": 25.0, "C": 1e3}, {"k": 0.5, "growth": 0.2}, turnover, t_end=30.0,
                  burden="C")  # fmt: skip
    for method in ("pso", "cmaes"):
        result = optimize(model, {"A": (5, 20)}, seed=1, particles=10, iterations=20, method=method)
        assert result.best["censored"].iloc[0] == 1
        assert result.best["A"].iloc[0] > 19.8
        assert not result.best["plateau"].any()


def test_a_plateau_without_a_way_out_is_said():
    with pytest.warns(
        UserWarning, match=r"1 of 1 problems found nothing better than a plateau \(objective 0\)"
    ):
        result = optimize(MODEL, {"A": (0, 10)}, **QUICK)
    assert result.best["plateau"].iloc[0]
    assert "this is no optimum" in result.summary()


def test_a_search_with_a_slope_is_not_touched():
    """Floors change nothing where the objective has none: violations are those of Deb's rules, to the bit."""
    rng = np.random.default_rng(1)
    value, broken = rng.random((3, 20)), np.maximum(rng.normal(size=(3, 20)), 0)
    zero = np.zeros((3, 20))
    lead = Lead(3)
    worth = Worth(value, broken, zero, zero)
    lead.begin(np.arange(3), worth)
    np.testing.assert_array_equal(lead(np.arange(3), worth), broken)
    assert not lead.exists.any()


def test_floors():
    value = np.array([[0.0, 0, 0, -1, -2], [0, -1, -2, -3, -4], [5, 5, 5, 5, 5], [np.inf, 1, 1, 0, 0]])
    np.testing.assert_array_equal(floor_of(value), [0, np.inf, 5, 1])
    lead, zero = Lead(1), np.zeros((1, 5))
    broken = np.array([[0.0, 0, 0, 0.5, 0]])
    worth = Worth(value[:1], broken, zero, zero)
    lead.begin(np.array([0]), worth)
    moved = lead(np.array([0]), worth)[0]
    # allowed and better, then better and forbidden, then the floor
    assert moved[4] == 0 < moved[3] < moved[0] == moved[1]
    growing = Worth(value[:1], broken, zero, np.array([[3.0, 1, 2, 0, 0]]))
    lead.begin(np.array([0]), growing)
    moved = lead(np.array([0]), growing)[0]
    assert 0 < moved[1] < moved[2] < moved[0]  # the slower the growth, the nearer


def test_ties_are_broken_and_what_is_undefined_never_wins():
    assert is_better(1.0, 0.0, 1.0, 0.0, tie=1.0, than_tie=2.0)
    assert not is_better(1.0, 0.0, 1.0, 0.0, tie=2.0, than_tie=1.0)
    worth = ordered(([[-np.inf, np.nan, 3.0, np.inf]], None, [[0.0, 0, 5, 0]]), (1, 4))
    assert best_of(worth.value, worth.broken, worth.tie).tolist() == [2]
    space = Space([0.0], [1.0], problems=4)

    def odd(x):  # -inf, inf and NaN in turn, and a number for a quarter of the points
        part = np.floor(4 * x[..., 0])
        return np.select([part == 0, part == 1, part == 2], [-np.inf, np.inf, np.nan], x[..., 0])

    swarms = Swarms(space, iterations=15, seed=0, settings=SwarmSettings(particles=12))
    while swarms.active.any():
        swarms.tell(odd(swarms.ask()[1]))
    assert swarms.progress.objective == pytest.approx(np.full(4, 0.75), abs=1e-3)


@pytest.mark.parametrize("method", ["pso", "cmaes", "de"])
def test_undefined_objectives_are_counted_and_named(method):
    with pytest.warns(UserWarning, match=r"'log10\(A-5\)' is undefined .* at (\d+) of 80 points"):
        result = optimize(
            MODEL, {"A": (0, 10)}, objective="log10(A-5)", goal="minimize", method=method, **QUICK
        )
    best = result.best.iloc[0]
    assert best["A"] > 5
    assert best["objective"] == pytest.approx(np.log10(best["A"] - 5), rel=1e-12)
    assert best["undefined"] > 0
    assert "no point that keeps" not in result.summary()


def test_an_inverse_of_no_survival_is_undefined_not_forbidden():
    with pytest.warns(UserWarning, match="'1/pfs' is undefined"):
        result = optimize(MODEL, {"A": (0, 10)}, objective="1/pfs", goal="minimize", **QUICK)
    assert not result.best["feasible"].any()
    assert "found no point where the objective is a finite number" in result.summary()
    assert "constraints" not in result.summary()


def test_infinite_patients_and_limits():
    def odd(ends):
        return np.where(ends["k"] > 0.6, np.inf, ends["A"])

    with pytest.warns(UserWarning, match="undefined"):  # the mean of an infinite one is none
        result = optimize(MODEL, {"A": (0, 1)}, objective=odd, patients={"k": [0.5, 0.7]}, **QUICK)
    assert not result.best["feasible"].any()
    three = {"k": [0.4, 0.5, 0.7]}
    median = optimize(MODEL, {"A": (0, 1)}, objective=odd, patients=three, aggregate="median", **QUICK)
    assert median.best["A"].iloc[0] == pytest.approx(1, abs=1e-3)
    # the logarithm of nothing lies below every limit
    kept = optimize(
        MODEL, {"A": (0, 1)}, objective="A", goal="minimize", constraints="log10(final_E) <= 3",
        start={"A": 0.0}, **QUICK,
    )  # fmt: skip
    assert kept.best["feasible"].all()
    assert kept.best["A"].tolist() == [0.0]
    assert kept.best["undefined"].tolist() == [0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda ends: None, "not None"), (lambda ends: "a", "not 'a'"), (lambda ends: 3.0, "not one number"),
        (lambda ends: ends[["pfs"]], r"an array of shape \(10, 1\)"),
        (lambda ends: ends["pfs"].head(3), "a Series of 3 with another index"),
        (lambda ends: [None] * len(ends), r"\[None"), (lambda ends: ends["pfs"] + 1j, "complex"),
        (lambda ends: ends["pfz"], "fails with KeyError: 'pfz'"), (lambda ends: [[1], [1, 2]], r"\[\[1\]"),
    ],
)  # fmt: skip
def test_what_a_function_may_return(function, message):
    with pytest.raises(InputError, match=message) as caught:
        optimize(MODEL, {"A": (0, 1)}, objective=function, **QUICK)
    assert "\n" not in str(caught.value)


def test_a_series_counts_by_its_index():
    turned = optimize(MODEL, {"A": (0, 1)}, objective=lambda ends: ends["A"].sort_values(), **QUICK)
    plain = optimize(MODEL, {"A": (0, 1)}, objective=lambda ends: ends["A"], **QUICK)
    assert turned.best["A"].tolist() == plain.best["A"].tolist()
    assert turned.best["objective"].iloc[0] == turned.best["A"].iloc[0]
    # missing here and there is undefined there
    with pytest.warns(UserWarning, match="undefined"):
        some = optimize(
            MODEL, {"A": (0, 1)}, objective=lambda ends: [None if a > 0.5 else a for a in ends["A"]], **QUICK
        )  # fmt: skip
    assert some.best["A"].iloc[0] <= 0.5


def test_a_start_must_be_allowed():
    with pytest.raises(InputError, match="The start 'A' must lie between its bounds 0 and 1, not at 3"):
        optimize(MODEL, {"A": (0, 1)}, start={"A": 3.0}, **QUICK)
    rows = {"C": [1e3, 2e3]}
    with pytest.raises(InputError, match="breaks a linear constraint in row 2"):
        optimize(MODEL, {"A": (0, 3), "k": (0.1, 1)}, start={"A": [1.0, 2.0], "k": [1.0, 1.0]}, for_each=rows,
                 constraints="A + k <= 2", **QUICK)  # fmt: skip
    # on a constraint, up to rounding, is allowed
    optimize(MODEL, {"A": (0, 1), "k": (0.1, 1)}, start={"A": 0.1, "k": 0.2}, objective="A",
             constraints="A + k <= 0.3", **QUICK)  # fmt: skip


def test_a_front_that_nothing_is_in_says_the_nearest_point():
    pytest.importorskip("pymoo")
    goals = {"final_E": "maximize", "A": "minimize"}
    with pytest.warns(UserWarning, match=r"breaks 'peak_A <= 4' \(5(\.\d+)? > 4\)"):
        result = pareto(
            MODEL, {"A": (5, 10), "k": (0.1, 1)}, objectives=goals, constraints="peak_A <= 4", **QUICK
        )
    assert result.front.empty
    nearest = result.nearest.iloc[0]
    assert nearest["violation"] == pytest.approx((nearest["A"] - 4) / (nearest["A"] + 4), rel=1e-9)
    assert nearest["A"] < 5.5
    assert "0 points" in result.summary()


def test_a_front_holds_finite_objectives_only():
    pytest.importorskip("pymoo")
    with pytest.warns(UserWarning, match=r"'log\(A-6\)' is undefined"):
        result = pareto(MODEL, {"A": (5, 10)}, objectives={"log(A-6)": "maximize", "A": "minimize"}, **QUICK)
    assert np.isfinite(result.front[["log(A-6)", "A"]]).all().all()
    assert (result.front["A"] > 6).all()


def test_the_command_says_what_cannot_be_kept(tmp_path, capsys):
    pytest.importorskip("pymoo")
    base = [
        "optimize", "li_lei_coarse", "--vary", "TE=1e6:1e7", "--seed", "1", "--particles", "6",
        "--iterations", "3", "--constraint", "final >= 1e20",
    ]  # fmt: skip
    front = [*base, "--maximize", "pfs", "--minimize", "TE", "--out", str(tmp_path / "front")]
    assert main(front) == 3
    shown = capsys.readouterr().out
    assert "0 points" in shown
    assert "breaks 'final >= 1e20' (1e+20 > " in shown
    assert main([*base, "--maximize", "TE", "--out", str(tmp_path / "best"), "--quiet"]) == 3
    assert "breaks 'final >= 1e20'" in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "best" / "best.csv")["feasible"].tolist() == [False]


def test_same_seed_same_search_whatever_threads():
    first, second = (readme_problem(threads=threads, iterations=8, particles=20) for threads in (1, 2))
    pd.testing.assert_frame_equal(first.best, second.best, check_exact=True)
