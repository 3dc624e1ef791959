"""What is refused: one sentence that names it, soon."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("libsbml")

from sbml_texts import (
    compartment,
    event,
    function,
    initial,
    listed,
    math_of,
    parameters,
    reaction,
    rule,
    sbml,
    species,
)

from fastcart import InputError
from fastcart.sbml import load

_ENTITIES = '<!DOCTYPE sbml [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
_DELAY = (
    '<math xmlns="http://www.w3.org/1998/Math/MathML"><apply><csymbol encoding="text" '
    'definitionURL="http://www.sbml.org/sbml/symbols/delay"> d </csymbol><ci> x_v </ci><cn> 1 </cn></apply>'
    "</math>"
)


def _model(*rules: str, **more: float) -> str:
    return sbml(parameters(x_v=1.0, y_v=1.0, **more), listed("Rules", *rules))


def _bomb(body: str = "F(x) + F(x)") -> str:
    functions = [function("f0", "lambda(x, x + x)")]
    functions += [function(f"f{i}", f"lambda(x, {body.replace('F', f'f{i - 1}')})") for i in range(1, 40)]
    return sbml(
        listed("FunctionDefinitions", *functions), parameters(x_v=1.0),
        listed("Rules", rule("rate", "x_v", "f39(x_v)")),
    )  # fmt: skip


def _fast() -> str:
    text = sbml(listed("Compartments", compartment("V", 1.0)), listed("Species", species("A", 1.0)),
                listed("Reactions", reaction("r", "A", {"A": 'stoichiometry="1"'}, {})))  # fmt: skip
    text = text.replace("level3/version2", "level3/version1").replace('version="2"', 'version="1"')
    return text.replace('reversible="false"', 'reversible="false" fast="true"')


CASES = {
    "no XML": ("<sbml", "no XML"),
    "no SBML": ("<html></html>", "no SBML"),
    "entities": (f'<?xml version="1.0"?>{_ENTITIES}<sbml>&b;</sbml>', "document type or entities"),
    "nesting": ("<sbml>" + "<a>" * 100_000, "nests elements"),
    "many species": ("<sbml>" + '<species id="a"/>' * 100_000 + "</sbml>", "<species>"),
    "invalid": (sbml("<listOfNothing/>").replace('level="3"', 'level="9"'), "no valid SBML"),
    "recursion": (
        sbml(listed("FunctionDefinitions", function("f", "lambda(x, g(x))"),
                    function("g", "lambda(x, f(x))")),
             parameters(x_v=1.0), listed("Rules", rule("rate", "x_v", "f(x_v)"))),
        "calls itself",
    ),
    "functions that double": (_bomb(), "parts"),
    "functions that double and differ": (_bomb("F(x) + F(x + 1)"), "parts"),
    "functions of functions": (_bomb("F(F(x))"), "parts"),
    "circle of rules": (
        _model(rule("assignment", "x_v", "y_v + 1"), rule("assignment", "y_v", "x_v")), "circle",
    ),
    "circle of starts": (
        sbml(parameters(a=1.0, b=1.0), listed("InitialAssignments", initial("a", "b"), initial("b", "a"))),
        "circle",
    ),
    "unknown name": (_model(rule("rate", "x_v", "nobody * 2")), "reads 'nobody'"),
    "delay": (_model(f'<rateRule variable="x_v">{_DELAY}</rateRule>'), "has a delay"),
    "fast reaction": (_fast(), "reaction 'r' is fast"),
    "deep formula": (_model(rule("rate", "x_v", "sin(" * 400 + "x_v" + ")" * 400)), "nested"),
    "algebraic rule and events": (
        sbml(parameters(x_v=1.0, y_v=1.0),
             listed("Rules", f"<algebraicRule>{math_of('x_v - 1')}</algebraicRule>"),
             listed("Events", event("e", "time > 1", y_v="2"))),
        "algebraic rule and events",
    ),
    "no start": (
        sbml('<listOfParameters><parameter id="x" constant="false"/></listOfParameters>',
             listed("Rules", rule("rate", "x", "1"))),
        "'x' has no initial value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_sentence_names_it(name: str):
    text, words = CASES[name]
    began = time.process_time()
    with pytest.raises(InputError, match=words) as refusal:
        load(text)
    assert "\n" not in str(refusal.value)
    assert time.process_time() - began < 5.0


def test_packages_that_change_the_mathematics():
    text = sbml(parameters(x_v=1.0)).replace(
        "<sbml ",
        '<sbml xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true" ',
    )
    with pytest.raises(InputError, match="package 'comp'"):
        load(text)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.xml"):
        load(tmp_path / "none.xml")
    (tmp_path / "a.xml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        load(tmp_path / "a.xml")


def test_the_command_says_so_with_code_2(tmp_path: Path):
    (tmp_path / "bomb.xml").write_text(_bomb())
    command = [sys.executable, "-m", "fastcart", "models", str(tmp_path / "bomb.xml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
