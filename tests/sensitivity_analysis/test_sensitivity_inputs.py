"""What a sensitivity study varies: distributions, groups, and parameters that must add up to a total."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import stats

import fastcart
from fastcart import sample
from fastcart.cli import main
from fastcart.errors import InputError
from fastcart.model import Sum
from fastcart.sensitivity_analysis.indices import estimate
from fastcart.sensitivity_analysis.ranges import find_closures, parse_ranges
from fastcart.sensitivity_analysis.sampler import make_design

pytest.importorskip("SALib")

METHODS = {"pearson": 400, "sobol": 256, "morris": 100, "fast": 257}


@njit
def _fates(t, y, p):
    s, c, e, rate = p
    return (rate * (s + 2 * c + 4 * e),)


def fates_model(**defaults):
    """A model whose state at t = 1 is rate (s + 2 c + 4 e), where s + c + e must be 1."""
    values = {"s": 0.2, "c": 0.3, "e": 0.5, "rate": 2.0, **defaults}
    parameters = [fastcart.Parameter(name, value, range=(0.0, 10.0)) for name, value in values.items()]
    return fastcart.Model(
        "fates", {"y": 0.0}, parameters, _fates, t_end=1.0, constraints=[Sum(("s", "c", "e"))]
    )


# --- distributions --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pearson", "sobol", "fast"])
@pytest.mark.parametrize(
    ("given", "law"),
    [
        ({"log_uniform": (0.1, 10.0)}, stats.loguniform(0.1, 10)),
        ({"normal": (3.0, 0.5)}, stats.norm(3, 0.5)),
        ({"log_normal": (2.0, 0.3)}, stats.lognorm(0.3, scale=2)),
        ({"triangular": (1.0, 2.0, 5.0)}, stats.triang(0.25, 1, 4)),
    ],
)
def test_designs_follow_their_distributions(method, given, law):
    design = make_design(method, {"a": (0.0, 1.0), "b": parse_ranges(_ab(), {"b": given})["b"]}, 1024, seed=3)
    assert stats.kstest(design.x[:, 1], law.cdf).statistic < 0.06
    assert np.isfinite(design.x).all()


def _ab():
    parameters = [fastcart.Parameter(name, 1.0, range=(-100.0, 100.0)) for name in "ab"]
    return fastcart.Model("ab", {"y": 0.0}, parameters, njit(lambda t, y, p: (p[0] + p[1],)), t_end=1.0)


def test_a_triangular_column_is_that_of_scipy():
    u = (np.arange(1000) + 0.5) / 1000
    found = sample.Design({"x": {"triangular": (2.0, 2.0, 4.0)}}, 8, seed=1).columns["x"].quantile(u)
    np.testing.assert_allclose(found, stats.triang(0, 2, 2).ppf(u), rtol=1e-12)
    with pytest.raises(InputError, match="low <= mode <= high"):
        sample.latin_hypercube({"x": {"triangular": (2.0, 5.0, 4.0)}}, 8, seed=1)


def test_sobol_indices_with_a_normal_and_a_log_uniform_input():
    # y = a + ln b: the shares of the two variances
    drawn = {"a": parse_ranges(_ab(), {"a": {"normal": (0.0, 1.0)}})["a"],
             "b": parse_ranges(_ab(), {"b": {"log_uniform": (1.0, 20.0)}})["b"]}  # fmt: skip
    design = make_design("sobol", drawn, 4096, seed=2)
    found = estimate(design, (design.x[:, 0] + np.log(design.x[:, 1]))[:, None])
    variances = np.array([1.0, np.log(20.0) ** 2 / 12])
    np.testing.assert_allclose(found.value["S1"][:, 0], variances / variances.sum(), atol=5e-3)


def test_elementary_effects_are_per_probability():
    drawn = {"a": (0.0, 2.0), "b": parse_ranges(_ab(), {"b": {"log_uniform": (1.0, np.e)}})["b"]}
    design = make_design("morris", drawn, 20, seed=2)
    found = estimate(design, (3 * design.x[:, 0] - np.log(design.x[:, 1]))[:, None])
    np.testing.assert_allclose(found.value["mu"][:, 0], [6.0, -1.0], atol=1e-9)
    normal = make_design("morris", {"b": parse_ranges(_ab(), {"b": {"normal": (0.0, 1.0)}})["b"]}, 20, seed=2)
    assert np.abs(normal.x).max() == pytest.approx(stats.norm.ppf(0.995), rel=1e-9)


def test_a_distribution_must_stay_where_the_model_allows():
    with pytest.raises(InputError, match=r"leaves what the model allows: at least 0\. Give limits"):
        fastcart.sensitivity("li_lei", ranges={"k_TE": {"normal": (3.0, 1.0)}})
    with pytest.raises(InputError, match="there is no distribution 'norm'"):
        fastcart.sensitivity("li_lei", ranges={"k_TE": {"norm": (3.0, 1.0)}})


# --- groups ---------------------------------------------------------------------------------------


def test_a_group_of_sobol_has_the_closed_index_of_its_members():
    # y = a b + c on the unit cube: var(a b) = 1/9 - 1/16, var(c) = 1/12
    unit = dict.fromkeys("abc", (0.0, 1.0))
    design = make_design("sobol", unit, 4096, seed=1, groups={"product": ["a", "b"]})
    assert design.labels == ("product", "c")
    assert len(design.x) == 4096 * 4
    found = estimate(design, (design.x[:, 0] * design.x[:, 1] + design.x[:, 2])[:, None])
    parts = np.array([1 / 9 - 1 / 16, 1 / 12])
    for name in ("S1", "ST"):
        np.testing.assert_allclose(found.value[name][:, 0], parts / parts.sum(), atol=4e-3)


def test_one_parameter_alone_has_indices_of_one():
    for groups in (None, {"g": ["a"]}):
        design = make_design("sobol", {"a": (0.0, 1.0)}, 1024, seed=1, groups=groups)
        found = estimate(design, np.stack([design.x[:, 0] ** 2, design.x[:, 0] > 0.7], axis=1))
        for name in ("S1", "ST"):
            np.testing.assert_allclose(found.value[name][0], [1.0, 1.0], atol=0.02)


def test_partial_rank_correlations_of_few_patients_are_too_near_zero():
    """The guide to sensitivity says by how much in this example."""
    ranges = dict.fromkeys("abc", (0.0, 1.0))

    def weakest(n, seed):
        design = make_design("prcc", ranges, n, seed=seed)
        y = np.exp(3 * design.x @ np.array([1.0, 0.7, 0.49]))
        return estimate(design, y[:, None]).value["prcc"][2, 0]

    assert weakest(20_000, 0) == pytest.approx(0.92, abs=0.009)
    assert np.mean([weakest(60, seed) for seed in range(200)]) == pytest.approx(0.86, abs=0.012)
    bend = make_design("prcc", ranges, 2000, seed=1)
    assert abs(estimate(bend, (bend.x[:, [0]] - 0.5) ** 2).value["prcc"][0, 0]) < 0.1


def test_first_indices_above_total_ones_are_told():
    from fastcart.sensitivity_analysis.notes import sentences

    def notes(n):
        ranges = {"a": (0.0, 1.0), "b": (0.0, 2.0)}
        outputs = ["final_y", "y@0.5:1:0.25"]
        study = fastcart.sensitivity(_ab(), method="sobol", outputs=outputs, ranges=ranges, n=n, seed=1)
        wide = study.indices.pivot(index=["output", "parameter"], columns="index", values="value")
        return (wide["S1"] - wide["ST"]).max(), sentences(study.notes), study.notes

    excess, (told,), table = notes(64)  # y = a + b: the two are equal, and this sample says otherwise
    assert excess > 0.01
    assert told.startswith("final_y, y@0.5, y@0.75, y@1: of some parameters S1 is above ST, within their err")
    assert "e.g. n = 256, before" in told
    assert not table["serious"].any()  # no warning: intervals say as much
    excess, none, _ = notes(4096)
    assert excess < 0.01
    assert none == []


def test_first_indices_beyond_the_intervals_of_total_ones():
    from fastcart.sensitivity_analysis.methods.sobol import METHOD

    design = make_design("sobol", {"a": (0.0, 1.0), "b": (0.0, 1.0)}, 64, seed=1)

    def doubts(first, low, total, high):
        zero = np.zeros(2)
        found = {"S1": (np.array(first), np.array(low), zero), "ST": (np.array(total), zero, np.array(high))}
        return METHOD.doubts(design, found)

    assert "by more than their intervals" in doubts([0.5, 0.2], [0.4, 0.1], [0.3, 0.3], [0.35, 0.4])[0]
    assert "within their error" in doubts([0.5, 0.2], [0.4, 0.1], [0.3, 0.3], [0.45, 0.4])[0]
    assert doubts([0.305, 0.2], [0.304, 0.1], [0.3, 0.3], [0.301, 0.4]) == []  # nobody would act upon this
    assert doubts([0.5, np.nan], [np.nan, np.nan], [0.6, np.nan], [np.nan, np.nan]) == []


def test_groups_of_morris_are_those_of_salib():
    from SALib.analyze import morris

    unit = dict.fromkeys("abcd", (0.0, 1.0))
    design = make_design("morris", unit, 40, seed=1, groups={"g": ["b", "d"]})
    y = design.x[:, 0] - 3 * design.x[:, 1] * design.x[:, 3] + design.x[:, 2] ** 2
    found = estimate(design, y[:, None])
    problem = {"num_vars": 4, "names": list("abcd"), "bounds": [[0, 1]] * 4, "groups": list(design.groups)}
    theirs = morris.analyze(problem, design.x, y, seed=1)
    assert design.labels == ("a", "g", "c")
    order = [list(theirs["names"]).index(label) for label in design.labels]
    np.testing.assert_allclose(found.value["mu_star"][:, 0], np.asarray(theirs["mu_star"])[order], atol=1e-12)
    assert np.isnan(found.value["mu"][1, 0])  # a group has no sign
    assert np.isfinite(found.value["mu"][[0, 2], 0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "prcc", "groups": {"g": ["k_TE"]}}, "Groups are for sobol and morris"),
        ({"method": "sobol", "n": 64, "groups": {"g": ["k_TEE"]}}, "'k_TEE' is not varied"),
        ({"method": "sobol", "n": 64, "groups": {"g": ["k_TE"], "h": ["k_TE"]}}, "is in two groups"),
        ({"method": "sobol", "n": 64, "groups": {"d_C": ["k_TE"]}}, "must have a name of its own"),
        ({"method": "sobol", "n": 64, "groups": ["k_TE"]}, "must be a mapping"),
        (
            {"method": "sobol", "n": 64, "ranges": {"TE": 0.1, "TM": 0.1}, "groups": {"g": ["TE", "TM"]}},
            "The group 'g' holds all that is varied, so its Sobol' indices are 1",
        ),
    ],
)  # fmt: skip
def test_bad_groups(options, message):
    with pytest.raises(InputError, match=message):
        fastcart.sensitivity("li_lei", **options)


def test_groups_and_distributions_on_the_command_line(tmp_path, capsys):
    arguments = [
        "sensitivity", "li_lei_coarse", "--method", "morris", "--n", "4", "--outputs", "final", "--groups",
        "cells=TE+TM,rest=k_TE+d_C", "--ranges",
        "10%,TE=log_uniform:1e6:1e7,TM=triangular:10:100:1000,k_TE=normal:3.57:0.2:3:4", "--no-plots",
        "--out", str(tmp_path / "m"),
    ]  # fmt: skip
    names = list(fastcart.models.get("li_lei_coarse").default_parameters())
    if "k_TE" not in names or "d_C" not in names:
        arguments[9] = "cells=TE+TM"
        arguments[11] = "10%,TE=log_uniform:1e6:1e7,TM=triangular:10:100:1000"
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "cells" in shown
    assert "no interval with less than 100 trajectories" in shown
    assert main([*arguments[:-1], str(tmp_path / "x"), "--groups", "cells"]) == 2
    assert "A group must read" in capsys.readouterr().err


def test_one_group_of_all_is_refused_by_the_command(tmp_path, capsys):
    arguments = [
        "sensitivity", "li_lei_coarse", "--method", "sobol", "--n", "64", "--ranges",
        "TE=1e5:1e7,TM=1e3:1e6", "--groups", "g=TE+TM", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(arguments) == 2
    assert "holds all that is varied" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_fixed_value_is_given_once(tmp_path, capsys):
    arguments = ["sensitivity", "li_lei_coarse", "--fixed", "TE=1e6,TE=2e6", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "The fixed value of 'TE' is given twice" in capsys.readouterr().err


# --- sums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_sums_hold_to_rounding_and_a_default_call_works(method):
    study = fastcart.sensitivity(fates_model(), method=method, outputs="final_y", n=METHODS[method], seed=1)
    assert study.counts["used"].iloc[0] == study.counts["patients"].iloc[0]
    points = study.samples()
    np.testing.assert_allclose(points[["s", "c", "e"]].sum(axis=1), 1.0, rtol=0, atol=1e-15)
    expected = points["rate"] * (points["s"] + 2 * points["c"] + 4 * points["e"])
    np.testing.assert_allclose(points["final_y"], expected, rtol=1e-5)
    weights = points[["weight_s", "weight_c", "weight_e"]].to_numpy()
    low, high = 0.9 * np.array([0.2, 0.3, 0.5]), 1.1 * np.array([0.2, 0.3, 0.5])
    assert (weights >= low - 1e-12).all()
    assert (weights <= high + 1e-12).all()
    np.testing.assert_allclose(
        points[["s", "c", "e"]], weights / weights.sum(axis=1, keepdims=True), rtol=1e-12
    )


def test_an_index_of_a_weight_is_what_it_does_against_the_others():
    study = fastcart.sensitivity(fates_model(), outputs="final_y", n=4000, seed=1)
    value = study.table("final_y")["value"]
    # more of what counts most raises the state, more of what counts least lowers it
    assert value["e"] > 0.1
    assert value["s"] < -0.1
    # slopes of (s + 2 c + 4 e) / (s + c + e) at the defaults, times the spreads of the weights
    moves = 2 * 0.2 / np.sqrt(12) * np.array([0.2, 0.3, 0.5]) * (np.array([1, 2, 4]) - 2.8)
    moves = np.append(moves, 2.8 * 0.4 / np.sqrt(12))
    np.testing.assert_allclose(value[["s", "c", "e", "rate"]], moves / np.linalg.norm(moves), atol=0.04)


def test_what_sums_leave():
    model = fates_model()
    ranges = parse_ranges(model, None, {"e": 0.6})
    (closure,) = find_closures(model, ranges, {"e": 0.6})
    assert closure.total == pytest.approx(0.4)
    # of one that is not 0 nothing can vary
    assert list(parse_ranges(fates_model(s=0.0, c=0.0, e=1.0))) == ["rate"]
    with pytest.raises(InputError, match="'s' cannot vary alone"):
        fastcart.sensitivity(model, outputs="final_y", ranges={"s": 0.1})
    with pytest.raises(InputError, match="which leaves 0 for s, c"):
        fastcart.sensitivity(model, outputs="final_y", fixed={"e": 1.0})


def test_the_theories_of_t_cells_can_be_studied():
    study = fastcart.sensitivity("t_cell", outputs=["auc_A", "final_E"], n=120, seed=1)
    assert study.counts["used"].iloc[0] == 120
    points = study.samples()
    sums = fastcart.models.get("t_cell").constraints
    varied = [c for c in sums if any(name in points for name in c.parameters)]
    assert varied
    defaults = fastcart.models.get("t_cell").default_parameters()
    for constraint in varied:
        total = sum(points[n] if n in points else defaults[n] for n in constraint.parameters)
        np.testing.assert_allclose(total, constraint.total, rtol=0, atol=constraint.tolerance)
    assert np.isfinite(study.indices["value"]).all()
