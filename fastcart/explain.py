"""How the lane engine runs a model: vectorised or not and why, which method, what a call costs."""

from __future__ import annotations

import ast
import inspect
import operator
import re
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from fastcart.batch import as_model, make_problem
from fastcart.equations import IN_ORDER
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.patients import check_patients
from fastcart.typing_names import ModelName

_ARITHMETIC = r"(?:div|mul|add|sub|sqrt|fn?m(?:add|sub)\d+)"  # x86-64; with v in front from AVX on
_CALL = re.compile(r"(?:movabsq\s+\$|callq?\s+)([A-Za-z_]\w*)")
_WIDTHS = (("zmm", 8), ("ymm", 4), ("xmm", 2))  # doubles in a register
# what the wrapper that numba puts around every callback calls, and what it uses to raise
_RUNTIME = re.compile(r"Py|NRT_|numba_|_Z|mem(?:set|cpy|move)$")
_ROUNDS = 7
_MOST = 2**63  # whole numbers of numba end here
_DEEP = 100  # levels of a count that is looked at


@dataclass(frozen=True)
class MachineCode:
    """What the machine code of the right-hand side for lanes consists of.

    Parameters
    ----------
    packed, scalar : int
        Arithmetic instructions on several patients at once, and on one.
    width : int
        Patients in a register; 1 where nothing is packed.
    calls : tuple of str
        Functions of the C library that are called, each for one patient.
    """

    packed: int
    scalar: int
    width: int
    calls: tuple[str, ...]

    @classmethod
    def of(cls, assembly: str) -> MachineCode:
        """Count the instructions of an assembly text for x86-64."""
        packed = len(re.findall(rf"\bv?{_ARITHMETIC}pd\b", assembly))
        scalar = len(re.findall(rf"\bv?{_ARITHMETIC}sd\b", assembly))
        lines = re.findall(rf"\bv?{_ARITHMETIC}pd\b.*", assembly)
        used = [width for name, width in _WIDTHS if any(name in line for line in lines)]
        calls = {name for name in _CALL.findall(assembly) if not _RUNTIME.match(name)}
        return cls(packed, scalar, used[0] if used else 1, tuple(sorted(calls)))

    @property
    def vectorised(self) -> bool:
        """Whether patients advance together, perhaps but for some calls."""
        # a little packed arithmetic within one patient does not count
        return self.packed > self.scalar

    @property
    def readable(self) -> bool:
        """Whether instructions were recognised; they are not on processors other than x86-64."""
        return self.packed + self.scalar > 0


def explain_engine(model: ModelName | str | Model, *, rtol: float = 1e-6) -> str:
    """Say how the lane engine runs a model, and why not faster.

    Parameters
    ----------
    model : str or Model
    rtol : float
        Relative tolerance that the method is chosen for.

    Returns
    -------
    str
        Whether the right-hand side advances several patients with each instruction, counted in its machine
        code, and if not, what stands in the way; the method that engine ``auto`` starts with; the measured
        time of a call.

    Raises
    ------
    InputError
        For an unknown model, or one that numba cannot compile.

    Examples
    --------
    >>> import fastcart
    >>> print(fastcart.explain_engine("li_lei").splitlines()[0])
    Model li_lei: 7 states, 4 of them integrated in logarithm (T4, TP, Tr, C).
    """
    from fastcart.batch import compiling_errors
    from fastcart.solvers.auto import chosen
    from fastcart.solvers.lanes.engine import STIFF_METHOD
    from fastcart.solvers.lanes.rhs import machine_code

    model = as_model(model)
    rtol = SolveOptions(rtol=rtol).rtol
    with compiling_errors(model):
        code = MachineCode.of(machine_code(model.system))
        cost = call_cost(model)
        choice = chosen(make_problem(model, SolveOptions(rtol=rtol)))
    stiff = choice.method == STIFF_METHOD
    logs = [state.name for state in model.states if state.log]
    named = f" ({', '.join(logs)})" if logs else ""
    lines = [
        f"Model {model.name}: {_plural(len(model.states), 'state')}, {len(logs)} of them integrated in "
        f"logarithm{named}.",
        *_verdict(code, obstacles(model)),
        f"Method: at rtol {rtol:g} engine auto starts every patient with {choice.method} in lanes: "
        f"{choice.reason}. One that {'it does not get through' if stiff else 'turns out stiff'} goes on with "
        f"{'an explicit method' if stiff else STIFF_METHOD} in lanes, then with LSODA.",
        f"Cost: {cost:.1f} ns for each patient and call of the right-hand side, measured now with default "
        "patients on one core.",
    ]
    return "\n".join(lines)


