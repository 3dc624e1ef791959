"""Right-hand sides as graphs: the same numbers as the functions, exact derivatives, or a refusal."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

import fastcart
import fastcart.math as vector_math
from fastcart import models
from fastcart.patients import check_patients
from fastcart.solvers.trace import evaluate, graph, machine, vectors
from fastcart.solvers.trace.following import follow
from fastcart.solvers.trace.forward import derivatives
from fastcart.solvers.trace.graph import Graph, TraceError, larger, unary
from fastcart.solvers.trace.program import TIME, Program
from fastcart.solvers.trace.sparse import factors, solve

LANES = 32


def compiled(made: Graph, outputs, rows: dict[tuple[str, int], int]):
    """Return a function of an array (rows, lanes) that returns the outputs, by vector code."""
    count = len(rows)
    places = {key: row * LANES for key, row in rows.items()}
    listed = [(value, (count + k) * LANES) for k, value in enumerate(outputs)]
    text = vectors.module_text(made, "tested", inputs=places, single={}, outputs=listed, lanes=LANES)
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(machine.address(text, "tested"))

    def call(values: np.ndarray) -> np.ndarray:
        buffer = np.zeros((count + len(outputs), LANES))
        buffer[:count] = values
        function(buffer.ctypes.data)
        return buffer[count:]

    return call


def of_one(function):
    """Return a function of a vector as vector code."""
    made = Graph()
    x = made.input("x")
    (value,) = follow(made, function, (x,))
    call = compiled(made, [value], {("x", 0): 0})

    def over(values):
        values = np.asarray(values, dtype=float)
        padded = np.zeros(-(-len(values) // LANES) * LANES)
        padded[: len(values)] = values
        parts = [call(part[np.newaxis])[0] for part in padded.reshape(-1, LANES)]
        return np.concatenate(parts)[: len(values)]

    return over


ORDINARY = np.concatenate([np.linspace(-30, 30, 4001), np.geomspace(1e-12, 1e3, 999), [0.0]])
POSITIVE = np.geomspace(1e-300, 1e300, 4001)


@pytest.mark.parametrize(
    ("function", "exact", "points"),
    [
        (lambda x: math.exp(x), np.exp, ORDINARY[ORDINARY < 700]),
        (lambda x: math.log(x), np.log, POSITIVE),
        (lambda x: np.sqrt(x), np.sqrt, POSITIVE),
        (lambda x: math.floor(x), np.floor, ORDINARY),
        (lambda x: abs(x), np.abs, ORDINARY),
        (lambda x: math.sin(x), np.sin, ORDINARY),
        (lambda x: np.tanh(x), np.tanh, ORDINARY),
        (lambda x: math.expm1(x), np.expm1, ORDINARY[np.abs(ORDINARY) < 700]),
        (lambda x: np.log1p(x), np.log1p, POSITIVE),
        (lambda x: x % 0.7, lambda x: x % 0.7, np.linspace(-30, 30, 999)),
        (lambda x: x // 0.7, lambda x: x // 0.7, np.linspace(-30, 30, 999) + 1e-3),
        (lambda x: x**3, lambda x: x**3, ORDINARY),
        (lambda x: x**-2, lambda x: x**-2.0, POSITIVE[1400:2600]),
        (lambda x: x**0.5, np.sqrt, POSITIVE),
        (lambda x: x**1.7, lambda x: x**1.7, np.geomspace(1e-8, 1e8, 999)),
        (lambda x: 2.0**x, lambda x: 2.0**x, ORDINARY),
        (lambda x: max(x, 1.5) - min(2.0, x), lambda x: np.maximum(x, 1.5) - np.minimum(2.0, x), ORDINARY),
        (lambda x: 3.0 / x, lambda x: 3.0 / x, POSITIVE[1400:2600]),
        (lambda x: 1 - 1 / (1 + x), lambda x: x / (1 + x), np.geomspace(1e-30, 1e30, 999)),
    ],
)  # fmt: skip
def test_functions(function, exact, points):
    with np.errstate(all="ignore"):
        expected = exact(points)
    np.testing.assert_allclose(of_one(function)(points), expected, rtol=1e-13, atol=2e-14)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (lambda x: math.exp(x), math.inf, math.inf), (lambda x: math.exp(x), -math.inf, 0.0),
        (lambda x: math.exp(x), 800.0, math.inf), (lambda x: math.exp(x), math.nan, math.nan),
        (lambda x: math.log(x), 0.0, -math.inf), (lambda x: math.log(x), -1.0, math.nan),
        (lambda x: math.log(x), math.inf, math.inf),
        (lambda x: x**2.5, 0.0, 0.0), (lambda x: x**2.5, -1.0, math.nan), (lambda x: x**-2.5, 0.0, math.inf),
        (lambda x: (-2.0) ** x, 3.0, -8.0), (lambda x: (-2.0) ** x, 2.0, 4.0),
        (lambda x: (-2.0) ** x, 0.5, math.nan), (lambda x: 1.0**x, math.nan, 1.0),
        (lambda x: x**x, 0.0, 1.0), (lambda x: x / x, 0.0, math.nan),
        (lambda x: 1 - 1 / (1 + x), 0.0, 0.0), (lambda x: 1 - 1 / (1 + x), math.inf, 1.0),
        (lambda x: x - x, math.inf, math.nan),
    ],
)  # fmt: skip
def test_special_values(function, x, expected):
    found = of_one(function)([x])[0]
    assert found == pytest.approx(expected, rel=1e-14, nan_ok=True)


def test_powers_with_signs():
    made = Graph()
    x, y = made.input("x", 0), made.input("x", 1)
    call = compiled(made, [x**y], {("x", 0): 0, ("x", 1): 1})
    bases = np.resize([-2.0, -1.5, 0.0, 1.0, 2.5, math.inf], LANES)
    exponents = np.resize([3.0, 2.0, 0.0, -1.0, 0.5, math.inf, 2.5], LANES)
    with np.errstate(all="ignore"):
        expected = bases**exponents
    found = call(np.array([bases, exponents]))[0]
    undefined = np.isinf(exponents) & (bases < 0)  # of no even or odd number
    np.testing.assert_allclose(found[~undefined], expected[~undefined], rtol=1e-14)


@pytest.mark.parametrize(
    ("base", "exact"), [(abs, np.abs), (lambda x: larger(x, 0.0), lambda x: np.maximum(x, 0.0))]
)
def test_powers_of_what_is_not_negative_are_those_of_any_number(base, exact):
    made = Graph()
    x, y = made.input("x", 0), made.input("x", 1)
    call = compiled(made, [base(x) ** y], {("x", 0): 0, ("x", 1): 1})
    edges = [0.0, -0.0, 1.0, 0.3, 7.0, 1e-300, 1e300, math.inf, math.nan, -2.0]
    powers = [0.0, 1.0, -1.0, 2.5, -2.5, 400.0, -400.0, math.inf, -math.inf, math.nan]
    bases, exponents = (part.ravel() for part in np.meshgrid(edges, powers))
    # what is subnormal is 0 there
    with np.errstate(all="ignore"):
        expected = np.where(bases == 0.0, 0.0, exact(bases)) ** exponents
    for first in range(0, bases.size, LANES):
        part = slice(first, first + LANES)
        found = call(np.array([np.resize(bases[part], LANES), np.resize(exponents[part], LANES)]))[0]
        count = len(bases[part])
        np.testing.assert_allclose(found[:count], expected[part], rtol=1e-13)


def test_an_exponential_function_ends_where_numbers_do():
    x = np.array([-750.0, -709.0, -708.0, -707.6, -706.0, 709.7, 709.782712893383, 709.79, 745.0])
    found = np.array([of_one(lambda x: math.exp(x))([value])[0] for value in x])
    np.testing.assert_array_equal(found[:3], 0.0)
    np.testing.assert_allclose(found[3:7], np.exp(x[3:7]), rtol=1e-12)
    np.testing.assert_array_equal(found[7:], math.inf)


@pytest.mark.parametrize("factor", [1e-300, 1e-200, 0.25, 0.0, 3.0])
@pytest.mark.parametrize("function", [lambda x: unary("exp", x), lambda x: abs(x) ** 300.5])
def test_what_overflows_is_infinite_whatever_it_is_multiplied_by(factor, function):
    made = Graph()
    x, c = made.input("x", 0), made.input("c", 0)
    value = function(x)
    outputs = [c * value, value * c * 0.5, factor * value, value * value, c * (1.0 - value)]
    call = compiled(made, outputs, {("x", 0): 0, ("c", 0): 1})
    found = call(np.array([np.full(LANES, 1000.0), np.full(LANES, factor)]))[:, 0]
    with np.errstate(invalid="ignore"):
        expected = np.array([factor, factor * 0.5, factor, 1.0, -factor]) * math.inf
    expected[2] = 0.0 if factor == 0.0 else math.inf  # a constant 0 times anything is not computed
    np.testing.assert_array_equal(found, expected)


def test_a_constant_base_is_no_number_of_a_node():
    """Node 2, which is never negative, says nothing of a base -2.0, nor 2.0 of one that is."""
    made = Graph()
    size, n = abs(made.input("x", 0)), made.input("n", 0)
    outputs = [(-2.0) ** n + 0.0 * size, 2.0**n, (-1.0) ** n]
    found = compiled(made, outputs, {("x", 0): 0, ("n", 0): 1})(np.array([[1.0] * LANES, [3.0] * LANES]))
    np.testing.assert_allclose(found[:, 0], [-8.0, 8.0, -1.0], rtol=1e-14)


def test_a_long_way_to_the_base_of_a_power_is_gone_once():
    """Each of these nodes has the one before twice: to ask both again would take for ever."""
    made = Graph()
    base = abs(made.input("x", 0))
    for _ in range(2000):
        base = 0.25 * (base + base)
    call = compiled(made, [(1.0 + base) ** made.input("n", 0)], {("x", 0): 0, ("n", 0): 1})
    found = call(np.array([np.full(LANES, -3.0), np.full(LANES, 2.5)]))[0]
    np.testing.assert_array_equal(found, 1.0)


def test_the_larger_of_no_number_and_a_negative_one_keeps_its_sign():
    made = Graph()
    x, y = made.input("x", 0), made.input("y", 0)
    of_first = larger(x, unary("sqrt", y)) ** 3.5
    call = compiled(made, [larger(x, unary("sqrt", y)) ** made.input("n", 0), of_first], {
        ("x", 0): 0, ("y", 0): 1, ("n", 0): 2,
    })  # fmt: skip
    rows = [np.full(LANES, value) for value in (-3.0, -1.0, 3.0)]
    found = call(np.array(rows))[:, 0]
    assert found[0] == pytest.approx(-27.0, rel=1e-13)
    assert math.isnan(found[1])


# --- following functions ----------------------------------------------------------------------------------

THRESHOLD = 2.0
TABLE = np.array([0.5, 1.5, 2.5])


@njit
def _helper(x, k=3.0):
    return x / (k + x)


@njit
def _elif(a, b):
    if a < 1.0:
        r = b
    elif a < THRESHOLD and b > 0.5:
        r = a * b
    else:
        r = -a
    return r, r + 1.0


@njit
def _chained(a, b):
    inside = 0.5 < a < 2.0
    return (a if inside else b), (1.0 if not inside or b > 1.0 else 0.0)


@njit
def _loop(a, b):
    total = 0.0
    for k in range(3):
        total += TABLE[k] * a**k
    return total, _helper(total) + _helper(b, 1.0)


@njit
def _arrays(a, b):
    out = np.zeros(2)
    out[0] = a
    if b > 1.0:
        out[1] = b
    out *= 2.0
    return out[0], out[1]


@njit
def _early(a, b):
    if a > b:
        return a, b
    return b, a * b


@njit
def _nested(a, b):
    return (a if a > 1 else (b if b > 1 else 0.0)), min(a, b, 1.5)


@njit
def _conditions(a, b):
    both = (a > 0) & (b > 0) | (a < -2)
    return -3.0 * (a - 1) + (a > 0.5) + (b > 0) * 2.0, (1.0 if both else 0.0) + abs((a > b) - 0.25)


def _closure(scale):
    def inner(a, b):
        return scale * a, _helper(b) / scale

    return njit(inner)


@pytest.mark.parametrize(
    "function",
    [_elif, _chained, _loop, _arrays, _early, _nested, _conditions, _closure(3.0)],
    ids=["elif", "chained", "loop", "arrays", "early", "nested", "conditions", "closure"],
)
@settings(max_examples=30, deadline=None)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_functions_are_followed(function, a, b):
    made = Graph()
    outputs = follow(made, function, (made.input("x", 0), made.input("x", 1)))
    found = evaluate.values(made, outputs, lambda row, k: (a, b)[k])
    try:
        expected = function(a, b)
    except ZeroDivisionError:  # of the user's own compiled function; kernels go on with infinity
        return
    assert found == pytest.approx(expected, rel=1e-13, abs=1e-13, nan_ok=True)


def _endless(a):
    while a > 1.0:
        a = a / 2
    return (a,)


def _indexed(a):
    return (TABLE[int(a)],)


def _raising(a):
    if a < 0:
        raise ValueError("negative")
    return (a,)


def _many_ways(a):
    total = 0.0
    for k in range(8):
        if a > k:
            total += k
    return (total,)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (_endless, "loop whose end"), (_indexed, "whole number"), (_raising, "ValueError"),
        (_many_ways, "ways through"), (lambda a: (math.gamma(a),), "math.gamma"),
        (lambda a: (np.interp(a, TABLE, TABLE),), "numpy.interp"), (lambda a: ("x",), "returns str"),
        (lambda a: (a + "x",), "str"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(function, word):
    made = Graph()
    with pytest.raises(TraceError, match=word):
        follow(made, function, (made.input("x"),))


def test_a_file_that_was_edited_since_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "edited_since.py"
    path.write_text("def f(a):\n    return (2.0 * a if a > 1.0 else a,)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import edited_since  # type: ignore[import-not-found]

    path.write_text("def f(a):\n    return (9.0 * a if a > 1.0 else a,)\n")
    made = Graph()
    outputs = follow(made, edited_since.f, (made.input("x"),))
    assert evaluate.values(made, outputs, lambda row, k: 3.0) == [6.0]


# --- derivatives, factors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: (a * b / (a + b), math.exp(a) * np.sqrt(b)),
        lambda a, b: (a**b, b**a),
        lambda a, b: (a**3 - 1 / b, math.log(a) / (1 + b * b)),
        lambda a, b: (math.sin(a) * math.cos(b), math.tan(a * 0.3) + math.atan(b)),
        lambda a, b: (np.tanh(a) + math.expm1(b), math.log1p(a * b) + abs(a - b)),
        lambda a, b: (max(a, b) * min(a, 1.0), a if a > b else b * b),
        lambda a, b: (math.sinh(a) * math.cosh(b), math.asin(0.2 * a) - math.acos(0.2 * b)),
        lambda a, b: (1 - 1 / (1 + a**b), 1 - b / (a + b)),
    ],
)
@settings(max_examples=20, deadline=None)
@given(a=st.floats(0.3, 3), b=st.floats(0.3, 3))
def test_derivatives(function, a, b):
    made = Graph()
    x = [made.input("x", 0), made.input("x", 1)]
    outputs = follow(made, function, x)
    rows = derivatives(made, outputs, {x[0].number: {0: 1.0}, x[1].number: {1: 1.0}})
    for j in range(2):
        h = 1e-5
        ends = []
        for sign in (2, 1, -1, -2):
            moved = [a, b]
            moved[j] += sign * h
            if abs(a - b) < 1e-3 or abs(a - 1.0) < 1e-3:  # at a corner
                return
            ends.append(np.array(evaluate.values(made, outputs, lambda row, k, m=moved: m[k])))
        expected = (-ends[0] + 8 * ends[1] - 8 * ends[2] + ends[3]) / (12 * h)
        entries = [row.get(j, 0.0) for row in rows]
        found = np.array(evaluate.values(made, entries, lambda row, k: (a, b)[k]))
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_the_slope_of_a_power_at_zero_is_a_number():
    made = Graph()
    x, k = made.input("x", 0), made.input("x", 1)
    (row,) = derivatives(made, [x**k], {x.number: {0: 1.0}, k.number: {1: 1.0}})
    found = evaluate.values(made, [row[0], row[1]], lambda r, i: (0.0, 2.5)[i])
    assert found == [0.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 9), density=st.floats(0.0, 1.0), seed=st.integers(0, 10**6))
def test_factors_of_sparse_matrices(size, density, seed):
    random = np.random.default_rng(seed)
    full = np.where(random.random((size, size)) < density, random.normal(size=(size, size)), 0.0)
    full += np.diag(np.abs(full).sum(axis=1) + 1.0)
    right = random.normal(size=size)
    made = Graph()
    matrix = {(i, j): made.input("a", i * size + j) for i in range(size) for j in range(size) if full[i, j]}
    x = solve(factors(matrix, size), [made.input("b", i) for i in range(size)])
    given_ = {"a": full.ravel(), "b": right}
    found = evaluate.values(made, x, lambda row, k: float(given_[row][k]))
    np.testing.assert_allclose(np.array(found, float), np.linalg.solve(full, right), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("in_log", [True, False])
def test_jacobians_of_shipped_models(name, in_log):
    """Exact derivatives against differences of higher order, in what is integrated."""
    model = models.get(name)
    log = tuple(bool(state.log) and in_log for state in model.states)
    program = Program(model.system, log, False)
    at = program.point()
    rates = program.rates(at)
    rows = program.jacobian(at, rates)
    y, p = check_patients(model, 1).arrays(0, 1)
    random = np.random.default_rng(3)
    natural = np.where(y[0] > 0, y[0], 1.0) * np.exp(0.3 * random.normal(size=len(y[0])))
    u = np.where(log, np.log(natural), natural)

    def rate(u, t):
        inputs = {"u": u, "p": p[0], "t": [t]}
        return np.array(evaluate.values(program.graph, rates.du, lambda row, k: inputs[row][k]), float)

    entries = [row.get(j, 0.0) for row in rows for j in (*range(len(u)), TIME)]
    inputs = {"u": u, "p": p[0], "t": [3.7]}
    found = np.array(evaluate.values(program.graph, entries, lambda row, k: inputs[row][k]), float)
    found = found.reshape(len(u), -1)
    for j in (*range(len(u)), TIME):
        h = 1e-4 * (abs(u[j]) if j != TIME else 1.0) + 1e-9
        step = h * (np.arange(len(u)) == j)
        values = [rate(u + s * step, 3.7 + (s * h if j == TIME else 0.0)) for s in (2, 1, -1, -2)]
        expected = (-values[0] + 8 * values[1] - 8 * values[2] + values[3]) / (12 * h)
        size = np.abs(found[:, j]).max() + np.abs(rate(u, 3.7)) * 1e-9 / h + 1e-300
        assert (np.abs(found[:, j] - expected) <= 1e-6 * size).all(), (name, j)


def test_states_in_logarithm_need_no_quotient():
    """What is a product with the state is divided by leaving it out."""

    @njit
    def rhs(t, y, p):
        return (p.k * y.C * (1 - y.C / p.K) - 0.1 * y.C,)

    model = fastcart.Model("cancel", [fastcart.State("C", default=1.0, log=True)], {"k": 1.0, "K": 9.0}, rhs)
    program = Program(model.system, (True,), False)
    rates = program.rates(program.point())
    used = [program.graph.operations[number] for number in program.graph.used(rates.du)]
    inputs = [program.graph.arguments[x] for x in program.graph.used(rates.du) if used]
    assert used.count("reciprocal") == 1, inputs  # of K


def test_rough_starts_are_those_of_the_kernels():
    points = np.geomspace(1e-5, 1e5, LANES)
    exact = np.array([vector_math.rough_reciprocal(float(x)) for x in points])
    np.testing.assert_array_equal(of_one(lambda x: vector_math.rough_reciprocal(x))(points), exact)
    exact = np.array([vector_math.rough_sqrt(float(x)) for x in points])
    np.testing.assert_array_equal(of_one(lambda x: vector_math.rough_sqrt(x))(points), exact)


def test_machine_code_on_disk(tmp_path, monkeypatch):
    """It is taken from there, sealed; a damaged file is said and made anew."""
    monkeypatch.setenv("FASTCART_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr(machine, "_loaded", {})  # what others use must stay in memory
    made = Graph()
    x = made.input("x", 0)
    value = graph.unary("exp", x) * 0.123456789
    text = vectors.module_text(
        made, "kept", inputs={("x", 0): 0}, single={}, outputs=[(value, LANES)], lanes=LANES
    )
    asked = []
    machine.address(text, "kept", lambda: asked.append(1))
    files = list((tmp_path / "kernels" / "__pycache__").glob("traced-*.o"))
    assert asked == [1]
    assert len(files) == 1
    monkeypatch.setattr(machine, "_loaded", {})
    machine.address(text, "kept", lambda: asked.append(2))
    assert asked == [1]
    files[0].write_bytes(files[0].read_bytes()[:-40] + b"x" * 40)
    monkeypatch.setattr(machine, "_loaded", {})
    machine.address(text, "kept", lambda: asked.append(3))
    assert asked == [1, 3]
