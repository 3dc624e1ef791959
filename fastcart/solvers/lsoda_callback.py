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

from fastcart.solvers.compile import FAST, INNER, cached, from_source, rebuild
from fastcart.solvers.lsoda_library import rhs_signature
from fastcart.solvers.named import naming
from fastcart.solvers.reading import may_raise
from fastcart.solvers.system import System
from fastcart.solvers.transform import LOG_FLOOR, LOG_ZERO, derivative_source

# Control words behind the parameters and scales in the data of the right-hand side. Then follow: rates of
# infusion, the largest value of each state, the sums of integrals (four for each), the notes of steps.
(
    CALLS, STEPS, LAST_T, BASE_T, FLAG, BUDGET, BAD, LOW, HIGH, MAX_STEP, REFUSED, REFUSED_T,
    RAISED, RTOL, NODES, STUCK, CONTROL,
) = range(17)  # fmt: skip
FLAG_BUDGET, FLAG_NON_FINITE, FLAG_LOG_INFLOW, FLAG_RAISED, FLAG_NEGATIVE = 1.0, 2.0, 4.0, 5.0, 6.0
FLAG_GAVE_UP, FLAG_UNRESOLVED, FLAG_STUCK = -1.0, 7.0, 8.0

SUM, SUM_BASE, VALUE, VALUE_BASE, SUMS = range(5)  # of one integral: ∫|z| so far and |z|, also at BASE_T
NOTES = 20_000  # steps that are noted of a segment

# A wild trial step may leave the model's domain; LSODA rejects a huge derivative and tries a smaller step.
# So many in a row, and the patient itself is at fault.
_HUGE = 1e100
_BAD_IN_A_ROW = 60.0
_NO_STEP = 1e-13  # a step so short, relative to the time, goes nowhere
_NO_LENGTH = 1e-15
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
    n, m = len(model.states), len(model.parameters)
    control = m + n
    rates, largest = control + CONTROL, control + CONTROL + n
    sums = largest + n
    notes = sums + SUMS * kind.integrals
    counted = [i for i in range(n) if kind.nonnegative[i]]
    lines = [
        "def lsoda_rhs(time, u_, du_, data_):",
        f"    u = carray(u_, ({n},)); du = carray(du_, ({n},))",
        f"    p = carray(data_, ({data_size(n, m, kind)},))",
        f"    scale = p[{m}:{control}]; c = p[{control}:{rates}]; r = p[{rates}:{largest}]",
        f"    c[{CALLS}] += 1.0",
        f"    if c[{CALLS}] > c[{BUDGET}] and c[{FLAG}] == 0.0: c[{FLAG}] = {FLAG_BUDGET}",
        f"    if c[{RAISED}] != 0.0 and c[{FLAG}] == 0.0: c[{FLAG}] = {FLAG_RAISED}",
        f"    if c[{FLAG}] != 0.0:",
        *[f"        du[{i}] = 0.0" for i in range(n)],
        "        return",
        f"    fresh = time != c[{LAST_T}]",
        "    if fresh:",
        f"        if time > c[{LAST_T}]:",
        f"            c[{BASE_T}] = c[{LAST_T}]",
        *[f"            p[{s + SUM_BASE}] = p[{s + SUM}]; p[{s + VALUE_BASE}] = p[{s + VALUE}]"
          for s in range(sums, notes, SUMS)],
        f"        c[{STEPS}] += 1.0; c[{LAST_T}] = time",
        f"    c[{STUCK}] = c[{STUCK}] + 1.0 if time - c[{BASE_T}] <= {_NO_LENGTH} * time else 0.0",
        f"    if c[{STUCK}] > {_STUCK_IN_A_ROW}:",
        f"        c[{FLAG}] = {FLAG_NEGATIVE} if c[{REFUSED}] > 0.0 else {FLAG_STUCK}",
        f"    refused = time - c[{BASE_T}] > c[{MAX_STEP}] or time == c[{REFUSED_T}]",
        *_count_lines(counted, largest),
        "    if refused:",
        f"        c[{REFUSED_T}] = time",
        f"        wrong = {_HUGE} if c[{CALLS}] % 2.0 == 0.0 else {-_HUGE}",
        *[f"        du[{i}] = wrong" for i in range(n)],
        "        return",
        f"    c[{REFUSED}] = 0.0",
        f"    t = min(max(time, c[{LOW}]), c[{HIGH}])",
        *_derive_lines(n + kind.integrals + 1, may_raise(model.rhs)),
        *[f"    du[{i}] = v[{i}]" for i in range(n)],
        f"    bad = raised or not ({' + '.join(f'0.0 * v[{i}]' for i in range(n))} == 0.0)",
        f"    if v[{n + kind.integrals}] > 0.0: c[{FLAG}] = {FLAG_LOG_INFLOW}",
        *[line for k in range(kind.integrals) for line in _sum_lines(n + k, sums + SUMS * k)],
        f"    c[{BAD}] = c[{BAD}] + 1.0 if bad else 0.0",
        f"    nowhere = 0.0 < time - c[{BASE_T}] < {_NO_STEP} * time",
        f"    if (c[{BAD}] > {_BAD_IN_A_ROW} or (bad and nowhere)) and c[{FLAG}] == 0.0:",
        f"        c[{FLAG}] = {FLAG_RAISED} if raised else {FLAG_NON_FINITE}",
        *_note_lines(kind, m, notes),
        f"    stop = c[{FLAG}] != 0.0",
        f"    for i in range({n}):",
        "        if stop: du[i] = 0.0",
        f"        elif not 0.0 * du[i] == 0.0: du[i] = {_HUGE}",
    ]  # fmt: skip
    namespace = {"derive": _derive(model, kind), "exp": math.exp, "nan": math.nan, "carray": carray}
    function = from_source("\n".join(lines), "lsoda_rhs", namespace)
    return cached(function, f"{model.name} for lsoda", signature=rhs_signature, **FAST)


