"""One step of a Rosenbrock method as straight vector code of one model: what it costs is what it does.

The right-hand side is traced, so that its Jacobian is exact and sparse; Jacobian, factors, all stages and
the error become one function without a loop over states. The decision on the step, and all that follows it,
are those of the other steps.

References
----------
E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed. (1996), section IV.7.
H. M. Markowitz, Management Science 3 (1957) 255-269.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import carray

from fastcart.solvers.codegen import written
from fastcart.solvers.compile import FAST, announce, cached, made_once
from fastcart.solvers.fingerprint import examine, fingerprint, own_sources
from fastcart.solvers.lanes import layout as q
from fastcart.solvers.lanes.codegen import TOO_FAR, StepText
from fastcart.solvers.lanes.intrinsics import STEP_SIGNATURE, evaluate
from fastcart.solvers.lanes.layout import LANES, Offsets, evaluation_rows, offsets
from fastcart.solvers.lanes.step_explicit import accept, begin, bounds_functions
from fastcart.solvers.lanes.step_rosenbrock import stage_rows
from fastcart.solvers.system import System
from fastcart.solvers.tableaus.base import RosenbrockTableau
from fastcart.solvers.trace.cost import cost
from fastcart.solvers.trace.graph import (
    Graph,
    Traced,
    TraceError,
    add,
    both,
    compare,
    divide,
    either,
    larger,
    multiply,
    negative,
    reciprocal,
    unary,
    where,
)
from fastcart.solvers.trace.machine import address, from_disk, key_of, known_address, to_disk
from fastcart.solvers.trace.program import TIME, Point, Program
from fastcart.solvers.trace.sparse import Factors, Matrix, factors, solve
from fastcart.solvers.trace.vectors import module_text

_LONGEST = 60_000  # nodes of a step, beyond which LLVM takes too long
_SHORTEST = 1e-300  # of a step in the code: that of an idle lane is 0
_NAME = "traced_rosenbrock"


def step_function(
    tableau: RosenbrockTableau, n: int, m: int, integrals: int, nonnegative: tuple[int, ...]
) -> Any:
    """Compile what is around every traced step of a size; its first argument is from `step_core`."""
    at = offsets(n, m, stage_rows(tableau))
    names = {"carray": carray, "begin": begin, "accept": accept, "evaluate": evaluate}
    names |= bounds_functions(tableau, at, n, integrals)
    text = StepText("traced_step", at, n, m, integrals, nonnegative, stages=[])
    text.add("    evaluate(ev, B)")
    text.finish()
    function = written(text.lines, text.constants, names)
    return cached(function, f"{tableau.name} for {n} states", signature=STEP_SIGNATURE, **FAST)


class Core(NamedTuple):
    """The vector code of a step of one model."""

    address: int
    cost: float  # see `fastcart.solvers.trace.cost`
    call_cost: float  # of one call of the right-hand side


def step_core(
    tableau: RosenbrockTableau, system: System, log: tuple[bool, ...], infused: bool, integrals: int
) -> Core:
    """Compile the vector code of a step of one model.

    Parameters
    ----------
    tableau : RosenbrockTableau
    system : System
    log : tuple of bool
        Which states are integrated in logarithm.
    infused : bool
        Whether rates of infusion are added.
    integrals : int
        How many of the states, the last ones, are integrals that nothing depends on.

    Raises
    ------
    TraceError
        Where the right-hand side cannot be traced.
    """
    names = (tuple(system.state_names), tuple(system.parameter_names))
    key = ("traced step", tableau.name, fingerprint(system.rhs), names, log, infused, integrals)
    made = made_once(key, lambda: _remembered(tableau, system, log, infused, integrals))
    if isinstance(made, TraceError):
        raise made
    return made


def _remembered(
    tableau: RosenbrockTableau, system: System, log: tuple[bool, ...], infused: bool, integrals: int
) -> Core | TraceError:
    """Compile a step, or take it from the disk: to trace a model takes a second of each process.

    What is kept names the machine code, under a key that sees every edit of the model and of the tracer.
    """
    names = (tuple(system.state_names), tuple(system.parameter_names))
    seen = examine(system.rhs, tableau, names, log, infused, integrals, LANES, own_sources())
    kept = None if seen.opaque else from_disk(seen.digest, "json")
    if kept is not None:
        told = json.loads(kept)
        place = known_address(told["code"], _NAME)
        if place is not None:
            return Core(place, told["cost"], told["call_cost"])
    made = _core(tableau, system, log, infused, integrals)
    if isinstance(made, TraceError):
        return made
    core, code = made
    if not seen.opaque:
        told = {"code": code, "cost": core.cost, "call_cost": core.call_cost}
        to_disk(seen.digest, json.dumps(told).encode(), "json")
    return core


def _core(
    tableau: RosenbrockTableau, system: System, log: tuple[bool, ...], infused: bool, integrals: int
) -> tuple[Core, str] | TraceError:
    """Compile a step; return it with the key of its machine code, or why it cannot be traced."""
    try:
        program = Program(system, log, infused)
        at = offsets(program.states, program.parameters, stage_rows(tableau))
        outputs = _Step(program, tableau, integrals).outputs(at)
        written = [value for value, _ in outputs]
        count = len(program.graph.used(written))
        if count > _LONGEST:
            raise TraceError(f"is too long to be traced: a step has {count} operations")
        inputs, single = _places(program, at)
        text = module_text(program.graph, _NAME, inputs=inputs, single=single, outputs=outputs, lanes=LANES)
        called = program.rates(program.point()).du  # as explicit methods call it
    except TraceError as refusal:
        return refusal
    place = address(text, _NAME, lambda: announce(f"a stiff step of {system.name}"))
    return Core(place, cost(program.graph, written), cost(program.graph, called)), key_of(text)


def _places(program: Program, at: Offsets) -> tuple[dict, dict]:
    """Return where the inputs of a step are in the buffer, and those that all lanes share."""
    n, m, L = program.states, program.parameters, LANES
    inputs = {("t", 0): at.Q + q.T * L, ("h", 0): at.Q + q.H_USED * L}
    rows = evaluation_rows(n, m)
    for i in range(n):
        inputs["u", i] = at.U + i * L
        inputs["r", i] = at.W + (rows.rates + i) * L
    for k in range(m):
        inputs["p", k] = at.W + (rows.parameters + k) * L
    single = {("absolute", i): at.tolerance + i for i in range(n)}
    single |= {("relative", i): at.tolerance + n + i for i in range(n)}
    single |= {("so_far", i): at.tolerance + 2 * n + i for i in range(n)}
    single |= {("change", i): at.tolerance + 3 * n + i for i in range(n)}
    return inputs, single


class _Step:
    """The numbers of one step."""

    def __init__(self, program: Program, tableau: RosenbrockTableau, integrals: int):
        self.program, self.tableau = program, tableau
        self.graph: Graph = program.graph
        self.start = program.point()
        self.own = program.states - integrals
        self.h = self.graph.input("h")
        self.per_h = reciprocal(larger(self.h, _SHORTEST))
        self.first = program.rates(self.start, to_differentiate=True)
        self.matrix, self.by_time = self._linearised()
        self.stages: list[list[Any]] = []
        for s in range(len(tableau.c)):
            self.stages.append(self._stage(s))

    def _linearised(self) -> tuple[Factors, list[Any]]:
        """Return the factors of ``I/(h gamma) - J``, and the derivatives by time."""
        rows = self.program.jacobian(self.start, self.first)
        diagonal = multiply(self.per_h, 1.0 / self.tableau.gamma)
        matrix: Matrix = {
            (i, j): negative(value) for i, row in enumerate(rows) for j, value in row.items() if j != TIME
        }
        for i in range(len(rows)):
            matrix[i, i] = add(diagonal, matrix.get((i, i), 0.0))
        return factors(matrix, len(rows)), [row.get(TIME, 0.0) for row in rows]

    def _sum(self, weights: Sequence[float] | np.ndarray, i: int) -> Any:
        """Return a weighted sum over the stages of state ``i``."""
        total: Any = 0.0
        for weight, stage in zip(weights, self.stages, strict=False):
            if weight != 0.0:
                total = add(total, multiply(float(weight), stage[i]))
        return total

    def _moved(self, weights: Sequence[float] | np.ndarray) -> list[Any]:
        return [add(u, self._sum(weights, i)) for i, u in enumerate(self.start.u)]

    def _at(self, u: Sequence[Any], c: float) -> Point:
        later = add(self.start.t, multiply(float(c), self.h))
        return Point(u, later, self.start.p, self.start.rates)

    def _stage(self, s: int) -> list[Any]:
        tableau = self.tableau
        rates = self.first
        if s > 0:
            rates = self.program.rates(self._at(self._moved(tableau.A[s]), tableau.c[s]))
        right = []
        for i, value in enumerate(rates.du):
            value = add(value, multiply(self._sum(tableau.C[s], i), self.per_h))
            right.append(add(value, multiply(multiply(float(tableau.d[s]), self.h), self.by_time[i])))
        return solve(self.matrix, right)

    def outputs(self, at: Offsets) -> list[tuple[Any, int]]:
        """Return what is written and where: stages, new states, derivatives at the ends, errors.

        Of the derivatives at the end those of the integrals alone, which are what is watched of them: nobody
        else asks for them in a usual step, see `fastcart.solvers.lanes.lane.find_slopes_at_end`.
        """
        n, L = self.program.states, LANES
        new = self._moved(self.tableau.b)
        end = self.program.rates(self._at(new, 1.0)).du
        blocks = [self.first.du, *self.stages]
        outputs = [
            (value, at.K + (s * n + i) * L) for s, block in enumerate(blocks) for i, value in enumerate(block)
        ]
        outputs += [(end[i], at.K + (len(blocks) * n + i) * L) for i in range(self.own, n)]
        outputs += [(value, at.W + i * L) for i, value in enumerate(new)]
        own, whole = self._errors(new, end)
        outputs.append((whole, at.Q + q.ERROR * L))
        if self.own < n:
            outputs.append((own, at.Q + q.OWN_ERROR * L))
        return outputs

    def _errors(self, new: Sequence[Any], end: Sequence[Any]) -> tuple[Any, Any]:
        """Return sums of squares of scaled errors: of the states alone, and with what integrals add."""
        total: Any = 0.0
        off, reached, slopes = self._off_in_the_middle()
        for i in range(self.own):
            total = add(total, _square(divide(off[i], self._tolerance(i, self._largest(i, reached[i])))))
        for i in range(self.own):
            error = self._sum(self.tableau.error, i)
            total = add(total, _square(divide(error, self._allowed(i, new[i], slopes[i]))))
        whole = total
        for i in range(self.own, self.program.states):
            rise = unary("abs", add(new[i], negative(self.start.u[i])))
            size = add(rise, multiply(self.graph.input("so_far", i), self._largest(i, new[i])))
            change = unary("abs", add(end[i], negative(self.first.du[i])))
            change = multiply(multiply(self.graph.input("change", i), self.h), change)
            error = divide(self._sum(self.tableau.error, i), add(self._tolerance(i, size), change))
            alone = multiply(float(self.own), _square(error))
            worse = where(compare("<", whole, alone), alone, whole)
            whole = where(compare("==", alone, alone), worse, alone)  # what is no number stays none
        far = TOO_FAR * self.own
        return total, where(both(self._leaps(), compare("<", whole, far)), far, whole)

    def _leaps(self) -> Any:
        """Return whether the step is longer than growth lets see ahead.

        The determinant of ``I/(h gamma) - J``, or of one of its parts, is below 0: J has an eigenvalue beyond
        ``1/(h gamma)``, and the method takes what grows for something that decays. It would step over a pole,
        with an error that looks small. That nothing has grown yet says little: what else happens in the step
        may be what wakes it up.
        """
        leaps: Any = False
        for part in self.matrix.parts:
            sign: Any = 1.0
            for pivot in part:
                inverse = self.matrix.inverse[pivot]
                sign = where(compare("<", inverse, 0.0), negative(sign), sign)
                leaps = either(leaps, compare("==", inverse, 0.0))  # of an infinite J
            leaps = either(leaps, compare("<", sign, 0.0))
        return leaps

    def _off_in_the_middle(self) -> tuple[list[Any], list[Any], Sequence[Any]]:
        """Return how far the interpolant is from what the right-hand side wants there, the states, that."""
        dense = self.tableau.dense
        powers = np.arange(1, dense.shape[1] + 1)
        states = self._moved(dense @ 0.5**powers)
        slope = dense @ (powers * 0.5 ** (powers - 1))
        rates = self.program.rates(self._at(states, 0.5)).du
        off = [
            add(value, negative(multiply(self._sum(slope, i), self.per_h))) for i, value in enumerate(rates)
        ]
        return solve(self.matrix, off), states, rates

    def _largest(self, i: int, value: Any) -> Any:
        return larger(unary("abs", value), unary("abs", self.start.u[i]))

    def _allowed(self, i: int, new: Any, slope: Any) -> Any:
        """Return how wrong a state may be, by its new value and its slope in the middle of the step.

        What grows by itself is measured by itself, see `fastcart.solvers.lanes.layout.STEEPER`.
        """
        usual = self._tolerance(i, self._largest(i, new))
        if self.program.log[i]:
            return usual
        start, first = self.start.u[i], self.first.du[i]
        after = unary("abs", new)
        relative = multiply(q.OF_ITSELF, self.graph.input("relative", i))
        less = add(self.graph.input("so_far", i), multiply(relative, after))
        doubles = compare("<", multiply(2.0, unary("abs", start)), after)
        away = compare("<=", 0.0, multiply(start, first))
        steeper = compare("<", multiply(q.STEEPER, _square(first)), multiply(first, slope))
        # what grows too fast for the step comes out beyond zero; its pivot tells it from what swings
        fast = compare("<", q.GROWTH * self.tableau.gamma, multiply(self.matrix.inverse[i], self.per_h))
        turned = both(compare("<", multiply(first, new), 0.0), fast)
        grows = both(both(away, either(both(doubles, steeper), turned)), compare("<", less, usual))
        return where(grows, less, usual)

    def _tolerance(self, i: int, size: Any) -> Traced:
        absolute, relative = self.graph.input("absolute", i), self.graph.input("relative", i)
        return add(absolute, multiply(relative, size))


def _square(value: Any) -> Any:
    return multiply(value, value)