def _verdict(code: MachineCode, found: list[str]) -> list[str]:
    """Say whether the code is vectorised, and what stands in the way."""
    counts = f"{code.packed} packed and {code.scalar} scalar arithmetic instructions"
    if not code.readable:
        return ["Vectorised: unknown, the machine code of this processor is not understood."]
    if code.vectorised and not code.calls and not code.scalar:
        return [f"Vectorised: yes, {code.width} patients with each instruction ({counts})."]
    # calls alone explain what a vectorised loop leaves scalar
    reasons = [*_call_reasons(code.calls), *(() if code.vectorised and code.calls else found)]
    if code.vectorised:
        head = f"Vectorised: in part, {code.width} patients with each packed instruction ({counts})."
    else:
        head = f"Vectorised: no, one patient after the other ({counts}). Results are the same, but slower."
    if not reasons:
        reasons = ["none that is known; fewer branches and shorter loops may help."]
    return [head, "Likely cause:", *(f"  - {text}" for text in reasons)]


def _call_reasons(calls: tuple[str, ...]) -> list[str]:
    return [f"a call of {name} in the C library takes patients one by one." for name in calls]


def _plural(n: int, word: str) -> str:
    return f"{n} {word}{'s' if n != 1 else ''}"


# --- what in the source keeps a loop over patients from being vectorised -------------------------------


def obstacles(model: Model) -> list[str]:
    """Return what in the source of the right-hand side is known to stand in the way, with its place.

    Parameters
    ----------
    model : Model

    Returns
    -------
    list of str
        Loops whose end depends on the data, long loops, exceptions, arrays; each with function and line.
    """
    from fastcart.solvers.reading import functions

    found: list[str] = []
    for function in functions(model.rhs):
        if function.__module__ != "fastcart.math" and function.__code__.co_filename != IN_ORDER:
            found += _obstacles(function)
    return list(dict.fromkeys(found))


