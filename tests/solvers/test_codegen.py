"""Generated code is read like other code: places and weights have names, errors name their line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from fastcart import Model, Observable, State, models
from fastcart.solvers import tableaus
from fastcart.solvers.arrays import internal_rhs
from fastcart.solvers.codegen import labels, written
from fastcart.solvers.compile import EXACT, cached
from fastcart.solvers.lanes import codegen, layout
from fastcart.solvers.lanes.observed_quantities import states_read
from fastcart.solvers.lanes.step_rosenbrock import stage_rows
from fastcart.solvers.tableaus.base import ExplicitTableau

N, M, INTEGRALS = 5, 3, 2


def step_text(method: str) -> codegen.StepText:
    tableau = tableaus.get(method)
    explicit = isinstance(tableau, ExplicitTableau)
    blocks = len(tableau.c) + tableau.extra_stages if explicit else stage_rows(tableau)
    at = layout.offsets(N, M, blocks)
    stages = [at.K + s * N * layout.LANES for s in range(blocks)]
    text = codegen.StepText("step", at, N, M, INTEGRALS, (1, 3), stages=stages)
    (codegen.explicit_step if explicit else codegen.rosenbrock_step)(text, tableau)
    return text


def large_numbers(lines: list[str]) -> list[str]:
    """Return the numbers in lines that are no sign, half, floor or step from one to the next."""
    found = [x for line in lines for x in re.findall(r"(?<![\w.])\d+\.?\d*(?:e[-+]?\d+)?", line)]
    return [x for x in found if float(x) not in (0.0, 0.5, 1.0, 2.0, 3.0, 1e-300)]


@pytest.mark.parametrize("method", tableaus.NAMES)
def test_no_place_and_no_weight_in_a_step_is_a_bare_number(method):
    assert not large_numbers(step_text(method).lines)


@pytest.mark.parametrize("method", tableaus.NAMES)
def test_the_stages_of_a_step_do_not_overlap(method):
    """A name stands for one place."""
    text = step_text(method)
    places = [text.constants[name] for name in (*text.stages, "START", "OLD")]
    assert len({*places}) == len(places)
    assert {place % layout.LANES for place in places} == {0}


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("infused", [False, True])
def test_no_place_in_a_right_hand_side_is_a_bare_number(name, infused):
    system = models.get(name).system
    log = tuple(state.log for state in system.states)
    lines, constants = codegen.evaluation(system, log, infused, False)
    body = [re.sub(r"f\[\d+\]", "f[0]", line) for line in lines]  # of the tuple that the model returns
    assert not large_numbers(body)
    rows = sorted(place for constant, place in constants.items() if re.match("[WPRF]_|TIME|RAISED", constant))
    n, m = len(system.states), len(system.parameters)
    assert rows == list(
        range(0, (3 * n + 2 + m) * layout.LANES, layout.LANES)
    )  # none is left out or taken twice
    assert rows[-1] < constants["ROOM"]


def test_names_that_python_reads_as_one_stay_apart():
    assert labels(["C", "TE"]) == ["C", "TE"]
    assert len(set(labels(["K", "\N{KELVIN SIGN}"]))) == 2


def test_generated_text_holds_only_the_constants_that_it_names():
    function = written(["def double(x):", "    return TWO * x"], {"TWO": 2.0, "THREE": 3.0}, {})
    assert function(4.0) == 8.0
    lines = function.__fastcart_source__.splitlines()
    assert lines == ["TWO = 2.0", "", "", "def double(x):", "    return TWO * x"]


def test_an_error_in_generated_text_names_its_line_behind_the_constants():
    function = written(["def halved(x):", "    y = x", "    return y / DIVISOR"], {"DIVISOR": 0.0}, {})
    kernel = cached(function, "a test", **{**EXACT, "error_model": "python"})
    with pytest.raises(ZeroDivisionError):
        kernel(1.0)
    code = kernel.py_func.__code__
    lines = Path(code.co_filename).read_text().splitlines()
    assert lines[code.co_firstlineno - 1] == "def halved(x):"
    numbers = {line for _, _, line in code.co_lines() if line}
    assert [lines[line - 1].strip() for line in sorted(numbers)][1:] == ["y = x", "return y / DIVISOR"]


def test_states_that_python_reads_as_one_do_not_mix():
    """The Kelvin sign and the letter K are two states, by position, in what is generated."""

    @njit
    def rhs(t, y, p):
        return -1.0 * y[0], -2.0 * y[1]

    model = Model(
        "kelvin", [State("K", default=1.0), State("\N{KELVIN SIGN}", default=1.0)], {}, rhs, t_end=1.0
    )
    kernel = internal_rhs(model.system, (False, False), False)
    ones = np.ones(2)
    assert kernel(0.0, ones, np.empty(0), ones, ones).tolist() == [-1.0, -2.0]


def test_a_quantity_is_computed_from_the_states_that_its_observable_reads():
    """In a step no other state is followed; of what cannot be traced or tells untruth, all are."""
    system = models.get("b_all").system
    names = list(system.state_names)
    read = states_read(system, ("S", "T", "negative", "C", (0, 1)))
    found = [[names[i] for i in row if i >= 0] for row in read]
    assert [sorted(x) for x in found] == [["L", "R"], ["E", "M", "X"], ["L", "R"], ["C"], names[:2]]


def test_an_observable_that_cannot_be_followed_reads_all_states():
    @njit
    def observe(t, y, p):
        k = 0.0
        while k < y[0]:
            k += 1.0
        return (k,)

    model = Model(
        "loop", states=[State("a", default=1.0), State("b", default=1.0)], parameters=[], t_end=1.0,
        rhs=njit(lambda t, y, p: (-y[0], -y[1])), observables=[Observable("k")], observe=observe,
    )  # fmt: skip
    assert states_read(model.system, ("k",)).tolist() == [[0, 1]]
