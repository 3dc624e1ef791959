"""The coefficient tables proved: order conditions, error estimates, interpolants, convergence, stability."""

import math
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from scipy.integrate import DOP853
from scipy.optimize import linprog

from fastcart.solvers.tableaus import EXPLICIT, NAMES, ExplicitTableau, RosenbrockTableau, get

ROSENBROCK = [name for name in NAMES if isinstance(get(name), RosenbrockTableau)]
THETAS = (0.0, 0.1, 0.25, 0.4, 0.5, 0.7, 0.85, 1.0)

# Rounding of the largest entries: the interpolants of high order have coefficients near 2000.
RESIDUAL = 5e-14
DENSE_RESIDUAL = 1e-12


# --- rooted trees: a tree is the sorted tuple of its root's subtrees, the single node is () ---


def partitions(total, largest=None):
    """All multisets of positive integers with the given sum, as decreasing tuples."""
    if total == 0:
        yield ()
        return
    for part in range(min(total, largest or total), 0, -1):
        for rest in partitions(total - part, part):
            yield (part, *rest)


def rooted_trees(order):
    """All rooted trees with up to ``order`` nodes, as a list (by number of nodes) of lists."""
    trees = [[], [()]]
    for nodes in range(2, order + 1):
        found = []
        for sizes in partitions(nodes - 1):
            choices = [combinations_with_replacement(trees[size], n) for size, n in Counter(sizes).items()]
            found += [tuple(sorted(sum(parts, ()))) for parts in product(*choices)]
        trees.append(found)
    return trees


TREES = rooted_trees(9)


def nodes(tree):
    return 1 + sum(nodes(child) for child in tree)


def density(tree):
    return nodes(tree) * math.prod(density(child) for child in tree)


def elementary_weight(tree, alpha, beta):
    """Each stage's elementary weight; ``beta`` acts on an only child (Rosenbrock), ``alpha`` otherwise."""
    matrix = beta if len(tree) == 1 else alpha
    value = np.ones(alpha.shape[0])
    for child in tree:
        value = value * (matrix @ elementary_weight(child, alpha, beta))
    return value


def residuals(weights, order, alpha, beta=None, theta=1.0):
    """Residual of the order condition of each tree with exactly ``order`` nodes."""
    beta = alpha if beta is None else beta
    return np.array(
        [
            weights @ elementary_weight(tree, alpha, beta) - theta**order / density(tree)
            for tree in TREES[order]
        ]
    )


def worst(weights, orders, alpha, beta=None, theta=1.0):
    return max(abs(residuals(weights, order, alpha, beta, theta)).max() for order in orders)


def extended(tableau):
    """The matrix of all stages of an explicit method, those of the interpolant included."""
    s, n = tableau.stages, tableau.stages + tableau.extra_stages
    A = np.zeros((n, n))
    A[:s, :s] = tableau.A
    if tableau.extra_A is not None:
        A[s:] = tableau.extra_A
    return A


def classical(tableau):
    """alpha, alpha + Gamma and Gamma of a Rosenbrock method from its transformed coefficients."""
    Gamma = np.linalg.inv(np.eye(tableau.stages) / tableau.gamma - tableau.C)
    alpha = tableau.A @ Gamma
    return alpha, alpha + Gamma, Gamma


def test_number_of_rooted_trees():
    assert [len(trees) for trees in TREES] == [0, 1, 1, 2, 4, 9, 20, 48, 115, 286]
    assert all(len(set(trees)) == len(trees) for trees in TREES)
    assert density(((), ((),))) == 4 * 1 * 2


# --- the registry and the tables as objects ---


def test_registry():
    assert set(NAMES) >= {"tsit5", "dop853", "rodas5p"}
    assert list(EXPLICIT) == [name for name in NAMES if isinstance(get(name), ExplicitTableau)]
    for name in NAMES:
        assert get(name) is get(name)
        assert get(name).name == name
    with pytest.raises(ValueError, match="unknown method 'rk4'"):
        get("rk4")


