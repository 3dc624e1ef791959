"""The right-hand side as LSODA calls it: a C function that also keeps watch.

numbalsoda's wrapper takes one relative and one absolute tolerance and knows neither a longest step nor a time
that must not be passed. What it lacks is done here, from inside the right-hand side:

- LSODA tries a step at a new time. A later time says that the step before was accepted, an earlier one that
  it was not. So the time of the last accepted step is known, and the length of each step that is tried.
- A step that is too long, or that takes a count below zero, is refused: derivatives of changing sign let no
  corrector converge, and LSODA tries a quarter of the step at the same order.
- The model sees times of its own segment only, whatever LSODA tries beyond its end.
- The steps are noted, with what is looked for and its slope: between them nothing hides from who looks for
  turning points.
- Calls are counted, and once a patient has failed derivatives are zero, so that LSODA ends quickly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numba import carray

from fastcart.solvers.codegen import derivative_lines, labels, natural, places, written
from fastcart.solvers.compile import FAST, INNER, cached, made_once, rebuild
from fastcart.solvers.fingerprint import fingerprint
from fastcart.solvers.lsoda_library import rhs_signature
from fastcart.solvers.named import naming
from fastcart.solvers.reading import may_raise
from fastcart.solvers.system import System

# Control words behind the parameters and scales in the data of the right-hand side. Then follow: rates of
# infusion, the largest value of each state, the sums of integrals (four for each), the notes of steps.
(
    CALLS, STEPS, LAST_T, BASE_T, FLAG, BUDGET, BAD, LOW, HIGH, MAX_STEP, REFUSED, REFUSED_T,
    RAISED, RTOL, NODES, STUCK, TROUBLE, GROWTH, GROWTH_BEFORE, RISE, AROUND, CONTROL,
) = range(22)  # fmt: skip
FLAG_BUDGET, FLAG_NON_FINITE, FLAG_LOG_INFLOW, FLAG_RAISED, FLAG_NEGATIVE = 1.0, 2.0, 4.0, 5.0, 6.0
FLAG_GAVE_UP, FLAG_UNRESOLVED, FLAG_STUCK, FLAG_BLOW_UP, FLAG_NO_ROOT = -1.0, 7.0, 8.0, 9.0, 11.0
# stuck at a state behind which there are no derivatives
FLAG_STUCK_NON_FINITE, FLAG_STUCK_RAISED = 12.0, 13.0

SUM, SUM_BASE, VALUE, VALUE_BASE, SUMS = range(5)  # of one integral: ∫|z| so far and |z|, also at BASE_T
NOTES = 20_000  # steps that are noted of a segment

# A wild trial step may leave the model's domain; LSODA rejects a huge derivative and tries a smaller step.
# So many in a row, and the patient itself is at fault.
_HUGE = 1e100
_BAD_IN_A_ROW = 60.0
_NO_STEP = 1e-13  # a step so short, relative to the time, goes nowhere
_NO_LENGTH = 1e-15
_BRIEF = 1e-6  # a step so short, relative to the time, may be one of many towards infinity
_STUCK_IN_A_ROW = 20.0  # calls in steps of no length, which LSODA would go on to make for ever
_REFUSED_IN_A_ROW = 150.0
_BELOW = 4.0  # tolerances that a count may lie below zero: the errors of some steps add up


@dataclass(frozen=True)
class Kind:
    """What a callback is made for, beside the model."""

    log: tuple[bool, ...]
    infused: bool
    nonnegative: tuple[bool, ...]
    integrals: int  # the last states
    noted: (
        tuple[tuple[int, ...], ...] | None
    )  # states, or states whose sum is noted; None for no notes at all

    @property
    def width(self) -> int:
        """Numbers in a note: time, and each value with its slope."""
        return 0 if self.noted is None else 1 + 2 * len(self.noted)


def data_size(states: int, parameters: int, kind: Kind) -> int:
    """Return how many numbers the data of the right-hand side hold."""
    return parameters + 3 * states + CONTROL + SUMS * kind.integrals + NOTES * kind.width


def rhs_callback(model: System, kind: Kind) -> Any:
    """Compile the right-hand side in integrated variables as a C function."""
    # by the content of the right-hand side, so that an edit of what it names is seen
    names = (tuple(model.state_names), tuple(model.parameter_names))
    key = ("lsoda callback", fingerprint(model.rhs), names, kind)
    return made_once(key, lambda: _rhs_callback(model, kind))


def _rhs_callback(model: System, kind: Kind) -> Any:
    n, m = len(model.states), len(model.parameters)
    states = labels(model.state_names)
    words = m + n
    sums = words + CONTROL + 2 * n
    constants = {
        **{name: x for name, x in globals().items() if name.isupper() and isinstance(x, int | float)},
        "STATES": n, "ROOM": data_size(n, m, kind), "SCALES": m, "WORDS": words, "RATES": words + CONTROL,
        "ABOVE": words + CONTROL + n, "NOTES_AT": sums + SUMS * kind.integrals, "WIDTH": kind.width,
        **places("U", model.state_names), **places("MOST", model.state_names, words + CONTROL + n),
        "INFLOW": n + kind.integrals,
    }  # fmt: skip
    for k, (value, slope) in enumerate(_note_names(kind, states)):
        constants[value], constants[slope] = 1 + 2 * k, 2 + 2 * k
    integrals = states[n - kind.integrals :]
    for k, x in enumerate(integrals):
        constants[f"INTEGRAND_{x}"] = n + k
        for name in ("SUM", "SUM_BASE", "VALUE", "VALUE_BASE"):
            constants[f"{name}_{x}"] = sums + SUMS * k + constants[name]
    counted = [x for x, wanted in zip(states, kind.nonnegative, strict=True) if wanted]
    evaluation, more, names = _derive(model, kind)
    lines = [
        "def lsoda_rhs(time, u_, du_, data_):",
        "    u = carray(u_, (STATES,)); du = carray(du_, (STATES,)); p = carray(data_, (ROOM,))",
        "    scale = p[SCALES:WORDS]; c = p[WORDS:RATES]; r = p[RATES:ABOVE]",
        "    c[CALLS] += 1.0",
        "    if c[CALLS] > c[BUDGET] and c[FLAG] == 0.0: c[FLAG] = FLAG_BUDGET",
        "    if c[RAISED] != 0.0 and c[FLAG] == 0.0: c[FLAG] = FLAG_RAISED",
        "    if c[FLAG] != 0.0:",
        *[f"        du[U_{x}] = 0.0" for x in states],
        "        return",
        "    fresh = time != c[LAST_T]",
        "    if fresh:",
        "        if time > c[LAST_T]:",
        "            if c[LAST_T] - c[BASE_T] > _NO_LENGTH * time: c[TROUBLE] = 0.0",
        "            c[BASE_T] = c[LAST_T]",
        *[f"            p[SUM_BASE_{x}] = p[SUM_{x}]; p[VALUE_BASE_{x}] = p[VALUE_{x}]" for x in integrals],
        "        c[STEPS] += 1.0; c[LAST_T] = time",
        "    c[STUCK] = c[STUCK] + 1.0 if time - c[BASE_T] <= _NO_LENGTH * time else 0.0",
        "    if c[STUCK] > _STUCK_IN_A_ROW:",
        "        c[FLAG] = FLAG_STUCK if c[TROUBLE] == 0.0 else c[TROUBLE]",
        "        if c[REFUSED] > 0.0: c[FLAG] = FLAG_NEGATIVE",
        "    refused = time - c[BASE_T] > c[MAX_STEP] or time == c[REFUSED_T]",
        *[line for x in counted for line in _count_lines(x)],
        "    if refused:",
        "        c[REFUSED_T] = time",
        "        wrong = _HUGE if c[CALLS] % 2.0 == 0.0 else -_HUGE",
        *[f"        du[U_{x}] = wrong" for x in states],
        "        return",
        "    c[REFUSED] = 0.0",
        "    t = min(max(time, c[LOW]), c[HIGH])",
        *evaluation,
        *[f"    du[U_{x}] = v[U_{x}]" for x in states],
        f"    bad = raised or not ({' + '.join(f'0.0 * v[U_{x}]' for x in states)} == 0.0)",
        "    if v[INFLOW] > 0.0: c[FLAG] = FLAG_LOG_INFLOW",
        *[line for x in integrals for line in _sum_lines(x)],
        "    c[BAD] = c[BAD] + 1.0 if bad else 0.0",
        "    if bad: c[TROUBLE] = FLAG_STUCK_RAISED if raised else FLAG_STUCK_NON_FINITE",
        "    nowhere = 0.0 < time - c[BASE_T] < _NO_STEP * time",
        "    if (c[BAD] > _BAD_IN_A_ROW or (bad and nowhere)) and c[FLAG] == 0.0:",
        "        c[FLAG] = FLAG_RAISED if raised else FLAG_NON_FINITE",
        *_growth_lines(kind, states),
        *_note_lines(kind, states),
        "    stop = c[FLAG] != 0.0",
        "    if stop or bad:",
        "        for i in range(STATES):",
        "            if stop: du[i] = 0.0",
        "            elif not 0.0 * du[i] == 0.0: du[i] = _HUGE",
    ]  # fmt: skip
    function = written(lines, {**constants, **more}, {**names, "exp": math.exp, "carray": carray})
    return cached(function, f"{model.name} for lsoda", signature=rhs_signature, **FAST)


def _parts(model: System, kind: Kind) -> tuple[list[str], str, dict[str, int], dict[str, Any]]:
    """Return lines that evaluate the right-hand side, the text of a tuple, their constants and names.

    The tuple has the derivatives as integrated, what is summed up, and a flag: 1 where a state in logarithm
    is zero but has an inflow.
    """
    states = labels(model.state_names)
    inflow = [f"(y_{x} == 0.0 and f[U_{x}] != 0.0)" for x, log in zip(states, kind.log, strict=True) if log]
    results = [f"du_{x}" for x in states]
    results += [f"f[U_{x}] * 1.0" for x in states[len(states) - kind.integrals :]]
    derivatives, constants = derivative_lines(model, kind.log, kind.infused)
    # not within the tuple: numba knows no long tuple with a branch inside
    lines = [*derivatives, f"    inflow = 1.0 if {' or '.join(inflow) or 'False'} else 0.0"]
    names = {"rhs": rebuild(model.rhs, INNER), "exp": math.exp, "nan": math.nan, **naming(model)}
    return lines, f"({', '.join(results)}, inflow)", constants, names


def _derive(model: System, kind: Kind) -> tuple[list[str], dict[str, int], dict[str, Any]]:
    """Return lines for ``v``, see `_parts`, and ``raised``; with their constants and names.

    Handling the error takes time, so it is done where the code says that there may be one. Any other error
    leaves the callback at once, with its mark. Then the right-hand side is called in a function of its own,
    because numba compiles the handling of an error around one call only in reasonable time; else it stands in
    the callback, where LLVM reads each parameter where it is needed.
    """
    lines, results, constants, names = _parts(model, kind)
    if not may_raise(model.rhs):
        before, after = ["    c[RAISED] = 1.0"], ["    c[RAISED] = 0.0", "    raised = False"]
        return [*before, *lines, f"    v = {results}", *after], constants, names
    text = ["def derive(t, u, p, scale, r):", *lines, f"    return {results}"]
    length = len(kind.log) + kind.integrals + 1
    around = [
        f"    v = ({'nan, ' * length})",
        "    raised = True",
        "    try:",
        "        v = derive(t, u, p, scale, r)",
        "        raised = False",
        "    except Exception:",
        "        pass",
    ]
    return around, {}, {"derive": rebuild(written(text, constants, names), INNER), "nan": math.nan}


def _count_lines(x: str) -> list[str]:
    """Refuse a step below zero; where none can be found that is not, the solution itself goes there."""
    return [
        f"    below = u[U_{x}] < -_BELOW * c[RTOL] * (1.0 + p[MOST_{x}])",
        "    refused = refused or below",
        f"    if not refused: p[MOST_{x}] = max(p[MOST_{x}], u[U_{x}])",
        "    c[REFUSED] += 1.0 if below else 0.0",
        "    if c[REFUSED] > _REFUSED_IN_A_ROW: c[FLAG] = FLAG_NEGATIVE",
    ]


def _sum_lines(x: str) -> list[str]:
    """Add up |z| by trapezoids over the steps; a step that was not accepted is forgotten."""
    return [
        f"    size = abs(v[INTEGRAND_{x}])",
        "    base = min(max(c[BASE_T], c[LOW]), c[HIGH])",
        f"    p[SUM_{x}] = p[SUM_BASE_{x}] + 0.5 * (t - base) * (size + p[VALUE_BASE_{x}])",
        f"    p[VALUE_{x}] = size",
    ]


def _growth_lines(kind: Kind, states: list[str]) -> list[str]:
    """Note the fastest growth of a state, relative to itself, where steps are short.

    Towards infinity its rate grows from step to step, and each step matters; see `blows_up`.
    """
    lines = [
        "    length = time - c[BASE_T]",
        "    if length > _BRIEF * time:",
        "        c[GROWTH] = c[GROWTH_BEFORE] = c[RISE] = 0.0",
        "    elif not bad and length > _NO_LENGTH * time:",
        "        most = 0.0",
    ]
    for x, log in list(zip(states, kind.log, strict=True))[: len(states) - kind.integrals]:
        rate = f"v[U_{x}]" if log else f"v[U_{x}] / u[U_{x}]"
        lines.append(f"        if u[U_{x}] != 0.0: most = max(most, {rate})")
    return [
        *lines,
        "        c[GROWTH] = most; c[RISE] = most * length",
        "        if c[GROWTH_BEFORE] == 0.0: c[GROWTH_BEFORE] = most",
    ]


def _note_names(kind: Kind, states: list[str]) -> list[tuple[str, str]]:
    """Return the names of the places in a note for each value and its slope."""
    return [
        (f"NOTED_{states[of[0]]}", f"SLOPE_{states[of[0]]}") if len(of) == 1 else (f"TOTAL_{k}", f"RISE_{k}")
        for k, of in enumerate(kind.noted or ())
    ]


def _note_lines(kind: Kind, states: list[str]) -> list[str]:
    """Note a step that is tried, in the place of those that were not accepted."""
    if kind.noted is None:
        return []
    lines = [
        "    if fresh and c[NODES] >= 0.0:",
        "        k = int(c[NODES])",
        "        while k > 0 and p[NOTES_AT + WIDTH * k - WIDTH] >= time: k -= 1",
        "        if k < NOTES:",
        "            at = NOTES_AT + WIDTH * k",
        "            p[at] = time",
    ]
    for summed, (value, slope) in zip(kind.noted, _note_names(kind, states), strict=True):
        values, slopes = [], []
        for i in summed if len(summed) > 1 else ():
            x = states[i]
            if kind.log[i]:
                lines.append(f"            y_{x} = {natural(f'u[U_{x}]', True)}")
                values.append(f"y_{x}")
                slopes.append(f"y_{x} * du[U_{x}]")
            else:
                values.append(f"scale[U_{x}] * u[U_{x}]")
                slopes.append(f"scale[U_{x}] * du[U_{x}]")
        x = states[summed[0]]
        lines.append(f"            p[at + {value}] = {' + '.join(values) or f'u[U_{x}]'}")
        lines.append(f"            p[at + {slope}] = {' + '.join(slopes) or f'du[U_{x}]'}")
    return [*lines, "            k += 1", "        c[NODES] = k"]