def _obstacles(function: FunctionType) -> list[str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return [f"the source of {function.__name__} is not at hand, so it could not be looked at."]
    first = function.__code__.co_firstlineno
    path = Path(function.__code__.co_filename)
    file = "its cell" if "ipykernel" in path.parent.name else path.name  # of a notebook
    texts = []
    for node in ast.walk(tree):
        text = _obstacle(node, function)
        if text:
            line = first + getattr(node, "lineno", 1) - 1
            texts.append(f"{text} (function {function.__name__}, line {line} of {file}).")
    return texts


def _obstacle(node: ast.AST, function: FunctionType) -> str:
    """Return what a piece of source does against vectorisation; empty where nothing is known."""
    if isinstance(node, ast.While):
        return "a while loop, which ends at a different time for each patient; use a fixed number of turns"
    if isinstance(node, ast.For):
        return _loop(node, function)
    if isinstance(node, ast.Break):
        return "a break, which ends a loop at a different time for each patient; use a fixed number of turns"
    if isinstance(node, ast.Raise | ast.Assert):
        return "an exception, which would end the loop over patients; check input before solving"
    if isinstance(node, ast.Call) and _is_array(node.func):
        return "an array is made; use scalars and tuples"
    return ""


def _loop(node: ast.For, function: FunctionType) -> str:
    """Say what is wrong with a for loop: a count from the data, or too many turns to be unrolled."""
    from fastcart.solvers.compile import UNROLLED

    call = node.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
        return ""
    counts = [_constant(argument, function) for argument in call.args]
    if any(count is None for count in counts):
        return "a loop whose count depends on the data; use a fixed number of turns"
    try:
        turns = len(range(*(int(count) for count in counts if count is not None)))
    except (OverflowError, ValueError, TypeError):  # beyond what numba counts to; a step of 0
        turns = _MOST
    if turns >= _MOST:
        return "a loop of more turns than a number can count; use a fixed and small number of turns"
    if turns > UNROLLED:
        return f"a loop of {turns} turns, too long to be unrolled; use fewer turns of a better method"
    return ""


def _constant(node: ast.expr, function: FunctionType) -> int | None:
    """Return a whole number that is known at compile time, of literals and global names; at most `_MOST`."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    known = {**function.__globals__, **{name: cell.cell_contents for name, cell in cells}}
    for name in function.__code__.co_varnames:
        known.pop(name, None)
    try:
        return _whole(node, known, _DEEP)
    except (ArithmeticError, ValueError):
        return None


def _whole(node: ast.expr, known: Mapping[str, Any], levels: int) -> int | None:
    """Evaluate whole numbers step by step, so that no step takes long: ``9**9**9`` would take for ever."""
    if levels == 0:
        return None
    if isinstance(node, ast.Constant | ast.Name):
        value = node.value if isinstance(node, ast.Constant) else known.get(node.id)
        return _bounded(value) if isinstance(value, int) else None
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        inner = _whole(node.operand, known, levels - 1)
        return None if inner is None else _bounded(_UNARY[type(node.op)](inner))
    if not isinstance(node, ast.BinOp) or type(node.op) not in _BINARY:
        return None
    left, right = _whole(node.left, known, levels - 1), _whole(node.right, known, levels - 1)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Pow | ast.LShift):
        if right < 0:
            return None  # a fraction, or an error
        right = min(right, 64 + right % 2)  # beyond the bound, or a power of 0, 1 and -1
    return _bounded(_BINARY[type(node.op)](left, right))


def _bounded(value: int) -> int:
    return min(max(int(value), -_MOST), _MOST)


_UNARY: dict[type, Callable[[int], int]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Invert: operator.invert,
}  # fmt: skip
_BINARY: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Pow: operator.pow, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
}  # fmt: skip


def _is_array(function: ast.expr) -> bool:
    makers = ("array", "empty", "zeros", "ones", "full", "linspace", "arange", "asarray")
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in makers


# --- what a call costs --------------------------------------------------------------------------------


def call_cost(model: str | Model, *, seconds: float = 0.05) -> float:
    """Measure one call of the right-hand side in lanes, in nanoseconds for each patient.

    No explicit method in lanes can be faster than this times its number of calls.

    Parameters
    ----------
    model : str or Model
    seconds : float
        How long to measure, about; the best of several rounds counts.

    Returns
    -------
    float
    """
    from fastcart.solvers.compile import FAST, cached, prepared_function
    from fastcart.solvers.lanes.intrinsics import repeat
    from fastcart.solvers.lanes.layout import LANES, evaluation_rows
    from fastcart.solvers.lanes.rhs import evaluation
    from fastcart.solvers.transform import to_internal

    model = as_model(model)
    problem = make_problem(model, SolveOptions())
    y0, p = check_patients(model, 1).arrays(0, 1)
    n, m = y0.shape[1], p.shape[1]
    rows = evaluation_rows(n, m)
    buffer = np.zeros((rows.total, LANES))
    buffer[:n] = to_internal(y0, problem.log, np.ones(n)).T
    buffer[rows.parameters : rows.parameters + m] = p.T
    flat = buffer.ravel()
    address = evaluation(model.system, tuple(bool(x) for x in problem.log), False).address
    kernel = cached(prepared_function(repeat), "the loop that times a right-hand side", **FAST)

    def measure(calls: int) -> float:
        start = time.perf_counter()
        kernel(address, flat, calls)
        return time.perf_counter() - start

    measure(2)  # compile
    calls = max(1, int(100 * seconds / _ROUNDS / measure(100)))
    return min(measure(calls) for _ in range(_ROUNDS)) / calls / LANES * 1e9