def test_import_needs_only_numpy():
    code = (
        "import sys\n"
        "from fastcart.solvers.tableaus import NAMES, get\n"
        "[get(name) for name in NAMES]\n"
        "print([m for m in ('scipy', 'numba', 'pandas') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_read_only(name):
    tableau = get(name)
    with pytest.raises(FrozenInstanceError):
        tableau.order = 1
    with pytest.raises(ValueError, match="read-only"):
        tableau.A[-1, 0] = 0.0
    assert tableau.dense.flags.c_contiguous
    assert tableau.dense.dtype == np.float64


def test_wrong_tables_are_refused():
    tsit5, dop853, rodas5p = get("tsit5"), get("dop853"), get("rodas5p")
    with pytest.raises(ValueError, match="error has the shape"):
        replace(tsit5, error=np.zeros(3))
    with pytest.raises(ValueError, match="not strictly lower triangular"):
        replace(rodas5p, C=np.eye(8))
    with pytest.raises(ValueError, match="come together"):
        replace(dop853, extra_c=None)
    with pytest.raises(ValueError, match="itself or a later one"):
        replace(dop853, extra_A=np.ones((3, 16)))


# --- explicit methods ---


@pytest.mark.parametrize("name", EXPLICIT)
def test_row_sums_and_first_same_as_last(name):
    tableau = get(name)
    np.testing.assert_allclose(tableau.A.sum(axis=1), tableau.c, rtol=0, atol=3e-14)
    assert tableau.c[0] == 0.0
    assert tableau.c[-1] == 1.0
    assert tableau.b[-1] == 0.0
    if tableau.extra_A is not None:
        np.testing.assert_allclose(tableau.extra_A.sum(axis=1), tableau.extra_c, rtol=0, atol=2e-15)


@pytest.mark.parametrize("name", EXPLICIT)
def test_solution_order(name):
    tableau = get(name)
    assert worst(tableau.b, range(1, tableau.order + 1), tableau.A) < RESIDUAL
    assert worst(tableau.b, [tableau.order + 1], tableau.A) > 1e-6


@pytest.mark.parametrize("name", EXPLICIT)
def test_embedded_order(name):
    tableau = get(name)
    estimates = [(tableau.error, tableau.error_order)]
    if tableau.error_low is not None:
        estimates = [(tableau.error, 5), (tableau.error_low, 3)]
        # h e^2 / sqrt(e^2 + 0.01 e_low^2) with h e ~ h^6 and h e_low ~ h^4
        assert tableau.error_order + 1 == 2 * (5 + 1) - (3 + 1)
    for error, order in estimates:
        embedded = tableau.b - error
        assert worst(embedded, range(1, order + 1), tableau.A) < RESIDUAL
        assert worst(embedded, [order + 1], tableau.A) > 1e-5


@pytest.mark.parametrize("name", EXPLICIT)
@pytest.mark.parametrize("theta", THETAS)
def test_interpolant_order(name, theta):
    tableau = get(name)
    weights, A = tableau.dense_weights(theta), extended(tableau)
    assert worst(weights, range(1, tableau.dense_order + 1), A, theta=theta) < DENSE_RESIDUAL
    if 0.0 < theta < 1.0:
        # Vern7's interpolant misses order 7 by little: see its module
        next_order = worst(weights, [tableau.dense_order + 1], A, theta=theta)
        assert 1e-8 < next_order < 3e-7 if name == "vern7" else next_order > 1e-6


@pytest.mark.parametrize("name", EXPLICIT)
def test_interpolant_is_continuously_differentiable(name):
    tableau = get(name)
    s, n = tableau.stages, tableau.stages + tableau.extra_stages
    powers = np.arange(1, tableau.dense.shape[1] + 1)
    at_end = np.concatenate([tableau.b, np.zeros(n - s)])
    np.testing.assert_allclose(tableau.dense_weights(1.0), at_end, rtol=0, atol=DENSE_RESIDUAL)
    assert not tableau.dense_weights(0.0).any()
    np.testing.assert_array_equal(tableau.dense[:, 0], np.eye(n)[0])
    np.testing.assert_allclose(tableau.dense @ powers, np.eye(n)[s - 1], rtol=0, atol=3 * DENSE_RESIDUAL)


# --- stability of explicit methods on the negative real axis ---

INTERVAL = {"tsit5": 3.5, "stab5": 16.9}  # in whole tenths
DAMPED = 16.8  # of stab5


def stage_growth(tableau, x):
    """Each stage of u' = -x u for a step of 1 from 1; shape (stages, x)."""
    A = tableau.A
    growth = np.ones((tableau.stages, x.size))
    for i in range(1, tableau.stages):
        growth[i] = 1.0 - x * (A[i, :i] @ growth[:i])
    return growth


@pytest.mark.parametrize("name", INTERVAL)
def test_real_stability_interval(name):
    tableau, end = get(name), INTERVAL[name]
    x = np.linspace(0.0, end, 2000)[1:]
    assert abs(stage_growth(tableau, x)[-1]).max() < 1.0
    assert abs(stage_growth(tableau, np.array([end + 0.1]))[-1, 0]) > 1.0
    # the same, found by steps
    decay = ProtheroRobinson(-1.0)
    decay.f = lambda t, u: -u
    for h, stable in ((end, True), (end + 0.1, False)):
        u = np.ones(1)
        for _ in range(400):
            u = explicit_step(tableau, decay, 0.0, u, h)[0]
        assert (abs(u[0]) < 1.0) == stable


def test_stab5_has_the_stability_polynomial_that_damps_most():
    """No polynomial of degree 9 that agrees with exp to order 5 is smaller on [-16.8, -1]."""
    tableau, end = get("stab5"), DAMPED
    x = 0.5 * end * (1.0 - np.cos(np.linspace(0.0, np.pi, 800)))
    x = x[x > 1.0]
    taylor = sum((-x) ** k / math.factorial(k) for k in range(6))
    chebyshev = np.cos(np.outer(np.arccos(2.0 * x / end - 1.0), range(4)))
    free, ones = (x / end)[:, None] ** 6 * chebyshev, np.ones((x.size, 1))
    best = linprog(
        [0.0] * 4 + [1.0], A_ub=np.block([[free, -ones], [-free, -ones]]),
        b_ub=np.concatenate([-taylor, taylor]), bounds=[(None, None)] * 4 + [(0.0, None)],
    ).fun  # fmt: skip
    assert abs(stage_growth(tableau, x)[-1]).max() == pytest.approx(best, rel=1e-3)
    assert best == pytest.approx(0.506, abs=1e-3)


def test_stab5_inside_a_step():
    """Rounding and a transient do not grow from stage to stage, nor in the interpolant or the estimate."""
    tableau = get("stab5")
    x = np.linspace(0.0, DAMPED, 500)
    growth = stage_growth(tableau, x)
    assert abs(growth).max() < 1.4
    assert abs(x * (tableau.error @ growth)).max() < 0.15
    inside = [1.0 - x * (tableau.dense_weights(theta) @ growth) for theta in np.linspace(0.0, 1.0, 41)]
    assert abs(np.array(inside)).max() < 1.6
    assert (tableau.c >= 0.0).all()
    assert (tableau.c <= 1.0).all()
    assert abs(tableau.A).max() < 1.1


@pytest.mark.parametrize("power", [2, 3])
def test_stab5_follows_a_slow_solution_up_to_the_end_of_its_interval(power):
    """u' = -x (u - phi) + phi' with phi = t^power / power!, one step of 1 from phi(0): the error is small."""
    tableau = get("stab5")
    phi = lambda t: t**power / math.factorial(power)  # noqa: E731
    slope_of_phi = lambda t: t ** (power - 1) / math.factorial(power - 1)  # noqa: E731
    worst_error = 0.0
    for x in np.linspace(0.0, DAMPED, 100):
        problem = ProtheroRobinson(-x)
        problem.f = lambda t, u, x=x: -x * (u - phi(t)) + slope_of_phi(t)
        u = explicit_step(tableau, problem, 0.0, np.zeros(1), 1.0)[0]
        worst_error = max(worst_error, abs(u[0] - phi(1.0)))
    assert worst_error < 0.03


# --- Rosenbrock methods ---


@pytest.mark.parametrize("name", ROSENBROCK)
def test_rosenbrock_sums(name):
    tableau = get(name)
    alpha, _, Gamma = classical(tableau)
    np.testing.assert_allclose(alpha.sum(axis=1), tableau.c, rtol=0, atol=RESIDUAL)
    np.testing.assert_allclose(Gamma.sum(axis=1), tableau.d, rtol=0, atol=RESIDUAL)
    np.testing.assert_allclose((tableau.b @ Gamma).sum(), 1.0, rtol=0, atol=RESIDUAL)
    np.testing.assert_allclose((tableau.error @ Gamma).sum(), 0.0, rtol=0, atol=RESIDUAL)


@pytest.mark.parametrize("name", ROSENBROCK)
def test_rosenbrock_order(name):
    tableau = get(name)
    alpha, beta, Gamma = classical(tableau)
    b, embedded = tableau.b @ Gamma, (tableau.b - tableau.error) @ Gamma
    assert worst(b, range(1, tableau.order + 1), alpha, beta) < RESIDUAL
    assert worst(b, [tableau.order + 1], alpha, beta) > 1e-5
    assert worst(embedded, range(1, tableau.error_order + 1), alpha, beta) < RESIDUAL
    assert worst(embedded, [tableau.error_order + 1], alpha, beta) > 1e-5


@pytest.mark.parametrize("name", ROSENBROCK)
@pytest.mark.parametrize("theta", THETAS)
def test_rosenbrock_interpolant_order(name, theta):
    tableau = get(name)
    alpha, beta, Gamma = classical(tableau)
    weights = tableau.dense_weights(theta) @ Gamma
    assert worst(weights, range(1, tableau.dense_order + 1), alpha, beta, theta) < RESIDUAL
    if 0.0 < theta < 1.0:
        assert worst(weights, [tableau.dense_order + 1], alpha, beta, theta) > 1e-6


@pytest.mark.parametrize("name", ROSENBROCK)
def test_rosenbrock_interpolant_ends(name):
    tableau = get(name)
    np.testing.assert_allclose(tableau.dense_weights(1.0), tableau.b, rtol=0, atol=RESIDUAL)
    assert not tableau.dense_weights(0.0).any()


@pytest.mark.parametrize("name", ROSENBROCK)
def test_rosenbrock_stability(name):
    tableau = get(name)
    _, beta, Gamma = classical(tableau)
    s = tableau.stages

    def growth(weights, z):
        return 1.0 + z * (weights @ Gamma) @ np.linalg.solve(np.eye(s) - z * beta, np.ones(s))

    # stiffly accurate, the embedded solution too: the weights are the last rows of beta
    np.testing.assert_allclose(tableau.b @ Gamma, beta[-1], rtol=0, atol=RESIDUAL)
    embedded = tableau.b - tableau.error
    np.testing.assert_allclose(embedded @ Gamma, beta[-2], rtol=0, atol=RESIDUAL)
    # L-stability: R(infinity) = 0, and |R| <= 1 on the imaginary axis (all poles are at 1 / gamma > 0)
    at_infinity = 1.0 - (tableau.b @ Gamma) @ np.linalg.solve(beta, np.ones(s))
    assert abs(at_infinity) < 1e-12
    for z in (-1e3, -1e6, -1e9):
        assert abs(growth(tableau.b, z)) < 20.0 / abs(z)
        assert abs(growth(embedded, z)) < 20.0 / abs(z)
    for y in np.geomspace(1e-3, 1e6, 400):
        assert abs(growth(tableau.b, 1j * y)) <= 1.0 + 1e-12
    for z in (-0.01, -0.02):
        assert abs(growth(tableau.b, z) - math.exp(z)) < abs(z) ** (tableau.order + 1)


# --- convergence on problems, in plain numpy ---


class Oscillator:
    """Two nonlinear equations that depend on time, with the solution exp(sin t), cos t."""

    end = 4.0
    start = np.array([1.0, 1.0])

    @staticmethod
    def exact(t):
        return np.array([math.exp(math.sin(t)), math.cos(t)])

    @staticmethod
    def f(t, u):
        return np.array([u[0] * u[1], u[1] ** 2 + math.sin(t) ** 2 - 1.0 - math.log(u[0])])

    @staticmethod
    def jacobian(t, u):
        return np.array([[u[1], u[0]], [-1.0 / u[0], 2.0 * u[1]]])

    @staticmethod
    def f_t(t, u):
        return np.array([0.0, math.sin(2.0 * t)])


class Riccati:
    """u' = -u^2 + sin t, u(0) = 1; the reference is summed from Taylor series."""

    end = 2.0
    start = np.array([1.0])
    pieces = 20
    terms = 24

    @staticmethod
    def f(t, u):
        return -(u**2) + math.sin(t)

    @staticmethod
    def jacobian(t, u):
        return np.array([[-2.0 * u[0]]])

    @staticmethod
    def f_t(t, u):
        return np.array([math.cos(t)])

    def __init__(self):
        width = self.end / self.pieces
        self.series = []
        value = self.start[0]
        for piece in range(self.pieces):
            t = piece * width
            series = [value]
            for n in range(self.terms):
                square = math.fsum(series[i] * series[n - i] for i in range(n + 1))
                series.append((math.sin(t + n * math.pi / 2.0) / math.factorial(n) - square) / (n + 1))
            self.series.append(series)
            value = math.fsum(a * width**n for n, a in enumerate(series))

    def exact(self, t):
        width = self.end / self.pieces
        piece = min(int(t / width), self.pieces - 1)
        return np.array([math.fsum(a * (t - piece * width) ** n for n, a in enumerate(self.series[piece]))])


class ProtheroRobinson:
    """u' = rate (u - sin t) + cos t, the solution is sin t for any stiffness."""

    end = 1.0

    def __init__(self, rate):
        self.rate = rate
        self.start = self.exact(0.0)

    @staticmethod
    def exact(t):
        return np.array([math.sin(t + 0.3)])

    def f(self, t, u):
        return self.rate * (u - self.exact(t)) + math.cos(t + 0.3)

    def jacobian(self, t, u):
        return np.array([[self.rate]])

    def f_t(self, t, u):
        return np.array([-self.rate * math.cos(t + 0.3) - math.sin(t + 0.3)])


def explicit_step(tableau, problem, t, u, h):
    """Return the solution, the error estimate (a norm) and the interpolant of one step."""
    A, s = extended(tableau), tableau.stages
    c = tableau.c if tableau.extra_c is None else np.concatenate([tableau.c, tableau.extra_c])
    k = np.zeros((A.shape[0], u.size))
    for i in range(A.shape[0]):
        k[i] = problem.f(t + c[i] * h, u + h * (A[i, :i] @ k[:i]))
    estimate = np.linalg.norm(tableau.error @ k[:s])
    if tableau.error_low is not None:
        low = np.linalg.norm(tableau.error_low @ k[:s])
        estimate = estimate**2 / math.sqrt(estimate**2 + 0.01 * low**2)
    return u + h * (tableau.b @ k[:s]), h * estimate, lambda th: u + h * (tableau.dense_weights(th) @ k)


def rosenbrock_step(tableau, problem, t, u, h):
    """Return the solution, the error estimate (a norm) and the interpolant of one step."""
    s = tableau.stages
    k = np.zeros((s, u.size))
    W = np.eye(u.size) / (h * tableau.gamma) - problem.jacobian(t, u)
    f_t = problem.f_t(t, u)
    for i in range(s):
        right = problem.f(t + tableau.c[i] * h, u + tableau.A[i, :i] @ k[:i])
        right = right + (tableau.C[i, :i] @ k[:i]) / h + tableau.d[i] * h * f_t
        k[i] = np.linalg.solve(W, right)
    estimate = np.linalg.norm(tableau.error @ k)
    return u + tableau.b @ k, estimate, lambda th: u + tableau.dense_weights(th) @ k


def step(tableau, *arguments):
    one = explicit_step if isinstance(tableau, ExplicitTableau) else rosenbrock_step
    return one(tableau, *arguments)


def slope(hs, errors):
    return np.polyfit(np.log(hs), np.log(errors), 1)[0]


def observed_orders(tableau, problem, step_numbers):
    """Fit the orders of the solution and of the interpolant, both over the whole interval, to the steps."""
    hs, solution, interpolant = [], [], []
    for n in step_numbers:
        h = problem.end / n
        u = problem.start
        worst_solution = worst_interpolant = 0.0
        for i in range(n):
            u, _, dense = step(tableau, problem, i * h, u, h)
            worst_solution = max(worst_solution, abs(u - problem.exact((i + 1) * h)).max())
            for theta in (0.23, 0.5, 0.81):
                error = abs(dense(theta) - problem.exact((i + theta) * h)).max()
                worst_interpolant = max(worst_interpolant, error)
        hs.append(h)
        solution.append(worst_solution)
        interpolant.append(worst_interpolant)
    return slope(hs, solution), slope(hs, interpolant)


def local_orders(tableau, problem, t, hs):
    """Fit the orders in h of the error estimate, of the error and of the interpolant's error in one step."""
    rows = []
    for h in hs:
        u, estimate, dense = step(tableau, problem, t, problem.exact(t), h)
        error = np.linalg.norm(u - problem.exact(t + h))
        rows.append((estimate, error, np.linalg.norm(dense(0.5) - problem.exact(t + 0.5 * h))))
    return [slope(hs, column) for column in np.array(rows).T]


# steps over the whole interval, past the first coarse ones and before rounding
STEPS = {
    ("tsit5", Oscillator): (16, 24, 32),
    ("tsit5", Riccati): (32, 48, 64),
    ("vern7", Oscillator): (64, 80, 96),
    ("vern7", Riccati): (12, 16, 24),
    ("dop853", Oscillator): (12, 16, 24),
    ("dop853", Riccati): (12, 16, 24),
    ("stab5", Oscillator): (24, 32, 48),
    ("stab5", Riccati): (32, 48, 64),
    ("rodas5p", Oscillator): (32, 48, 64),
    ("rodas5p", Riccati): (48, 64, 96),
}


@pytest.mark.parametrize("problem", [Oscillator, Riccati])
@pytest.mark.parametrize("name", NAMES)
def test_convergence(name, problem):
    tableau = get(name)
    solution, interpolant = observed_orders(tableau, problem(), STEPS[name, problem])
    assert solution > tableau.order - 0.3
    # The solution's error limits the interpolant's; without it each is one order better inside a step.
    expected = min(tableau.order, tableau.dense_order + 1)
    assert interpolant > expected - 0.4


@pytest.mark.parametrize("name", NAMES)
def test_order_in_one_step(name):
    tableau = get(name)
    estimate, error, interpolant = local_orders(tableau, Oscillator(), 0.0, (0.2, 0.14, 0.1))
    assert estimate == pytest.approx(tableau.error_order + 1, abs=0.35)
    assert error > tableau.order + 1 - 0.3
    assert interpolant > tableau.dense_order + 1 - 0.3


def test_dop853_is_scipys():
    """One step and its interpolant agree with SciPy's solver of the same name."""
    problem, h = Oscillator(), 0.25
    solver = DOP853(problem.f, 0.0, problem.start, 10.0, first_step=h, rtol=1e-2, atol=1e-2)
    solver.step()
    assert solver.t == h
    u, _, dense = explicit_step(get("dop853"), problem, 0.0, problem.start, h)
    np.testing.assert_allclose(u, solver.y, rtol=1e-14)
    theirs = solver.dense_output()
    for theta in THETAS:
        np.testing.assert_allclose(dense(theta), theirs(theta * h), rtol=1e-13)


def test_reference_solutions():
    """The problems' reference solutions satisfy the equations, and the derivatives are the equations'."""
    eps = 1e-6
    for problem in (Oscillator(), Riccati(), ProtheroRobinson(-5.0)):
        np.testing.assert_allclose(problem.exact(0.0), problem.start, rtol=0, atol=1e-15)
        for t in (0.31, 0.98):
            u = problem.exact(t)
            slope_of_u = (problem.exact(t + eps) - problem.exact(t - eps)) / (2.0 * eps)
            np.testing.assert_allclose(slope_of_u, problem.f(t, u), rtol=0, atol=1e-8)
            f_t = (problem.f(t + eps, u) - problem.f(t - eps, u)) / (2.0 * eps)
            np.testing.assert_allclose(problem.f_t(t, u), f_t, rtol=0, atol=1e-8)
            for j, direction in enumerate(np.eye(u.size)):
                column = (problem.f(t, u + eps * direction) - problem.f(t, u - eps * direction)) / (2.0 * eps)
                np.testing.assert_allclose(problem.jacobian(t, u)[:, j], column, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ROSENBROCK)
def test_prothero_robinson(name):
    tableau = get(name)
    # moderately stiff: the classical order
    solution, interpolant = observed_orders(tableau, ProtheroRobinson(-10.0), (16, 32, 64))
    assert solution > tableau.order - 0.3
    assert interpolant > tableau.order - 0.3
    # stiff, the steps much longer than the fast time: order 3 with an error that falls with the rate, and
    # order 4 inside the steps
    solution, interpolant = observed_orders(tableau, ProtheroRobinson(-1e6), (16, 32, 64))
    assert solution > 2.7
    assert interpolant > tableau.dense_order - 0.3


@pytest.mark.parametrize("name", ROSENBROCK)
def test_stiff_error_falls_with_the_rate(name):
    tableau = get(name)
    problems = [ProtheroRobinson(rate) for rate in (-1e4, -1e5, -1e6)]
    h = 1.0 / 16.0
    errors = []
    for problem in problems:
        u = problem.start
        for i in range(16):
            u = step(tableau, problem, i * h, u, h)[0]
        errors.append(abs(u - problem.exact(1.0)).max())
    assert errors[0] < 1e-9
    assert errors[1] < errors[0] / 5.0
    assert errors[2] < errors[1] / 5.0


@pytest.mark.parametrize("name", ROSENBROCK)
def test_one_long_stiff_step_lands_on_the_solution(name):
    """A step of thousands of fast times from a point off the slow solution: the transient is gone."""
    tableau = get(name)
    problem = ProtheroRobinson(-1e9)
    u, _, _ = step(tableau, problem, 0.0, problem.start + 1.0, 0.01)
    np.testing.assert_allclose(u, problem.exact(0.01), rtol=0, atol=1e-5)