def _derive(model: System, kind: Kind) -> Any:
    """Make ``derive(t, u, p, scale, r)``: derivatives as integrated, what is summed up, and a flag.

    The flag is 1 where a state in logarithm is zero but has an inflow. A function of its own, because numba
    compiles the handling of an error around one call only in reasonable time.
    """
    n, m = len(model.states), len(model.parameters)
    integrated = range(n - kind.integrals, n)
    inflow = [f"(y{i} == 0.0 and f[{i}] != 0.0)" for i in range(n) if kind.log[i]]
    lines = [
        "def derive(t, u, p, scale, r):",
        derivative_source(n, m, kind.log, kind.infused),
        # not within the tuple: numba knows no long tuple with a branch inside
        f"    inflow = 1.0 if {' or '.join(inflow) or 'False'} else 0.0",
        f"    return ({''.join(f'du{i}, ' for i in range(n))}{''.join(f'f[{i}] * 1.0, ' for i in integrated)}"
        "inflow)",
    ]
    namespace = {"rhs": rebuild(model.rhs, INNER), "exp": math.exp, "nan": math.nan}
    namespace |= naming(model)
    return rebuild(from_source("\n".join(lines), "derive", namespace), INNER)


def _derive_lines(length: int, guarded: bool) -> list[str]:
    """Evaluate the derivatives, and find out whether that raised.

    Handling the error takes time, so it is done where the code says that there may be one. Any other error
    leaves the callback at once, with its mark.
    """
    if not guarded:
        return [
            f"    c[{RAISED}] = 1.0",
            "    v = derive(t, u, p, scale, r)",
            f"    c[{RAISED}] = 0.0",
            "    raised = False",
        ]
    return [
        f"    v = ({'nan, ' * length})",
        "    raised = True",
        "    try:",
        "        v = derive(t, u, p, scale, r)",
        "        raised = False",
        "    except Exception:",
        "        pass",
    ]


def _count_lines(counted: list[int], largest: int) -> list[str]:
    """Refuse a step below zero; where none can be found that is not, the solution itself goes there."""
    lines = []
    for i in counted:
        lines += [
            f"    below = u[{i}] < {-_BELOW} * c[{RTOL}] * (1.0 + p[{largest + i}])",
            "    refused = refused or below",
            f"    if not refused: p[{largest + i}] = max(p[{largest + i}], u[{i}])",
            f"    c[{REFUSED}] += 1.0 if below else 0.0",
            f"    if c[{REFUSED}] > {_REFUSED_IN_A_ROW}: c[{FLAG}] = {FLAG_NEGATIVE}",
        ]
    return lines


def _sum_lines(i: int, s: int) -> list[str]:
    """Add up |z| by trapezoids over the steps; a step that was not accepted is forgotten."""
    return [
        f"    size = abs(v[{i}])",
        f"    p[{s + SUM}] = p[{s + SUM_BASE}] + 0.5 * (t - min(max(c[{BASE_T}], c[{LOW}]), c[{HIGH}])) "
        f"* (size + p[{s + VALUE_BASE}])",
        f"    p[{s + VALUE}] = size",
    ]


def _note_lines(kind: Kind, parameters: int, notes: int) -> list[str]:
    """Note a step that is tried, in the place of those that were not accepted."""
    if kind.noted is None:
        return []
    width = kind.width
    lines = [
        f"    if fresh and c[{NODES}] >= 0.0:",
        f"        k = int(c[{NODES}])",
        f"        while k > 0 and p[{notes} + {width} * k - {width}] >= time: k -= 1",
        f"        if k < {NOTES}:",
        f"            at = {notes} + {width} * k",
        "            p[at] = time",
    ]
    for k, states in enumerate(kind.noted):
        values, slopes = [], []
        for i in states if len(states) > 1 else ():
            if kind.log[i]:
                lines.append(
                    f"            y{i} = exp(max(u[{i}], {LOG_FLOOR!r})) if u[{i}] != {LOG_ZERO!r} else 0.0"
                )
                values.append(f"y{i}")
                slopes.append(f"y{i} * du[{i}]")
            else:
                values.append(f"scale[{i}] * u[{i}]")
                slopes.append(f"scale[{i}] * du[{i}]")
        i = states[0]
        lines.append(f"            p[at + {1 + 2 * k}] = {' + '.join(values) or f'u[{i}]'}")
        lines.append(f"            p[at + {2 + 2 * k}] = {' + '.join(slopes) or f'du[{i}]'}")
    return [*lines, "            k += 1", f"        c[{NODES}] = k"]
