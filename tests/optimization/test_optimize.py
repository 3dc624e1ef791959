"""Optimization of doses and parameters: exact answers, constraints, populations, resuming, the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import slow_but
from numba import njit
from problems import TURNOVER as MODEL

import fastcart
from fastcart import Limit, Model, optimize, pareto
from fastcart.cli import main
from fastcart.errors import InputError
from fastcart.optimization.optimize import _at_bounds

QUICK = dict(seed=1, particles=15, iterations=30)


def far_off(ends):
    return (ends["A"] - 3) ** 2 + (ends["k"] - 0.4) ** 2


def exact_final_A(A, k):
    return A * np.exp(-k * 30.0)


def test_known_optimum_of_an_endpoint():
    result = optimize(
        MODEL, {"A": (0, 10), "k": (0.1, 1)}, objective=far_off, goal="minimize",
        **{**QUICK, "iterations": 60},
    )  # fmt: skip
    best = result.best.iloc[0]
    assert (best["A"], best["k"]) == (pytest.approx(3, abs=1e-3), pytest.approx(0.4, abs=1e-3))
    assert best["evaluations"] == 15 * 60
    assert best["stopped"] == "iterations"
    assert result.endpoints["final_A"].iloc[0] == pytest.approx(exact_final_A(best["A"], best["k"]), rel=1e-3)


def test_an_optimum_at_a_bound_is_told():
    """More is better of the one, and the other has its best value inside: no warning, for it may be meant."""
    result = optimize(
        MODEL, {"A": (0, 10), "k": (0.1, 1)}, objective="A - 9*(k - 0.4)**2",
        for_each={"growth": [0.1, 0.2]}, **QUICK,
    )  # fmt: skip
    assert result.notes == ("At a bound: 'A' is at its upper bound in 2 of 2 problems.",)
    space = SimpleNamespace(names=("A",), problems=3, to_unit=lambda points, rows: points)
    found = _at_bounds(space, np.array([[0.5], [1.0]]), np.array([0, 2]))
    assert found == ["At a bound: 'A' is at its upper bound in 1 of 3 problems (row 3)."]
    assert result.notes[0] in result.summary()


@pytest.mark.parametrize("method", ["pso", "cmaes", "de"])
def test_methods_agree(method):
    if method == "cmaes":
        pytest.importorskip("cmaes")
    # the final effect is A (1 - exp(-30 k)): half of the largest allowed sum
    result = optimize(
        MODEL, {"A": (0, 10), "k": (0.01, 1)}, objective="final_E - 0.02*A**2", method=method,
        constraints="A + 2*k <= 8.5", for_each={"growth": [0.1, 0.2]}, seed=3, particles=12, iterations=40,
    )  # fmt: skip
    # without the constraint the largest A would be best
    k = np.linspace(0.01, 1, 20001)
    A = np.minimum(10, 8.5 - 2 * k)
    exact = (A * (1 - np.exp(-30 * k)) - 0.02 * A**2).max()
    assert result.best["objective"].to_numpy() == pytest.approx([exact, exact], rel=2e-3)
    assert (result.best["A"] + 2 * result.best["k"] <= 8.5 * (1 + 1e-12)).all()
    assert result.best["feasible"].all()
    assert len(result.history) == result.best["iterations"].sum()


def test_doses_are_variables():
    doses = [
        {"time": 0, "state": "A", "amount": "first"},
        {"time": 10, "state": "A", "amount": "second"},
    ]
    result = optimize(
        MODEL, {"first": (0, 5), "second": (0, 5)}, doses=doses, objective="final_E - 0.1*first**2",
        constraints="first + second <= 6", **{**QUICK, "iterations": 60},
    )  # fmt: skip
    best = result.best.iloc[0]
    # both turn into effect almost wholly; the first one costs, so the second is as large as it may be
    assert best["second"] == pytest.approx(5, abs=0.02)
    assert best["first"] == pytest.approx(1, abs=0.02)


def test_lags_and_switches_are_variables():
    """All of a dose turns into effect in time, and the sooner the more; what is slower at the end is lost."""
    doses = [
        {"time": 0, "state": "A", "amount": 3.0, "lag": "wait"},
        {"time": 20, "k": "late"},
    ]
    result = optimize(MODEL, {"wait": (0, 25), "late": (0.001, 1)}, doses=doses, objective="final_E", **QUICK)
    best = result.best.iloc[0]
    assert best["late"] == pytest.approx(1, abs=1e-2)
    schedule = fastcart.DosingSchedule().bolus(0, "A", 3.0, lag=best["wait"]).switch(20, "k", best["late"])
    alone = fastcart.solve(MODEL, 1, doses=schedule).endpoints
    assert result.endpoints["final_E"][0] == alone["final_E"][0]


def test_doses_that_are_all_late_do_not_stop_the_search():
    """Where all progress at once, growth at the start leads; no dose is given by then."""
    doses = {"time": 20, "state": "T4", "amount": "later"}
    result = optimize(
        "li_lei", {"later": (1e4, 1e5), "TE": (1.0, 1e3)}, doses=doses, objective="pfs", particles=4,
        iterations=2, seed=1, for_each={name: [1.0] for name in ("T4", "TP", "TM", "Tr")},
    )  # fmt: skip
    assert result.best["failed"].tolist() == [0]
    assert np.isfinite(result.best["objective"]).all()


def test_nonlinear_constraints_hold():
    result = optimize(
        MODEL, {"A": (0, 10)}, objective="final_E", constraints=["peak_A <= 4", "A >= 0.5"], **QUICK
    )
    assert result.best["A"].iloc[0] == pytest.approx(4, rel=1e-3)
    assert result.endpoints["peak_A"].iloc[0] <= 4
    assert result.best["violation"].iloc[0] == 0
    same = optimize(
        MODEL, {"A": (0, 10)}, objective="final_E", constraints=Limit("peak_A", at_most=4), **QUICK
    )
    assert same.best["A"].iloc[0] == pytest.approx(4, rel=1e-3)
    function = Limit(lambda ends: ends["peak_A"], at_most=4)
    also = optimize(MODEL, {"A": (0, 10)}, objective="final_E", constraints=function, peaks=["A"], **QUICK)
    assert also.best["A"].tolist() == same.best["A"].tolist()


def test_a_constraint_that_nothing_keeps_is_said():
    result = optimize(
        MODEL,
        {"A": (5, 10)},
        objective="final_E",
        constraints="peak_A <= 4",
        seed=1,
        particles=5,
        iterations=15,
    )
    assert not result.best["feasible"].iloc[0]
    assert result.best["A"].iloc[0] == pytest.approx(5, abs=1e-6)  # the smallest violation
    assert "1 problem found no point" in result.summary()


def test_population_and_quantiles():
    # dose A against patients that differ in growth: largest A for which a share of them is below a burden
    population = {"growth": np.linspace(0.0, 0.1, 21)}

    def best(aggregate, limit):
        result = optimize(
            MODEL, {"A": (0, 20)}, objective="A", goal="minimize", aggregate=aggregate, patients=population,
            constraints=Limit("final", at_most=1e3, aggregate=limit), seed=2, particles=10, iterations=40,
        )  # fmt: skip
        assert len(result.endpoints) == 21
        return result.best["A"].iloc[0]

    def needed(growth):  # from ln C' = growth - 0.01 A (1 - exp(-k t)), k = 0.5
        return growth * 30 / (0.01 * (30 - 2 * (1 - np.exp(-15))))

    assert best("mean", "max") == pytest.approx(needed(0.1), rel=1e-3)
    assert best("mean", 0.5) == pytest.approx(needed(0.05), rel=1e-3)
    assert best("max", "min") == pytest.approx(0, abs=1e-3)


def test_a_search_without_a_seed_says_what_to_give():
    for search in (optimize, pareto):
        with pytest.raises(InputError, match=r"needs a seed, a whole number from 0 on.*numbers\.$"):
            search(MODEL, {"A": (0, 4)})
        with pytest.raises(InputError, match="'sed' is not its name"):
            search(MODEL, {"A": (0, 4)}, sed=1)


def test_rows_are_problems_of_their_own():
    rows = pd.DataFrame({"C": [1e3, 2e3, 5e3], "most": [2.0, 4.0, 8.0], "who": ["a", "b", "c"]})
    options = dict(objective="final_E", constraints="A <= 0.5*most", **QUICK)
    result = optimize(MODEL, {"A": ("0.1*most", "most")}, for_each=rows, **options)
    assert result.best["A"].to_numpy() == pytest.approx([1, 2, 4], rel=1e-6)
    assert result.best["who"].tolist() == ["a", "b", "c"]
    assert result.endpoints["row"].tolist() == [0, 1, 2]
    assert "patient" not in result.endpoints  # nobody is named
    named = optimize(
        MODEL, {"A": ("0.1*most", "most")}, for_each=rows.rename(columns={"who": "patient"}), **options
    )
    assert named.endpoints["patient"].tolist() == ["a", "b", "c"]
    alone = optimize(MODEL, {"A": ("0.1*most", "most")}, for_each=rows[:1], **options)
    assert alone.best["A"].tolist() == result.best["A"].tolist()[:1]


def test_same_bits_with_any_threads_and_blocks(monkeypatch):
    def run(threads):
        result = optimize(
            MODEL, {"A": (0.1, 30, "log"), "k": (0.1, 1)}, patients={"growth": [0.1, 0.2, 0.3]},
            for_each={"C": [1e3, 1e4, 1e5]}, threads=threads, objective="log10(final) + 0.1*A",
            goal="minimize", seed=9, particles=9, iterations=8,
        )  # fmt: skip
        return result

    first = run(2)
    assert first.best["objective"].nunique() > 1
    monkeypatch.setattr("fastcart.optimization.evaluation._BLOCK", 7)
    second = run(1)
    pd.testing.assert_frame_equal(first.best, second.best, check_exact=True)
    pd.testing.assert_frame_equal(first.history, second.history, check_exact=True)
    pd.testing.assert_frame_equal(first.endpoints, second.endpoints, check_exact=True)


def test_failed_patients_are_counted_and_never_best():
    @njit
    def broken(t, y, p):
        (C,) = y
        return (C * np.sqrt(0.2 - p[0]),)

    model = Model("broken", {"C": 1.0}, {"rate": 0.1}, broken, t_end=5.0, burden="C")
    # no number where rate > 0.2, which would be better
    result = optimize(model, {"rate": (0.01, 1.0)}, objective="rate", seed=1, particles=20, iterations=3)
    assert result.best["failed"].iloc[0] > 10
    assert 0.1 < result.best["rate"].iloc[0] <= 0.2
    assert result.best["feasible"].iloc[0]
    assert result.history["feasible"].min() < 1


def test_stop_and_start():
    result = optimize(
        MODEL, {"A": (0, 10)}, objective="final_E", target=2.0, for_each={"growth": [0.1, 0.2]}, **QUICK
    )
    assert (result.best["stopped"] == "target").all()
    assert (result.best["iterations"] < 30).all()
    started = optimize(
        MODEL, {"A": (0, 10), "k": (0.01, 1)}, objective=far_off, goal="minimize",
        start={"A": 3.0, "k": 0.4}, seed=1, particles=5, iterations=1,
    )  # fmt: skip
    assert started.best["objective"].iloc[0] == pytest.approx(0, abs=1e-12)


def test_horizon_is_no_maximum():
    result = optimize(MODEL, {"A": (0, 100)}, seed=1, particles=10, iterations=5)
    assert result.best["objective"].iloc[0] == 30
    assert result.best["censored"].iloc[0] == 1
    assert "no maximum but the end of the simulation" in result.summary()


def test_front_of_two_goals():
    pytest.importorskip("pymoo")
    result = pareto(
        MODEL, {"A": (0, 10), "k": (0.01, 1)}, objectives={"final_E": "maximize", "A": "minimize"},
        for_each={"growth": [0.1, 0.2]}, constraints="A <= 6", seed=1, particles=24, iterations=30,
    )  # fmt: skip
    front = result.front
    assert set(front["row"]) == {0, 1}
    for _, part in front.groupby("row"):
        # the front is E = A, from 0 to the limit
        assert part["final_E"].to_numpy() == pytest.approx(part["A"].to_numpy(), rel=0.02, abs=0.02)
        assert part["A"].max() == pytest.approx(6, abs=0.1)
        assert part["A"].max() <= 6 * (1 + 1e-12)
        assert part["A"].min() < 0.1
        # none is better than another in both
        order = part.sort_values("A")
        assert (np.diff(order["final_E"]) >= 0).all()
    assert len(result.endpoints) == len(front)
    again = pareto(
        MODEL, {"A": (0, 10), "k": (0.01, 1)}, objectives={"final_E": "maximize", "A": "minimize"},
        for_each={"growth": [0.1, 0.2]}, constraints="A <= 6", seed=1, particles=24, iterations=30, threads=1,
    )  # fmt: skip
    pd.testing.assert_frame_equal(front, again.front, check_exact=True)


_SCRIPT = """
import sys, time
import numpy as np
import fastcart
from fastcart.optimization import evaluation as evaluate

