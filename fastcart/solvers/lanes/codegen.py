"""Text of what the lane engine generates: steps, the right-hand side, what is observed.

Places in the buffer of a step are constants at the head of each text: ``START``, ``NEW`` and ``OLD`` are the
states before and after this step and before the last one, ``STAGE_1`` and so on the stages, and the numbers
of the lanes have the names of `fastcart.solvers.lanes.layout`. State ``i`` of lane ``l`` is ``b + l`` behind
them, with ``b = i * LANES``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fastcart.solvers.codegen import labels, natural, places
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.layout import LANES, Offsets, evaluation_rows
from fastcart.solvers.named import named, named_call
from fastcart.solvers.system import System
from fastcart.solvers.tableaus.base import ExplicitTableau, RosenbrockTableau

HELD = 0.4  # place in the step where an interpolant is held against the right-hand side
HELD_WEIGHT = 0.3
# error, in tolerances squared, of a step that takes what counts something below zero, or over a pole
BELOW_ZERO = TOO_FAR = 1e4

_ROWS = (
    "T", "H_USED", "LEVEL", "ABOVE_OLD", "ABOVE_NEW", "ERROR", "OWN_ERROR", "SECOND", "ACCEPTED",
)  # fmt: skip
# numbers that stand for states, in the loops over them
_EACH = ["    for i in range(n):", "        b = i * LANES", "        for l in range(LANES):"]
_EACH_OWN = ["    for i in range(OWN):", *_EACH[1:]]
_TOLERANCES = "        absolute, relative = B[ABSOLUTE + i], B[RELATIVE + i]"


class StepText:
    """The lines of a step function, and the constants that they name.

    Parameters
    ----------
    name : str
    at : Offsets
    n, m, integrals : int
        States, parameters, and how many of the states are integrals.
    nonnegative : tuple of int
    stages : sequence of int
        Where each stage begins in the buffer.
    room : int
        Numbers behind the buffer that the step needs for itself.
    """

    def __init__(
        self, name: str, at: Offsets, n: int, m: int, integrals: int, nonnegative: tuple[int, ...], *,
        stages: Sequence[int], room: int = 0,
    ):  # fmt: skip
        self.integrals, self.nonnegative = integrals, nonnegative
        self.stages = [f"STAGE_{s}" for s in range(len(stages))]
        self.constants: dict[str, float] = {
            "LANES": LANES, "ROOM": at.total + room, "OWN": n - integrals, "ALL": n, "SIZE": n * LANES,
            "NEW": at.W, "NEW_TIME": at.W + n * LANES,
            "SLOPES": at.W + evaluation_rows(n, m).derivatives * LANES,
            "ROWS": at.Q, **{row: at.Q + getattr(q, row) * LANES for row in _ROWS},
            "START": at.U, "OLD": at.U_old, **dict(zip(self.stages, stages, strict=True)),
            "BOUNDS": at.bounds, "ABSOLUTE": at.tolerance, "RELATIVE": at.tolerance + n,
            "LIMITS": at.limits, "CONTROL": at.control,
            "STATES": at.limits + q.STATES, "MAX_STEP": at.limits + q.MAX_STEP, "BOUNDED": at.bounded,
            "ACCEPTED_STEP": q.ACCEPTED_STEP, "SO_FAR": at.tolerance + 2 * n,
            "FAINT": at.tolerance + 2 * n, "OF_ITSELF": q.OF_ITSELF, "STEEPER": q.STEEPER, "GROWTH": q.GROWTH,
            "CHANGE": at.tolerance + 3 * n, "HELD_WEIGHT": HELD_WEIGHT,
            "FAR_BELOW": BELOW_ZERO * n,
        }  # fmt: skip
        self.lines = [
            f"def {name}(ev, B_, burden):",
            "    B = carray(B_, (ROOM,))",
            "    n = int(B[STATES])  # not a constant, so that the loops over states are not unrolled",
            "    begin(B, ROWS, B[MAX_STEP])",
        ]

    def add(self, *lines: str) -> None:
        """Add lines."""
        self.lines += lines

    def number(self, name: str, value: float) -> str:
        """Make a constant of a number of the method; return its name."""
        self.constants[name] = float(value)
        return name

    def weighted_sum(self, name: str, weights: Iterable[float], first: int = 0) -> str:
        """Return code for a sum over the stages from ``first`` on, of the state that begins at ``b``.

        The weights become constants of that name.
        """
        terms = [
            f"{self.number(f'{name}_{s}', weight)} * B[{self.stages[s]} + b + l]"
            for s, weight in enumerate(np.asarray(weights).tolist(), first)
            if weight != 0.0
        ]
        return " + ".join(terms) or "0.0"

    def evaluate_at(self, rise: str, time: str, *also: str) -> None:
        """Evaluate the right-hand side where the states have risen so much from the start of the step.

        ``also`` are lines for each lane.
        """
        self.add(
            *_EACH,
            f"            B[NEW + b + l] = B[START + b + l] + ({rise})",
            "    for l in range(LANES):",
            f"        B[NEW_TIME + l] = B[T + l] + {time}",
            *(f"        {line}" for line in also),
            "    evaluate(ev, B)",
        )

    def finish(self) -> None:
        """Add the last lines: bounds, the decision, the new states."""
        for i in self.nonnegative:
            for of, apart in (("START", LANES), ("NEW", LANES), ("ABSOLUTE", 1), ("RELATIVE", 1)):
                self.constants[f"{of}_{i}"] = self.constants[of] + i * apart
            self.add(
                "    for l in range(LANES):",
                f"        most = max(abs(B[START_{i} + l]), abs(B[NEW_{i} + l]))",
                f"        below = B[NEW_{i} + l] < -(B[ABSOLUTE_{i}] + B[RELATIVE_{i}] * most)",
                "        e, large = B[ERROR + l], FAR_BELOW",
                "        B[ERROR + l] = large if below and e < large else e",
            )
        self.add("    for w in range(int(B[BOUNDED])):", "        i = int(B[BOUNDED + 1 + w])")
        bound = "bound_state(B_, i * LANES, BOUNDS + 3 * LANES * w)"
        if self.integrals:
            self.add("        if i < OWN:", f"            {bound}", "        else:")
            self.add(f"            {bound.replace('bound_state', 'bound_integrand')}")
        else:
            self.add(f"        {bound}")
        self.add(
            "    if burden >= 0:",
            "        b = burden * LANES",
            "        for l in range(LANES):",
            "            B[ABOVE_OLD + l] = B[START + b + l] - B[LEVEL + l]",
            "            B[ABOVE_NEW + l] = B[NEW + b + l] - B[LEVEL + l]",
            f"    accept(B, (ROWS, LIMITS, BOUNDS, CONTROL), OWN, {self.integrals > 0}, burden)",
            *_EACH,
            "            u = B[START + b + l]",
            "            B[OLD + b + l] = u",
            "            B[START + b + l] = B[NEW + b + l] if B[ACCEPTED + l] == ACCEPTED_STEP else u",
        )


def explicit_step(text: StepText, tableau: ExplicitTableau) -> None:
    """Write a step of an explicit method; its sums are functions of their own."""
    for s in range(1, len(tableau.c)):
        text.add(f"    input_{s}(B_)", "    evaluate(ev, B)")
    text.add("    errors(B_)")
    if tableau.error_low is not None:
        text.add("    combine(B, ROWS)")
    if tableau.held:
        _hold(text, tableau)
    text.finish()


def _slope(dense: np.ndarray, place: float) -> np.ndarray:
    """Return the weights that give the slope of an interpolant at a place in the step."""
    power = np.arange(dense.shape[1])
    return dense @ ((power + 1) * place**power)


def _hold(text: StepText, tableau: ExplicitTableau) -> None:
    """Hold the interpolant against the right-hand side inside the step.

    Its error is far from that at the end of the step where stability limits the steps, and wherever the
    method is better than its interpolant. How far its slope is off tells how far it is itself, to a factor of
    about 3.
    """
    text.add("    for k in range(SIZE):", "        B[OLD + k] = B[NEW + k]")
    for x in range(tableau.extra_stages):
        text.add(
            f"    extra_{x}(B_)",
            "    evaluate(ev, B)",
            "    for k in range(SIZE):",
            f"        B[STAGE_{len(tableau.c) + x} + k] = B[SLOPES + k]",
        )
    text.add(
        "    inside(B_)",
        "    evaluate(ev, B)",
        "    for l in range(LANES):",
        "        B[SECOND + l] = 0.0",
        *_EACH_OWN[:2],
        _TOLERANCES,
        *_EACH_OWN[2:],
        "            scale = absolute + relative * max(abs(B[START + b + l]), abs(B[OLD + b + l]))",
        f"            e = B[SLOPES + b + l] - ({text.weighted_sum('slope', _slope(tableau.dense, HELD))})",
        "            e *= HELD_WEIGHT * B[H_USED + l] / scale",
        "            B[SECOND + l] += e * e",
        "    for l in range(LANES):",
        "        e, second = B[ERROR + l], B[SECOND + l]",
        "        B[ERROR + l] = (second if second > e else e) + 0.0 * second",
        "    for k in range(SIZE):",
        "        B[NEW + k] = B[OLD + k]",
    )


def rosenbrock_step(text: StepText, tableau: RosenbrockTableau) -> None:
    """Write a step of a Rosenbrock method.

    Its blocks are the derivative at the start, the stages and the derivative at the end, in which waits
    meanwhile by how much the interpolant is off.
    """
    stages = len(tableau.c)
    first, last = text.stages[0], text.stages[-1]
    text.add(
        *_EACH,
        "            fresh = B[ACCEPTED + l] != ACCEPTED_STEP",
        f"            B[{first} + b + l] = B[{first} + b + l] if fresh else B[{last} + b + l]",
        "    jacobian(ev, B, n, OWN,",
        f"        (START, NEW, NEW_TIME, T, H_USED, SLOPES, {first}, JACOBIAN, BY_TIME, ABSOLUTE))",
        f"    factor(B, n, JACOBIAN, FACTORS, H_USED, {text.number('gamma', tableau.gamma)})",
    )
    for s in range(stages):
        node, d = text.number(f"node_{s + 1}", tableau.c[s]), text.number(f"d_{s + 1}", tableau.d[s])
        text.evaluate_at(text.weighted_sum(f"A_{s + 1}", tableau.A[s], 1), f"{node} * B[H_USED + l]")
        others = text.weighted_sum(f"C_{s + 1}", tableau.C[s], 1)
        text.add(
            *_EACH,
            f"            B[STAGE_{s + 1} + b + l] = (B[SLOPES + b + l]",
            f"                + ({others}) / max(B[H_USED + l], 1e-300)",
            f"                + {d} * B[H_USED + l] * B[BY_TIME + b + l])",
            f"    substitute(B, n, FACTORS, STAGE_{s + 1})",
        )
    # the interpolant in the middle of the step: how far it is from what the right-hand side wants there
    middle = tableau.dense @ 0.5 ** np.arange(1, tableau.dense.shape[1] + 1)
    text.evaluate_at(text.weighted_sum("middle", middle, 1), "0.5 * B[H_USED + l]", "B[ERROR + l] = 0.0")
    slope = text.weighted_sum("slope", _slope(tableau.dense, 0.5), 1)
    text.add(
        *_EACH,
        f"            B[{last} + b + l] = B[SLOPES + b + l] - ({slope}) / max(B[H_USED + l], 1e-300)",
        f"    substitute(B, n, FACTORS, {last})",
        *_EACH_OWN[:2],
        _TOLERANCES,
        *_EACH_OWN[2:],
        f"            e = B[{last} + b + l]",
        "            e /= absolute + relative * max(abs(B[START + b + l]), abs(B[NEW + b + l]))",
        "            B[ERROR + l] += e * e",
    )
    text.evaluate_at(text.weighted_sum("b", tableau.b, 1), "B[H_USED + l]")
    error = text.weighted_sum("error", tableau.error, 1)
    text.add(
        "    for k in range(SIZE):",
        f"        B[{last} + k] = B[SLOPES + k]",
        *_EACH_OWN[:2],
        _TOLERANCES,
        *_EACH_OWN[2:],
        "            before, after = abs(B[START + b + l]), abs(B[NEW + b + l])",
        "            scale = absolute + relative * max(before, after)",
        "            less = B[FAINT + i] + OF_ITSELF * relative * after",
        f"            slope = B[{first} + b + l]",
        f"            grows = after > 2.0 * before and B[{last} + b + l] * slope > STEEPER * slope * slope",
        "            fast = B[FACTORS + (i * n + i) * LANES + l] > GROWTH * gamma * B[H_USED + l]",
        "            grows = grows or (slope * B[NEW + b + l] < 0.0 and fast)",
        "            grows = grows and B[START + b + l] * slope >= 0.0",
        "            scale = less if grows and less < scale else scale",
        f"            e = ({error}) / scale",
        "            B[ERROR + l] += e * e",
    )
    if text.integrals:
        text.add(
            "    for l in range(LANES):",
            "        B[OWN_ERROR + l] = B[ERROR + l]",
            "    for i in range(OWN, ALL):",
            "        b = i * LANES",
            _TOLERANCES,
            "        for l in range(LANES):",
            "            before, after = B[START + b + l], B[NEW + b + l]",
            "            size = abs(after - before) + B[SO_FAR + i] * max(abs(before), abs(after))",
            f"            change = B[H_USED + l] * abs(B[{last} + b + l] - B[{first} + b + l])",
            f"            e = ({error}) / (absolute + relative * size + B[CHANGE + i] * change)",
            "            alone = OWN * e * e",
            "            total = B[ERROR + l]",
            "            B[ERROR + l] = (alone if alone > total else total) + 0.0 * alone",
        )
    _refuse_leaps(text)
    text.finish()


def _refuse_leaps(text: StepText) -> None:
    """Refuse a step that is longer than growth lets see ahead.

    The determinant of ``I/(h gamma) - J`` is below 0, or infinite: J has an eigenvalue beyond
    ``1/(h gamma)``, and the method takes what grows for something that decays. It would step over a pole,
    with an error that looks small.
    """
    text.constants["TOO_FAR"] = TOO_FAR * text.constants["OWN"]
    text.add(
        "    for l in range(LANES):",
        "        sign, infinite = 1.0, False",
        "        for i in range(n):",
        "            inverse = B[FACTORS + (i * n + i) * LANES + l]",
        "            sign = -sign if inverse < 0.0 else sign",
        "            infinite = infinite or inverse == 0.0",
        "        e = B[ERROR + l]",
        "        B[ERROR + l] = TOO_FAR if (infinite or sign < 0.0) and e < TOO_FAR else e",
    )


def evaluation(
    model: System, log: tuple[bool, ...], infused: bool, guarded: bool
) -> tuple[list[str], dict[str, int]]:
    """Return the lines of the right-hand side of all lanes, and their constants.

    ``W``, ``P``, ``R`` and ``F`` are the rows of the states as integrated, the parameters, the rates of
    infusion and the derivatives. Where the text is ``guarded``, an error is caught in its own lane.
    """
    n, m = len(model.states), len(model.parameters)
    states = labels(model.state_names)
    place = evaluation_rows(n, m)
    rows = {
        "LANES": LANES, "ROOM": place.total * LANES,
        **places("W", model.state_names, 0, LANES), "TIME": place.time * LANES,
        **places("P", model.parameter_names, place.parameters * LANES, LANES),
        **places("R", model.state_names, place.rates * LANES, LANES),
        **places("F", model.state_names, place.derivatives * LANES, LANES), "RAISED": place.raised * LANES,
        **places("D", model.state_names),
    }  # fmt: skip
    lines = [
        "def evaluate_lanes(w_):",
        "    w = carray(w_, (ROOM,))",
        "    for l in range(LANES):",
        "        t = w[TIME + l]",
    ]
    for x, logarithm in zip(states, log, strict=True):
        lines += [f"        u_{x} = w[W_{x} + l]", f"        y_{x} = {natural(f'u_{x}', logarithm)}"]
    values = [f"y_{x}" for x in states], [f"w[P_{x} + l]" for x in labels(model.parameter_names)]
    if guarded:
        # numba knows no long tuple that is made inside of try
        lines += [
            f"        y = {named('states', values[0])}",
            f"        p = {named('parameters', values[1])}",
        ]
        lines += [f"        f = ({'nan, ' * n})", "        try:", "            f = rhs(t, y, p)"]
        lines += ["        except Exception:", "            w[RAISED + l] = 1.0"]
    else:
        lines.append(f"        f = {named_call('rhs', 't', *values)}")
    for x, logarithm in zip(states, log, strict=True):
        value = f"f[D_{x}] + w[R_{x} + l]" if infused and not logarithm else f"f[D_{x}]"
        if logarithm:
            # an inflow into an exact zero has no logarithm: NaN, which is reported as such
            value = f"ratio({value}, y_{x}) if y_{x} > 0.0 else (0.0 if f[D_{x}] == 0.0 else nan)"
        lines.append(f"        w[F_{x} + l] = {value}")
    return lines, rows


def quantities(
    model: System, log: tuple[bool, ...], of: Sequence[str | tuple[int, ...]]
) -> tuple[list[str], dict[str, int]]:
    """Return the lines that compute what is watched of one patient, and their constants.

    A quantity is the name of a state or an observable, or several states of which it is the sum.
    """
    n, m = len(model.states), len(model.parameters)
    states, observed = labels(model.state_names), labels(model.observable_names)
    constants = {
        "ROOM": n + 1 + m + len(of), **places("W", model.state_names), "TIME": n,
        **places("P", model.parameter_names, n + 1), **places("O", model.observable_names),
    }  # fmt: skip
    lines = ["def quantities(w_):", "    w = carray(w_, (ROOM,))"]
    lines += [f"    u_{x} = w[W_{x}]" for x in states]
    lines += [f"    y_{x} = {natural(f'u_{x}', a)}" for x, a in zip(states, log, strict=True)]
    if any(x in model.observable_names for x in of):
        values = [f"y_{x}" for x in states], [f"w[P_{x}]" for x in labels(model.parameter_names)]
        lines.append(f"    f = {named_call('observe', 'w[TIME]', *values)}")
    for k, x in enumerate(of):
        if isinstance(x, tuple):
            value, to = " + ".join(f"y_{states[i]}" for i in x), f"TOTAL_{k}"
        elif x in model.observable_names:
            label = observed[model.observable_names.index(x)]
            value, to = f"f[O_{label}]", f"OBSERVED_{label}"
        else:
            label = states[model.state_names.index(x)]
            value, to = f"y_{label}", f"STATE_{label}"
        constants[to] = n + 1 + m + k
        lines.append(f"    w[{to}] = {value}")
    return lines, constants
