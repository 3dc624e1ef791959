"""The vectorised right-hand side from its graph, through LLVM directly: compiled in a tenth of the time."""

from __future__ import annotations

from typing import NamedTuple

from fastcart.solvers.compile import announce
from fastcart.solvers.lanes.layout import LANES, evaluation_rows
from fastcart.solvers.system import System
from fastcart.solvers.trace.cost import chain
from fastcart.solvers.trace.machine import address, assembly
from fastcart.solvers.trace.program import Program
from fastcart.solvers.trace.vectors import module_text

_NAME = "traced_evaluation"
_FAR = 90  # operations in a chain: two vectors gain 10 to 15 % above 100, and none below 75


class Compiled(NamedTuple):
    """Where machine code is, and what it was made from."""

    address: int
    text: str

    def assembly(self) -> str:
        """Return the machine code as text."""
        return assembly(self.text, _NAME)


def traced_evaluation(system: System, log: tuple[bool, ...], infused: bool) -> Compiled:
    """Compile a right-hand side for lanes; see `fastcart.solvers.lanes.rhs.evaluation`.

    Raises
    ------
    TraceError
        Where it cannot be traced.
    """
    program = Program(system, log, infused)
    n, m = program.states, program.parameters
    rows = evaluation_rows(n, m)
    inputs = {("t", 0): rows.time * LANES}
    for i in range(n):
        inputs["u", i] = i * LANES
        inputs["r", i] = (rows.rates + i) * LANES
    for k in range(m):
        inputs["p", k] = (rows.parameters + k) * LANES
    derivatives = program.rates(program.point()).du
    outputs = [(value, (rows.derivatives + i) * LANES) for i, value in enumerate(derivatives)]
    # the processor looks so far ahead only: behind a long chain it sees no other vector to go on with
    side_by_side = 2 if chain(program.graph, derivatives) > _FAR else 1
    text = module_text(
        program.graph, _NAME, inputs=inputs, single={}, outputs=outputs, lanes=LANES,
        side_by_side=side_by_side,
    )  # fmt: skip
    return Compiled(address(text, _NAME, lambda: announce(f"{system.name} for lanes")), text)