solve, count = evaluate.solve, 0


def slow(*arguments, **options):
    global count
    count += 1
    print(count, flush=True)
    if count > {stop}:
        time.sleep(60)
    return solve(*arguments, **options)


evaluate.solve = slow
fastcart.{call}
"""
_OPTIMIZE = (
    'optimize("li_lei_coarse", {{"TE": (1e6, 1e7), "TM": (10, 1e4, "log")}}, for_each={{"C": [1e6, 2e6]}}, '
    'constraints="TE + TM <= 9e6", seed=4, particles=6, iterations=8, method={method!r}, out={out!r}, '
    "resume=True, threads=1)"
)
_PARETO = (
    'pareto("li_lei_coarse", {{"TE": (1e6, 1e7), "TM": (10, 1e4, "log")}}, for_each={{"C": [1e6, 2e6]}}, '
    'objectives={{"pfs": "maximize", "TE": "minimize"}}, seed=4, particles=8, iterations=8, out={out!r}, '
    "resume=True, threads=1)"
)


@pytest.mark.filterwarnings("ignore:.*plateau")  # in so few iterations
@pytest.mark.parametrize("what", slow_but(["pso", "nsga2"], ["pso", "cmaes", "de", "nsga2"]))
def test_resume_after_kill(tmp_path, what):
    pytest.importorskip("cmaes" if what == "cmaes" else "pymoo")
    template = _PARETO if what == "nsga2" else _OPTIMIZE

    def call(folder):
        return template.format(method=what, out=str(folder))

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(
        [sys.executable, "-c", _SCRIPT.format(stop=3, call=call(killed))], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) > 3:
                break
        process.send_signal(signal.SIGKILL)
    assert len(list(killed.glob("batches/*.npz"))) == 3
    assert not (killed / "best.csv").exists()
    before = {path: path.read_bytes() for path in killed.glob("batches/*.npz")}
    namespace = {"fastcart": fastcart}
    exec(f"fastcart.{call(killed)}", namespace)
    exec(f"fastcart.{call(whole)}", namespace)
    assert all(path.read_bytes() == data for path, data in before.items())
    names = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert sorted(path.relative_to(killed) for path in killed.rglob("*") if path.is_file()) == names
    assert len(names) > 4
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    # a finished one is read back, and nothing is solved for it
    exec(f"fastcart.{call(whole)}", namespace)


def test_resume_refuses_another_problem(tmp_path):
    options = dict(objective="final_E", seed=1, particles=4, iterations=2, out=tmp_path / "run")
    optimize(MODEL, {"A": (0, 10)}, **options)
    with pytest.raises(InputError, match="holds a search already"):
        optimize(MODEL, {"A": (0, 10)}, **options)
    with pytest.raises(InputError, match=r"seed is 1 there and 2 now"):
        optimize(MODEL, {"A": (0, 10)}, **{**options, "seed": 2}, resume=True)
    with pytest.raises(InputError, match="variables"):
        optimize(MODEL, {"A": (0, 9)}, **options, resume=True)
    optimize(MODEL, {"A": (0, 9)}, **options, force=True)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["variables"] == {"A": [0, 9]}


def test_interrupted_python_goes_on(tmp_path, monkeypatch):
    options = dict(objective="final_E", seed=1, particles=4, iterations=6, out=tmp_path / "run")
    from fastcart.optimization import evaluation as evaluate

    solve, calls = evaluate.solve, []

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return solve(*arguments, **keywords)

    monkeypatch.setattr(evaluate, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimize(MODEL, {"A": (0, 10)}, **options)
    optimize(MODEL, {"A": (0, 10)}, **options, resume=True)
    assert len(calls) == 4 + 3 + 1  # the four of before, three more iterations, the endpoints of the best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(variables={}), "variables must be a mapping"),
        (dict(variables={"B": (0, 1)}), r"'B' is not a parameter or state of model 'turnover'"),
        (dict(variables={"A": (1, 0)}), "'A' must have finite bounds with low < high"),
        (dict(variables={"A": (0, 1, "lin")}), r"needs \(low, high\) or \(low, high, 'log'\)"),
        (dict(variables={"A": 3}), r"needs \(low, high\)"),
        (dict(variables={"k": (-1, 1)}), "'k' may lie between 0 and inf, but a bound is -1"),
        (
            dict(variables={"A": (0, "2*D")}),
            "The bound '2[*]D' of the variable 'A' uses 'D', which is no column",
        ),
        (dict(variables={"A": ("a", "b")}), r"a bound is a number or a formula over these\.$"),
        (
            dict(objective="pfz"),
            r"The objective 'pfz' uses 'pfz', which is no endpoint, .*Did you mean 'pfs'",
        ),
        (dict(goal="max"), "goal must be 'maximize' or 'minimize'"),
        (
            dict(constraints="A + B <= 3"),
            "The constraint 'A [+] B <= 3' uses 'B', which is no endpoint, variable or",
        ),
        (dict(constraints="A"), "must compare by <= or >="),
        (dict(constraints="3 <= 4"), "holds no variable and no endpoint"),
        (dict(constraints="A <= -1"), "No point between the bounds meets the linear constraints"),
        (dict(method="sgd"), "There is no method 'sgd'"),
        (dict(aggregate="avg"), "aggregate over the population"),
        (dict(aggregate=1.5), "aggregate over the population"),
        (dict(particles=0), "number of particles"),
        (dict(swarm={"wings": 2}), "The swarm has no setting 'wings'"),
        (dict(swarm={"topology": "tree"}), "There is no topology 'tree'"),
        (dict(for_each={"A": [1.0]}), "'A' is given both by the variables and by for_each"),
        (dict(for_each=pd.DataFrame()), "for_each is empty"),
        (dict(for_each={"pfs": [1.0]}), "has the name of an endpoint"),
        (dict(patients={"k": [0.1]}, for_each={"k": [0.1]}), "given both by for_each and by the patients"),
        (dict(doses={"time": 0, "state": "A", "amount": "d"}), "The doses use 'd', which is no variable"),
        (dict(start={"A": 1.0, "k": 0.4}), "The start has 'k', which is not varied"),
        (dict(method="de", particles=4), "'de' needs at least 5 particles, not 4"),
        (dict(method="cmaes", swarm={"particles": 3}), "'cmaes' needs at least 4 particles, not 3"),
        (dict(start={"k": 1.0}), "The start needs a column 'A'"),
        (dict(start={"A": [1.0, 2.0]}), "The start needs one row, or one for each of 1 problems, not 2"),
        (dict(seed=None), "The seed must be a whole number"),
        (dict(resume=True), "name its folder with out"),
        (dict(constraints="peak_B <= 3"), "The constraint 'peak_B <= 3' uses 'peak_B', which is no endpoint"),
        (dict(constraints=Limit("Q", at_most=1)), "The limit 'Q' uses 'Q', which is no endpoint"),
        (dict(engine="published", objective="peak_A"), "looks for no peaks"),
    ],
)
def test_bad_input_is_said_before_anything(arguments, message, monkeypatch):
    monkeypatch.setattr("fastcart.optimization.evaluation.solve", None)  # must not be reached
    options = {"variables": {"A": (0, 10)}, "seed": 1, **arguments}
    with pytest.raises(InputError, match=message):
        optimize(MODEL, options.pop("variables"), **options)


def test_limits_are_checked():
    with pytest.raises(InputError, match="either at_most or at_least"):
        Limit("peak_A")
    with pytest.raises(InputError, match="must return one number for each of 4 rows"):
        optimize(MODEL, {"A": (0, 1)}, objective=lambda ends: [1, 2, 3], seed=1, particles=4, iterations=1)


def test_command(tmp_path, capsys):
    rows = tmp_path / "burdens.csv"
    pd.DataFrame({"C": [1e6, 2e6]}).to_csv(rows, index=False)
    arguments = [
        "optimize", "li_lei_coarse", "--for-each", str(rows), "--vary", "TE=1e6:10*C", "--vary",
        "TM=10:1e4:log", "--constraint", "TE + TM <= 9*C", "--seed", "1", "--particles", "8", "--iterations",
        "4", "--out", str(tmp_path / "best"),
    ]  # fmt: skip
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "2 problems, 64 solves (0 failed)" in out
    best = pd.read_csv(tmp_path / "best" / "best.csv", float_precision="round_trip")
    assert (best["TE"] + best["TM"] <= 9 * best["C"]).all()
    expected = optimize(
        "li_lei_coarse", {"TE": (1e6, "10*C"), "TM": (10, 1e4, "log")}, for_each={"C": [1e6, 2e6]},
        constraints="TE + TM <= 9*C", seed=1, particles=8, iterations=4,
    )  # fmt: skip
    assert best["objective"].tolist() == expected.best["objective"].tolist()
    assert main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_command_makes_a_front(tmp_path, capsys):
    pytest.importorskip("pymoo")
    arguments = [
        "optimize", "li_lei_coarse", "--vary", "TE=1e6:1e7", "--maximize", "pfs", "--minimize", "TE",
        "--seed", "1", "--particles", "8", "--iterations", "3", "--out", str(tmp_path / "front"),
    ]  # fmt: skip
    assert main(arguments) == 0
    assert "front.csv" in capsys.readouterr().out
    assert {"TE", "pfs"} <= set(pd.read_csv(tmp_path / "front" / "front.csv"))
    assert main([*arguments, "--target", "3", "--force"]) == 2
    assert "front of several" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--vary", "TE"], "--vary must be NAME=LOW:HIGH"),
        (["--vary", "TE=1:2:3:4"], "--vary must be NAME=LOW:HIGH"),
        (["--vary", "TE=1e6:1e7", "--vary", "TE=1e5:1e6"], "--vary of 'TE' is given twice"),
        (["--vary", "TE=1e6:1e7", "--aggregate", "median"], "so it needs --patients"),
        (["--vary", "TE=1e6:1e7", "--maximize", "pfs", "--minimize", "pfs"], "The goal 'pfs' is given twice"),
        (["--vary", "TE=1e6:1e7", "--maximize", "pfs", "--maximize", "pfs"], "The goal 'pfs' is given twice"),
        (["--vary", "TE=1e6:1e7", "--method", "de", "--particles", "3"], "at least 5 particles, not 3"),
        (["--vary", "TE=a:b"], "The bound 'a' of the variable 'TE' uses 'a', which is no column"),
        (["--vary", "TE=1e6:1e7", "--constraint", "Q <= 1"], "The constraint 'Q <= 1' uses 'Q', which"),
        (["--vary", "TE=1e6:1e7", "--method", "sgd"], "There is no method 'sgd'"),
        (["--vary", "TE=1e6:1e7", "--for-each", "none.csv"], "does not exist"),
    ],
)
def test_command_says_what_is_wrong(tmp_path, capsys, extra, message):
    folder = tmp_path / "out"
    assert main(["optimize", "li_lei_coarse", "--seed", "1", "--out", str(folder), *extra]) == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_overhead_is_small():
    """What is not the solver takes little: half a million points in a moment, with the solver replaced."""
    from fastcart.optimization.methods import find
    from fastcart.optimization.methods.base import Search
    from fastcart.optimization.progress import StopRule
    from fastcart.optimization.space import Space
    from fastcart.optimization.swarm import SwarmSettings

    space = Space(np.full(5, 1e3), np.full(5, 2e7), problems=250, log=True)
    search = Search(space, 20, 1, SwarmSettings(particles=100), StopRule())
    began = time.process_time()
    progress = find("pso").run(search, lambda rows, x: (x.sum(axis=-1), np.zeros(x.shape[:2])))
    assert progress.evaluations.sum() == 500_000
    assert time.process_time() - began < 5  # the solver takes about 8 s for these


def test_constraints_may_be_none_and_nothing_else_but_constraints():
    found = [
        fastcart.optimize(
            "li_lei_coarse", {"TE": (1e6, 1e7)}, constraints=given, objective="final_C", goal="minimize",
            particles=4, iterations=1, seed=1, t_end=1.0,
        ).best
        for given in ((), None)
    ]  # fmt: skip
    pd.testing.assert_frame_equal(*found)
    with pytest.raises(InputError, match=r"constraints must be texts or fastcart.Limit, not 5"):
        fastcart.optimize("li_lei_coarse", {"TE": (1e6, 1e7)}, constraints=5, seed=1)
