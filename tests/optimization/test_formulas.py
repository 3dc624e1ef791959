"""Formulas, counts and user code without end or sense: one sentence, at once."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from numba import njit

import fastcart
from fastcart import InputError, Model
from fastcart.explain import obstacles
from fastcart.expressions import Expression, relations

ENDLESS = {
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5000,
    "a power of 400 digits": "1e400",
    "not finite": "2**1e999",
    "3000 terms": "+".join(["x"] * 3000),
    "3000 factors": "*".join(["x"] * 3000),
    "100 000 signs": "-" * 100_000 + "x",
    "3000 signs": "-" * 3000 + "x",
    "deep parentheses": "(" * 3000 + "x" + ")" * 3000,
    "300 parentheses": "(" * 300 + "x" + ")" * 300 + "+",
    "deep calls": "abs(" * 1000 + "x" + ")" * 1000,
    "tower of powers": "**".join(["x"] * 500),
    "long name": "x" * 100_000,
    "many spaces": "x" + " " * 100_000 + "+",
    "nothing": "",
    "spaces": "  ",
    "null byte": "x\0",
    "half a pair": "x\ud800",
    "two lines": "x\ny",
    "a comment": "# x",
    "a list": "[x]",
    "a string": "'x'",
    "complex": "1j",
    "a call of something": "x(1)",
    "attributes": "x.__class__",
    "a comparison": "x < 1",
    "not": "not x",
    "a lambda": "lambda: x",
    "f-string": "f'{x}'",
    "walrus": "(y := x)",
    "await": "await x",
    "star": "*x",
    "keyword": "abs(x=1)",
    "starred argument": "abs(*x)",
    "names": "if",
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_formula_that_cannot_be(kind):
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        Expression(ENDLESS[kind])
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert time.perf_counter() - start < 2
    for side in (f"{ENDLESS[kind]} <= 1", f"1 >= {ENDLESS[kind]}"):
        if kind not in ("not", "walrus", "a comment", "a comparison", "lambda"):
            with pytest.raises(InputError):
                relations(side)


def test_long_formulas_that_can_be():
    x = np.array([1.0, 2.0])
    assert Expression("+".join(["x"] * 150))({"x": x}).tolist() == [150.0, 300.0]
    assert Expression("-" * 100 + "x")({"x": x}).tolist() == [1.0, 2.0]
    assert Expression("9**9**9")({}) == np.inf
    assert Expression("(-1.0)**0.5 + 0/0*x")({"x": 1.0}) != 1  # NaN, without a warning


def test_whole_numbers_count_as_numbers():
    """In whole numbers of 64 bits a power runs over, and a negative power is an error."""
    x = np.array([10, 20])
    assert Expression("x**30")({"x": x}).tolist() == [1e30, 20.0**30]
    assert Expression("x**-1")({"x": x}).tolist() == [0.1, 0.05]


def test_relations_keep_the_text_of_their_sides():
    low, high = relations("0.4 <= (TE +\n  TP)/2 <= 1e300")
    assert (low.smaller.text, low.larger.text) == ("0.4", "(TE + TP)/2")
    assert high.larger({}) == 1e300


# --- counts of loops --------------------------------------------------------------------------------

HUGE = 9
HELPERS = {
    "range(9**9**9)": "more turns than a number can count", "range(HUGE**HUGE**HUGE)": "more turns than",
    "range(2**63)": "more turns than", "range(1 << 10**9)": "more turns than",
    "range(-(9**9**9), 9)": "more turns",
    "range(10**18)": "a loop of 1000000000000000000 turns", "range(40)": "a loop of 40 turns",
    "range(-1 + 2**5 + 3)": "a loop of 34 turns", "range(n)": "depends on the data",
    "range(2**-1)": "depends on the data", "range(1 // 0)": "depends on the data",
    "range(1, 5, 0)": "more turns", "range((-1)**(10**9) * -60 + 120)": "a loop of 60 turns",
    "range(0**(10**9) + 50)": "a loop of 50 turns",
}  # fmt: skip


@pytest.mark.parametrize("count", HELPERS)
def test_count_of_a_loop_is_found_at_once(tmp_path, monkeypatch, count):
    (tmp_path / "helper_module.py").write_text(
        f"from numba import njit\nHUGE = {HUGE}\n@njit\ndef helper(x, n):\n    if x < 0:\n"
        f"        for i in {count}:\n            x += 1.0\n    return x\n"
        "@njit\ndef rhs(t, y, p):\n    return (-p[0] * helper(y[0], 3),)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "helper_module", raising=False)
    import helper_module

    start = time.perf_counter()
    found = obstacles(Model("m", {"y": 1.0}, {"k": 0.1}, helper_module.rhs))
    assert time.perf_counter() - start < 2
    assert any(HELPERS[count] in text for text in found), found
    monkeypatch.delitem(sys.modules, "helper_module")


# --- user code that fails ---------------------------------------------------------------------------


class Odd(BaseException):
    """Nothing that a program expects."""


FAILURES = [
    SystemExit(0),
    SystemExit("bye"),
    Odd("odd"),
    ValueError("two\nlines"),
    RecursionError(),
    GeneratorExit(),
]


def raising(error):
    def function(*arguments):
        raise error

    return function


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_objective_that_fails(error):
    with pytest.raises(InputError, match=r"The function for 'function' (fails with|asks to end)") as caught:
        fastcart.optimize(
            DECAY,
            {"k": (0.1, 0.2)},
            objective=raising(error),
            seed=1,
            particles=2,
            iterations=1,
            engine="scipy",
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", FAILURES, ids=repr)
@pytest.mark.parametrize("part", ["rhs", "observe", "default"])
def test_model_that_fails(error, part):
    parts = {
        "rhs": {"rhs": raising(error)},
        "observe": {"observables": [fastcart.Observable("o")], "observe": raising(error)},
        "default": {"parameters": [fastcart.Parameter("k", raising(error))]},
    }[part]
    with pytest.raises(InputError) as caught:
        DECAY.replace(**parts)
    assert "\n" not in str(caught.value)
    assert type(error).__name__ in str(caught.value)


@pytest.mark.parametrize("error", FAILURES, ids=repr)
def test_rule_that_fails(error):
    from fastcart.protocols.adaptive import _decision
    from fastcart.protocols.arms import Adaptive, Infusion

    arm = Adaptive(name="mine", start=Infusion(0, 0.1, 0.1), visits=(7.0,), rule=raising(error))
    with pytest.raises(InputError, match="The rule of the arm 'mine' "):
        _decision(arm, None, np.arange(3))


@pytest.mark.parametrize(
    "text", ["import sys; sys.exit(0)", "raise SystemExit", "import os; os.abort = 1; exit(3)"]
)
def test_rule_file_that_ends_the_program(tmp_path, capsys, text):
    pytest.importorskip("statsmodels")
    from fastcart.cli import main

    (tmp_path / "rule.py").write_text(f"{text}\ndef decide(visit):\n    return 0.0, 0.0\n")
    (tmp_path / "trial.toml").write_text(
        '[trial]\narms = ["A0", "mine"]\ntreatments = ["mine"]\n'
        '[[arm]]\nname = "mine"\nvisits = [7]\nrule = "rule.py:decide"\n'
    )
    assert main(["trial", str(tmp_path / "trial.toml"), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "The rule of the arm 'mine' cannot be loaded from" in line
    assert not (tmp_path / "out").exists()


def test_interrupt_in_user_code_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt):
        DECAY.replace(rhs=raising(KeyboardInterrupt()))


@njit
def decay(t, y, p):
    return (-p[0] * y[0],)


DECAY = Model("decay", {"y": 1.0}, {"k": 0.1}, decay, t_end=1.0)


# --- [solve] of a scan ------------------------------------------------------------------------------

SCAN = 'model = "li_lei"\n[sample]\nmethod = "random"\nn = 3\nseed = 1\n'
SCAN += "columns = {TE = {uniform = [1e6, 1e7]}}\n"


@pytest.mark.parametrize(
    "line",
    [
        'model = "b_all"',
        "patients = 3",
        'out = "elsewhere"',
        "force = true",
        "resume = true",
        "threads = 2",
        "outputs = false",
        "outputs = ['pfs']",
        "keep = ['x']",
        "chunk = 2",
        "doses = 3",
        "save_at = [1]",
        "seed = 1",
        "progress = false",
        "needs = ['x']",
        "scheduler = 'x'",
        "client = 1",
        "events = []",
        "warn = false",
        "save = ['C']",
        "engine = 3",
        "engine = true",
        "method = 1",
        "rtol = '1e-6'",
        "rtol = true",
        "t_end = [1]",
        "atol = {}",
        "extinction = false",
        "max_steps = 1.5",
        "max_steps = 1979-05-27",
        "peaks = 3",
        "peaks = [1]",
        "auc = {a = 1}",
        "rtol = 1",
        "rtol = nan",
        "t_end = inf",
        "t_end = -1",
        "engine = 'b_all'",
        "Engine = 'auto'",
        "nonsense = 1",
    ],
)
def test_solve_says_only_how_to_solve(tmp_path, capsys, line):
    from fastcart.cli import main

    (tmp_path / "scan.toml").write_text(f"{SCAN}[solve]\n{line}\n")
    assert main(["scan", str(tmp_path / "scan.toml"), "--out", str(tmp_path / "out")]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("fastcart: ")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "elsewhere").exists()
