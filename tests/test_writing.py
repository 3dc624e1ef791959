"""Equations as text are what the right-hand side computes; LaTeX is whole."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from conftest import in_python
from numba import njit

import fastcart
from fastcart import Algebraic, InputError, Model, State, cli, written_equations
from fastcart.writing import symbol

SOLVING = (
    "li_lei",
    "li_lei_cytokines",
    "li_lei_coarse",
)  # a root by numbers, written as a condition
WRITTEN = fastcart.models.names()
VARIANTS = {
    "leon_triana": {"B_cells": "immature"}, "leon_triana_solid": {"targets": "two"},
    "chaudhury": {"expansion": "first order"}, "b_all": {"switch": True},
}  # fmt: skip


def values_of(text: str, values: dict[str, float]) -> dict[str, float]:
    """Evaluate the lines of a text from above to below."""
    known = {name: getattr(math, name) for name in ("exp", "log", "sqrt")} | {"max": max, "min": min}
    scope = dict(values)
    for line in filter(None, text.splitlines()):
        name, equals, right = line.partition(" = ")
        assert equals
        scope[name] = eval(right, known, scope)
    return scope


@pytest.mark.parametrize("name", [*WRITTEN, *(f"{name}*" for name in VARIANTS)])
def test_text_says_what_the_right_hand_side_computes(name):
    options = VARIANTS[name[:-1]] if name.endswith("*") else {}
    model = fastcart.models.get(name.rstrip("*"), **options)
    text = written_equations(model)
    random = np.random.default_rng(5)
    for t in (3.0, 50.0):
        y = np.exp(random.normal(size=len(model.state_names)))
        p = np.exp(random.normal(size=len(model.parameter_names)))
        given = dict(zip([*model.parameter_names, *model.state_names], [*p, *y], strict=True))
        if model.name in SOLVING:
            observed = in_python(model, "observe")(t, tuple(y), tuple(p))
            given["C_free"] = observed[model.observable_names.index("C_free")]
        found = values_of(text, {"t": t, **given})
        assert found.get("0", 0.0) == pytest.approx(0.0, abs=1e-12)
        rates = [found[f"d{state}/dt"] for state in model.differential]
        np.testing.assert_allclose(rates, in_python(model)(t, tuple(y), tuple(p)), rtol=1e-9, atol=1e-9)
        if model.observe is not None:
            observed = in_python(model, "observe")(t, tuple(y), tuple(p))
            np.testing.assert_allclose([found[n] for n in model.observable_names], observed, rtol=1e-9)


@pytest.mark.parametrize("name", WRITTEN)
def test_latex_is_whole(name):
    text = written_equations(name, style="latex")
    assert text.startswith("\\begin{align*}\n")
    assert text.endswith("\n\\end{align*}")
    assert text.count("{") == text.count("}")
    assert text.count("\\left") == text.count("\\right")
    assert text.count("\\frac{d") >= len(fastcart.models.get(name).differential)
    assert all("&=" in line for line in text.splitlines()[1:-1])


def test_latex_can_be_set():
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    for name in ("leon_triana", "kirouac", "kimmel", "b_all", "hardiansyah"):
        for line in written_equations(name, style="latex").splitlines()[1:-1]:
            parser.parse(f"${line.removesuffix(chr(92) * 2).replace('&', '')}$")


def test_quantities_keep_the_names_of_the_source_and_the_model():
    assert written_equations("leon_triana").splitlines() == [
        "dC/dt = C*(alpha*k*(L + B) - 1/tau_C)",
        "dL/dt = L*(rho_L - alpha*C)",
        "dB/dt = -B*(alpha*C + 1/tau_B)",
    ]
    text = written_equations("kimmel")
    assert text.startswith("away = (N + C - K_N)**2\n")
    latex = written_equations("kimmel", style="latex")
    assert r"\frac{dB}{dt} &= B \, \left(r_{B} - \frac{\gamma_{B} \, C}{k_{B} + C}\right)" in latex


@pytest.mark.parametrize(
    ("name", "latex"),
    [
        ("rho_C", r"\rho_{C}"), ("T_E1", "T_{E1}"), ("muEM", r"\mu_{EM}"), ("TE", "T_{E}"), ("K", "K"),
        ("λ_{TM}", r"\lambda_{TM}"), ("T_max", r"T_{\mathrm{max}}"), ("EC50_rho", r"\mathrm{EC50}_{\rho}"),
        ("kap", r"\mathrm{kap}"), ("1/K", r"\left(1/K\right)"),
    ],
)  # fmt: skip
def test_symbols(name, latex):
    assert symbol(name) == latex


def test_the_root_of_a_binding_equilibrium_is_written_as_a_condition():
    text = written_equations("li_lei_coarse")
    assert "free = K_1*TE/(1 + K_1*C_free)" in text
    assert "0 = C_free*(1 + free + x_1) - C" in text
    assert "rough" not in text


def test_algebraic_variables_are_written_as_conditions():
    @njit
    def rhs(t, y, p):
        return (-p.k * y.x,)

    @njit
    def residual(t, y, p):
        return (y.x * (1.0 + p.a * y.x) - y.total,)

    model = Model(
        "bound", [State("total", default=1.0)], {"k": 0.1, "a": 2.0}, rhs, algebraic=[Algebraic("x")],
        residual=residual,
    )  # fmt: skip
    assert written_equations(model).splitlines() == ["dtotal/dt = -k*x", "0 = x*(1 + a*x) - total"]


def test_a_model_that_cannot_be_followed_says_why():
    @njit
    def rough(t, y, p):
        r = fastcart.math.rough_reciprocal(y.x)
        return (-p.k * r * (2.0 - r * y.x),)

    model = Model("m", {"x": 1.0}, {"k": 1.0}, rough, doc="One over x.")
    text = written_equations(model)
    assert text.startswith("The equations of m cannot be written out: its right-hand side solves an equation")
    assert text.endswith("One over x.")

    @njit
    def rhs(t, y, p):
        x = y.x
        while x > 1.0:
            x = 0.5 * x
        return (-p.k * x,)

    looping = Model("m", {"x": 1.0}, {"k": 1.0}, rhs)
    assert "has a loop whose end depends on the numbers" in written_equations(looping)


def test_bad_input():
    with pytest.raises(InputError, match="must be 'text' or 'latex', not 'tex'"):
        written_equations("kimmel", style="tex")
    with pytest.raises(InputError, match="of a model or of its name, not of 3"):
        written_equations(3)


def test_command(capsys):
    assert cli.main(["models", "crauste", "--equations"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == written_equations("crauste")
    assert cli.main(["models", "chaudhury", "--equations", "latex", "--option", "expansion=EC50"]) == 0
    assert re.search(r"\\begin\{cases\} .* & t \\le T_\{\\mathrm\{max\}\}", capsys.readouterr().out)
    assert cli.main(["models", "--equations"]) == 2
    assert "--equations needs the name of a model" in capsys.readouterr().err
