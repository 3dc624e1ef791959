"""Particle swarms, search spaces and formulas: exact answers, pymoo's swarm, bounds that always hold."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_swarm_references import FILE, FUNCTIONS, PARTICLES, SEEDS, pymoo_best, rastrigin

from fastcart.errors import InputError
from fastcart.expressions import Expression, relations
from fastcart.optimization.progress import StopRule
from fastcart.optimization.ranking import best_of, is_better, rank
from fastcart.optimization.space import Space
from fastcart.optimization.swarm import Swarms, SwarmSettings, mutate


def minimised(function, space, *, iterations, seed=0, settings=None, stop=None, violation=None):
    swarms = Swarms(space, iterations=iterations, seed=seed, settings=settings, stop=stop)
    while swarms.active.any():
        rows, points = swarms.ask()
        swarms.tell(function(points), None if violation is None else violation(points))
    return swarms


def reference():
    with FILE.open(encoding="utf-8") as file:
        return [
            (row["function"], int(row["dimensions"]), int(row["evaluations"]), float(row["median"]))
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize(("name", "dimensions", "evaluations", "median"), reference())
def test_no_worse_than_pymoo(name, dimensions, evaluations, median):
    function, width = FUNCTIONS[name]
    # the median of more runs, which varies less, where these are cheap
    work = dimensions * evaluations
    runs = SEEDS * (10 if work <= 20_000 else 3 if work <= 100_000 else 1)
    swarms = minimised(
        function, Space([-width] * dimensions, [width] * dimensions, problems=runs),
        iterations=evaluations // PARTICLES,
    )  # fmt: skip
    assert swarms.settings.particles == PARTICLES
    assert (swarms.progress.evaluations == evaluations).all()
    assert np.median(swarms.progress.objective) <= median


def test_the_reference_is_that_of_pymoo():
    pytest.importorskip("pymoo")
    found = np.median([pymoo_best(*FUNCTIONS["sphere"], 5, 500, seed) for seed in range(5)])
    swarms = minimised(FUNCTIONS["sphere"][0], Space([-5.12] * 5, [5.12] * 5, problems=20), iterations=20)
    assert np.median(swarms.progress.objective) <= found


def test_known_minima():
    space = Space([-5, -5], [5, 5], problems=8)
    swarms = minimised(lambda x: ((x - [1.5, -2.0]) ** 2).sum(axis=-1) + 3, space, iterations=120)
    assert swarms.progress.objective == pytest.approx(3, abs=1e-10)
    assert swarms.progress.point == pytest.approx(np.tile([1.5, -2.0], (8, 1)), abs=1e-5)
    # each problem has a box of its own; the minimum lies on its end
    low = np.arange(1.0, 5)[:, None] * np.ones(3)
    swarms = minimised(lambda x: x.sum(axis=-1), Space(low, low + 1), iterations=80)
    assert swarms.progress.point == pytest.approx(low, abs=1e-12)


def test_search_in_logarithm_finds_small_numbers():
    def far(x):
        return (np.log10(x / [2e-7, 30.0]) ** 2).sum(axis=-1)

    box = ([1e-12, 1e-6], [1.0, 1e6])
    log = minimised(far, Space(*box, log=True, problems=20), iterations=30).progress
    linear = minimised(far, Space(*box, problems=20), iterations=30).progress
    assert np.median(log.objective) < 1e-3 * np.median(linear.objective)
    assert np.median(log.point, axis=0) == pytest.approx([2e-7, 30.0], rel=1e-2)


@pytest.mark.parametrize(
    "options",
    [
        {"topology": "ring"}, {"topology": "ring", "neighbours": 4}, {"inertia": 0.7}, {"mutate_best": False},
        {"inertia": "constriction", "cognitive": 2.05, "social": 2.05},
        {"inertia": lambda progress: 0.9 - 0.5 * progress}, {"particles": 5}, {"restarts": 2},
    ],
)  # fmt: skip
def test_settings(options):
    swarms = minimised(
        FUNCTIONS["sphere"][0], Space([-5] * 3, [5] * 3, problems=5), iterations=150,
        settings=SwarmSettings(**options),
    )  # fmt: skip
    assert np.median(swarms.progress.objective) < 1e-6


def test_constriction_factor():
    constriction = SwarmSettings(inertia="constriction", cognitive=2.05, social=2.05)
    assert constriction.factors(0.3) == (1.0, pytest.approx(0.7298437881283576))  # Clerc & Kennedy 2002
    assert SwarmSettings(inertia=(0.9, 0.4)).factors(0.5) == (pytest.approx(0.65), 1.0)


def test_ring_keeps_swarms_apart_for_longer():
    def spread(topology):
        swarms = Swarms(
            Space([-5] * 5, [5] * 5, problems=20), iterations=60, seed=3,
            settings=SwarmSettings(topology=topology, mutate_best=False),
        )  # fmt: skip
        for _ in range(20):
            _, points = swarms.ask()
            swarms.tell(rastrigin(points))
        return points.std(axis=1).mean()

    assert spread("ring") > 1.3 * spread("global")


def test_restarts_leave_a_local_minimum():
    space = Space([-5.12] * 3, [5.12] * 3, problems=40)
    base = {"particles": 6, "mutate_best": False, "inertia": 0.3}
    once = minimised(rastrigin, space, iterations=600, settings=SwarmSettings(**base))
    often = SwarmSettings(**base, restarts=30, restart_after=15)
    again = minimised(rastrigin, space, iterations=600, settings=often)
    assert np.mean(again.progress.objective) < 0.6 * np.mean(once.progress.objective)


def test_a_swarm_does_the_same_whatever_the_others_do():
    low, high = np.full((7, 4), -3.0), np.linspace(1, 4, 28).reshape(7, 4)
    all_of_them = minimised(rastrigin, Space(low, high), iterations=30, seed=5).progress
    few = minimised(rastrigin, Space(low[:3], high[:3]), iterations=30, seed=5).progress
    assert np.array_equal(all_of_them.point[:3], few.point)
    other = minimised(rastrigin, Space(low[:3], high[:3]), iterations=30, seed=6).progress
    assert not np.array_equal(few.point, other.point)
    assert len(np.unique(all_of_them.point[:, 0])) == 7


def test_stop_rules():
    space = Space([-5] * 2, [5] * 2, problems=6)
    swarms = minimised(rastrigin, space, iterations=200, stop=StopRule(target=1.0))
    done = swarms.progress
    assert (done.reason == "target").all()
    assert (done.objective <= 1.0).all()
    assert (done.iterations < 200).all()
    flat = minimised(lambda x: np.zeros(x.shape[:2]), space, iterations=200, stop=StopRule(patience=7))
    assert (flat.progress.iterations == 8).all()
    assert (flat.progress.reason == "patience").all()
    history = done.history()
    assert len(history) == done.iterations.sum()
    assert (history.groupby("row")["objective"].diff().dropna() <= 0).all()
    assert (history.groupby("row")["evaluations"].max() == done.evaluations).all()


def test_stalled_by_tolerance():
    values = iter([10.0, 9.99, 9.98, 5.0, 4.99, 4.98, 4.97])
    space = Space([0.0], [1.0])
    swarms = minimised(
        lambda x: np.full(x.shape[:2], next(values)), space, iterations=7,
        stop=StopRule(patience=3, tolerance=0.01),
    )  # fmt: skip
    assert swarms.progress.iterations.tolist() == [7]
    assert swarms.progress.objective.tolist() == [4.97]


def test_points_that_fail_are_never_the_best():
    def half(x):
        return np.where(x[..., 0] < 0, np.nan, x[..., 0])

    found = minimised(half, Space([-1.0, 0], [1.0, 1], problems=5), iterations=40).progress
    assert (found.point[:, 0] >= 0).all()
    assert found.objective.max() < 1e-3
    nothing = minimised(lambda x: np.full(x.shape[:2], np.nan), Space([0.0], [1.0]), iterations=3).progress
    assert np.isinf(nothing.objective).all()
    assert np.isinf(nothing.violation).all()


def test_debs_rules():
    value = np.array([[3.0, 1.0, 2.0, np.inf]])
    broken = np.array([[0.0, 0.5, 0.0, 0.1]])
    assert best_of(value, broken).tolist() == [2]
    assert rank(value, broken).tolist() == [[1, 3, 0, 2]]
    assert is_better(5.0, 0.0, 1.0, 0.1)
    assert not is_better(1.0, 0.2, 5.0, 0.1)
    assert is_better(1.0, 0.1, 1.0, 0.1, or_equal=True)


@given(st.integers(0, 2**32 - 1))
def test_best_is_the_first_in_the_order_of_ranks(seed):
    rng = np.random.default_rng(seed)
    value, broken = rng.integers(0, 4, (2, 5, 7)).astype(float)
    value[rng.random(value.shape) < 0.4] = rng.choice([np.inf, -np.inf])
    broken[rng.random(broken.shape) < 0.3] = np.inf
    best = best_of(value, broken)
    assert (rank(value, broken)[np.arange(5), best] == 0).all()


def test_nonlinear_constraint():
    # the nearest point of a disc to a point outside of it
    def broken(x):
        return np.maximum((x**2).sum(axis=-1) - 1, 0)

    found = minimised(
        lambda x: ((x - 2) ** 2).sum(axis=-1), Space([-3, -3], [3, 3], problems=5), iterations=150,
        violation=broken,
    ).progress  # fmt: skip
    assert (found.violation == 0).all()
    assert found.objective == pytest.approx(2 * (2 - np.sqrt(0.5)) ** 2, rel=1e-3)
    assert found.point == pytest.approx(np.full((5, 2), np.sqrt(0.5)), abs=2e-2)


def test_linear_constraint_with_the_answer_on_it():
    # maximise x + 2y + 3z with x + y + z <= 1
    space = Space([0] * 3, [1] * 3, problems=5, A=[[1, 1, 1]], b=[1])
    found = minimised(lambda x: -(x * [1, 2, 3]).sum(axis=-1), space, iterations=60).progress
    assert found.objective == pytest.approx(-3, abs=1e-6)


@pytest.mark.parametrize(
    ("A", "b"),
    [
        ([[1, 0], [-1, 0]], [3, -3]),  # x = 3
        ([[1, 0]], [0]),  # x <= 0, where it begins
        ([[1, 1], [-1, -1]], [2, -2]),  # x + y = 2
        ([[1, 1]], [0]),  # the corner alone
    ],
)
def test_constraints_that_leave_no_room_are_refused(A, b):
    with pytest.raises(InputError, match="leave no room between the bounds"):
        Space([0, 0], [10, 1], A=A, b=b, names=["x", "y"])


def test_constraints_that_touch_a_corner_leave_room():
    space = Space([0, 0], [10, 1], A=[[1, -1]], b=[0])  # x <= y
    points = space.repair(space.to_natural(np.random.default_rng(0).random((1, 200, 2))))
    assert space.feasible(points).all()
    assert np.ptp(points[0], axis=0).min() > 0.5


def test_bounds_of_one_logarithm_are_refused():
    with pytest.raises(InputError, match="have the same logarithm"):
        Space([1e16], [1e16 + 2], log=True)


boxes = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(1e-3, 1e3), min_size=n, max_size=n),
        st.lists(st.floats(1.001, 1e3), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(
            st.lists(st.integers(-2000, 2000).map(lambda k: k / 1000), min_size=n, max_size=n), max_size=3
        ),
        st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
        st.integers(0, 2**32),
    )
)


@settings(max_examples=60, deadline=None)
@given(boxes)
def test_bounds_and_linear_constraints_hold_always(drawn):
    low, factor, log, A, slack, seed = drawn
    low = np.array(low)
    high = low * np.array(factor)
    A = np.array(A).reshape(-1, len(low))
    # constraints that the geometric centre meets, by much or by little
    b = A @ np.sqrt(low * high) + np.array(slack[: len(A)])
    space = Space(low, high, log=log, problems=2, A=A, b=b)
    swarms = Swarms(space, iterations=6, seed=seed, settings=SwarmSettings(particles=6, velocity_limit=1.0))
    while swarms.active.any():
        rows, points = swarms.ask()
        assert (points >= low).all()
        assert (points <= high).all()
        if len(A):
            # the same sums as a user would make, up to rounding
            assert (points @ A.T <= b + 1e-12 * (np.abs(points) @ np.abs(A.T) + np.abs(b))).all()
        assert space.feasible(points).all()
        swarms.tell(rastrigin(points))
    assert space.feasible(swarms.progress.point[:, None, :]).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_to_unit_and_back(seed, log):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0.1, 10, (3, 4))
    space = Space(low, low * rng.uniform(1.5, 1e6, (3, 4)), log=log)
    unit = rng.random((3, 5, 4))
    assert space.to_unit(space.to_natural(unit)) == pytest.approx(unit, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**32))
def test_a_mutant_differs_and_stays_inside(dimensions, seed):
    rng = np.random.default_rng(seed)
    point = rng.random((5, dimensions))
    mutant = mutate(point, rng.random((5, 2 * dimensions + 1)))
    assert ((mutant >= 0) & (mutant <= 1)).all()
    assert (mutant != point).any(axis=1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(lower=[0, 2], upper=[1, 2]), "'x1' must have finite bounds with low < high, not 2 and 2"),
        (dict(lower=[0], upper=[np.inf]), "finite bounds"),
        (dict(lower=[0], upper=[1], log=True), "searched in logarithm, so its lower bound must be positive"),
        (dict(lower=[0, 0], upper=[1, 1], A=[[-1, -1]], b=[-3]), "No point between the bounds meets"),
        (dict(lower=[[0], [5]], upper=[2.0]), "not 5 and 2 in row 2"),
    ],
)
def test_impossible_spaces(arguments, message):
    with pytest.raises(InputError, match=message):
        Space(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"particles": 0}, "number of particles"),
        ({"topology": "star"}, "no topology 'star'"),
        ({"inertia": "constriction"}, r"cognitive \+ social > 4"),
        ({"inertia": None}, "The inertia of the swarm must be a finite number"),
        ({"velocity_limit": 0}, "must be positive"),
        ({"restarts": -1}, "number of restarts"),
    ],
)
def test_impossible_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        SwarmSettings(**arguments)


def test_misuse():
    swarms = Swarms(Space([0], [1]), iterations=3, seed=0)
    with pytest.raises(InputError, match="Ask the swarms"):
        swarms.tell([[1.0]])
    swarms.ask()
    with pytest.raises(InputError, match=r"shape \(1, 25\)"):
        swarms.tell([1.0])
    with pytest.raises(InputError, match="seed must be a whole number"):
        Swarms(Space([0], [1]), iterations=3, seed=1.5)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("T4 + 2*TE", 7.0), ("-(T4 - TE)/2", 1.0), ("max(T4, TE) - min(T4, TE)", 2.0), ("2**TE", 8.0),
        ("log10(100) + abs(-T4)", 3.0), ("1e-3*TE", 0.003),
    ],
)  # fmt: skip
def test_formulas(text, value):
    assert Expression(text)({"T4": 1.0, "TE": 3.0}) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["__import__('os')", "T4.real", "T4[0]", "(lambda: 1)()", "'a'", "T4 if TE else 0", "sin(T4)",
             "min(T4)", "T4 and TE", "True", "T4 +", "", "a = 3", "min(T4, key=TE)", None],
)  # fmt: skip
def test_what_is_no_formula(text):
    with pytest.raises(InputError):
        Expression(text)


def test_linear_forms():
    columns = {"C": np.array([2.0, 4.0])}
    form = Expression("3*(T4 - TE/C) + C").linear(["T4", "TE"], columns)
    assert form.constant.tolist() == [2, 4]
    assert form.coefficients["T4"] == 3
    assert form.coefficients["TE"].tolist() == [-1.5, -0.75]
    for text in ("T4*TE", "T4/TE", "T4**2", "log(T4)", "pfs + T4", "max(T4, 1)"):
        assert Expression(text).linear(["T4", "TE"], columns) is None


def test_relations():
    first, second = relations("0.4 <= TE/TP <= 0.6")
    assert (first.smaller.text, first.larger.text) == ("0.4", "TE/TP")
    assert (second.smaller.text, second.larger.text) == ("TE/TP", "0.6")
    (relation,) = relations("TE >= 2")
    assert (relation.smaller.text, relation.larger.text) == ("2", "TE")
    for text in ("TE", "TE == 2", "TE != 2"):
        with pytest.raises(InputError, match="must compare by"):
            relations(text)
