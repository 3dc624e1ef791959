"""Run a function with recording numbers, and all functions that it names.

A function is run as Python, from its own source where that can be read: ``a if c else b``, ``and``, ``or``
and ``not`` then become operations on both sides. An ``if`` statement is followed once for every way through.
What cannot be followed raises `TraceError`: a loop whose end depends on the numbers, an index that does, a
function without a rule.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from fastcart.solvers.fingerprint import python_function
from fastcart.solvers.trace.graph import (
    CONDITIONS,
    Graph,
    Traced,
    TraceError,
    as_number,
    both,
    either,
    opposite,
    where,
)
from fastcart.solvers.trace.rules import BUILT_IN, stand_in

WAYS = 64  # through the branches of a function, at most
_DEEP = 40  # branches on one way, at most


class _Choices:
    """What was decided on the way through the branches that is being followed."""

    def __init__(self, script: Sequence[bool]):
        self._script, self._decided = script, {}
        self.trail: list[tuple[int, bool]] = []

    def take(self, condition: Traced) -> bool:
        """Decide a branch: as the script says, then yes."""
        condition = condition if condition.operation in CONDITIONS else condition != 0.0
        if condition.number not in self._decided:
            place = len(self.trail)
            if place >= _DEEP:
                raise TraceError("has a loop whose end depends on the numbers")
            decided = self._script[place] if place < len(self._script) else True
            self._decided[condition.number] = decided
            self.trail.append((condition.number, decided))
        return self._decided[condition.number]


def follow(
    graph: Graph,
    function: Callable,
    arguments: Sequence[Any],
    *,
    instead: Mapping[Any, Callable] | None = None,
) -> tuple[Any, ...]:
    """Return what a function returns, as numbers of a graph.

    Parameters
    ----------
    graph : Graph
    function : function or numba dispatcher
        Returns a tuple or an array.
    arguments : sequence
        Numbers of the graph, tuples of such.
    instead : mapping of function to function, optional
        What is called in place of functions that it names, as it is.

    Raises
    ------
    TraceError
        Where that cannot be done.
    """
    runnable = instrumented(function, {id(python_function(f)): other for f, other in (instead or {}).items()})
    leaves: list[tuple[list, tuple]] = []
    waiting: list[list[bool]] = [[]]
    try:
        while waiting:
            graph.choices = _Choices(waiting.pop())
            script = len(graph.choices._script)
            result = _result(runnable, arguments)
            trail = graph.choices.trail
            leaves.append((trail, result))
            for place in range(script, len(trail)):
                waiting.append([decided for _, decided in trail[:place]] + [not trail[place][1]])
            if len(leaves) + len(waiting) > WAYS:
                raise TraceError(f"has more than {WAYS} ways through its branches")
    finally:
        graph.choices = None
    return tuple(_joined(graph, leaves, 0))


def _result(function: Callable, arguments: Sequence[Any]) -> tuple:
    try:
        with np.errstate(all="ignore"):
            result = function(*arguments)
    except TraceError:
        raise
    except RecursionError:
        raise TraceError("calls itself without an end") from None
    except Exception as error:
        raise TraceError(f"raises {type(error).__name__} ({error})") from error
    if isinstance(result, Traced | int | float):
        result = (result,)
    values = tuple(result)
    for value in values:
        if not isinstance(value, Traced | int | float | np.floating | np.integer):
            raise TraceError(f"returns {type(value).__name__}")
    return tuple(as_number(value) for value in values)


def _joined(graph: Graph, leaves: list[tuple[list, tuple]], depth: int) -> list:
    """Choose between the results of all ways by what was decided on them."""
    if len(leaves) == 1:
        return list(leaves[0][1])
    condition = Traced(graph, leaves[0][0][depth][0])
    yes = [leaf for leaf in leaves if leaf[0][depth][1]]
    no = [leaf for leaf in leaves if not leaf[0][depth][1]]
    pairs = zip(_joined(graph, yes, depth + 1), _joined(graph, no, depth + 1), strict=True)
    return [where(condition, a, b) for a, b in pairs]


# --- a function as it can be followed ---------------------------------------------------------------------


class _Module:
    """A module of the user's, whose functions are instrumented as they are asked for."""

    def __init__(self, module: types.ModuleType, renewed: Callable[[Any], Any]):
        self._module, self._renewed = module, renewed

    def __getattr__(self, name: str) -> Any:
        return self._renewed(getattr(self._module, name))


def _chosen(condition: Any, yes: Callable, no: Callable) -> Any:
    if not isinstance(condition, Traced):
        return yes() if condition else no()
    return where(condition, yes(), no())


def _and(first: Any, second: Callable) -> Any:
    if not isinstance(first, Traced):
        return first and second()
    return both(first, second())


def _or(first: Any, second: Callable) -> Any:
    if not isinstance(first, Traced):
        return first or second()
    return either(first, second())


_HELPERS: dict[str, Any] = {
    "__chosen__": _chosen, "__and__": _and, "__or__": _or, "__not__": opposite,
}  # fmt: skip


class _Rewriting(ast.NodeTransformer):
    """Turn what chooses between values into calls, which take both sides of a traced condition."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return _call("__chosen__", node.test, _later(node.body), _later(node.orelse))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        name = "__and__" if isinstance(node.op, ast.And) else "__or__"
        result = node.values[-1]
        for value in reversed(node.values[:-1]):
            result = _call(name, value, _later(result))
        return result

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return _call("__not__", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) == 1:
            self.generic_visit(node)
            return node
        sides = [node.left, *node.comparators]
        parts: list[ast.expr] = [
            ast.Compare(sides[k], [operator], [sides[k + 1]]) for k, operator in enumerate(node.ops)
        ]
        return self.visit_BoolOp(ast.BoolOp(ast.And(), parts))


def _later(value: ast.expr) -> ast.expr:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), value)


def _call(name: str, *values: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(values), [])


def instrumented(function: Callable, made: dict[int, Any] | None = None) -> Callable:
    """Return a function that can be run with numbers of a graph, and so all functions that it names.

    Raises
    ------
    TraceError
        For what is not a Python function.
    """
    made = {} if made is None else made
    function = _original(function)
    source = python_function(function)
    if source is None:
        raise TraceError(f"calls {getattr(function, '__name__', function)!r}, which is no Python function")
    if id(source) in made:
        return made[id(source)]
    real: list[Callable] = []
    made[id(source)] = lambda *values, **named: real[0](*values, **named)  # it may call itself

    def renewed(value: Any) -> Any:
        value = _original(value)
        rule = stand_in(value)
        if rule is not None:
            return rule
        if isinstance(value, types.ModuleType):
            return _Module(value, renewed)
        in_python = getattr(value, "in_python", None)
        if in_python is not None:
            return in_python
        return instrumented(value, made) if python_function(value) is not None else value

    scope = dict(source.__globals__)
    scope.update({name: rule for name, rule in BUILT_IN.items() if name not in scope})
    scope.update(_HELPERS)
    for name in _all_names(source.__code__) & source.__globals__.keys():
        scope[name] = renewed(source.__globals__[name])
    cells = [renewed(cell.cell_contents) for cell in source.__closure__ or ()]
    real.append(_rewritten(source, scope, cells) or _as_it_is(source, scope, cells))
    return made[id(source)]


def _original(value: Any) -> Any:
    """Return the function of this package that a copy is of: one that came from another process is a copy."""
    source = python_function(value)
    if source is None or not str(source.__module__).startswith("fastcart."):
        return value
    try:
        found = getattr(import_module(source.__module__), source.__name__, None)
    except ImportError:
        return value
    inner = None if found is None else python_function(found)
    same = inner is not None and inner is not source and inner.__code__ == source.__code__
    return found if same else value


def _all_names(code: types.CodeType) -> set[str]:
    """Return the names that code and what is nested in it refer to."""
    inner = (x for x in code.co_consts if isinstance(x, types.CodeType))
    return set(code.co_names).union(*(_all_names(x) for x in inner))


def _as_it_is(source: types.FunctionType, scope: dict[str, Any], cells: list[Any]) -> Callable:
    """Return a function with another scope: both sides of what it chooses are followed one by one."""
    closure = tuple(types.CellType(value) for value in cells)
    made = types.FunctionType(source.__code__, scope, source.__name__, source.__defaults__, closure)
    made.__kwdefaults__ = source.__kwdefaults__
    return made


def _rewritten(source: types.FunctionType, scope: dict[str, Any], cells: list[Any]) -> Callable | None:
    """Return a function made anew from its text; None where the text is not at hand, or not what runs."""
    text = getattr(source, "__fastcart_source__", None)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(source) if text is None else text))
    except (OSError, TypeError, SyntaxError):
        return None
    defined = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == source.__name__
    ]
    if len(defined) != 1:
        return None
    node = defined[0]
    node.decorator_list, node.returns, node.args.defaults, node.args.kw_defaults = [], None, [], []
    node.args.kwonlyargs = []
    names = source.__code__.co_freevars
    if not _same_code(_function_code(node, names), source.__code__):  # the file was edited since
        return None
    code = _function_code(_Rewriting().visit(node), names)
    if code is None:
        return None
    cell_of = dict(zip(names, cells, strict=True))
    closure = tuple(types.CellType(cell_of[name]) for name in code.co_freevars)
    return types.FunctionType(code, scope, source.__name__, source.__defaults__, closure)


def _function_code(node: ast.FunctionDef, free: Sequence[str]) -> types.CodeType | None:
    """Compile a function that names are enclosed with."""
    arguments = ast.arguments([], [ast.arg(name) for name in free], None, [], [], None, [])
    outer = ast.FunctionDef("__outer__", arguments, [node], [])
    outer.type_params = []  # type: ignore[attr-defined]  # Python 3.12 asks for them
    module = ast.fix_missing_locations(ast.Module([outer], []))
    try:
        code = compile(module, f"<{node.name}>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    enclosing = next(x for x in code.co_consts if isinstance(x, types.CodeType))
    return next(
        (x for x in enclosing.co_consts if isinstance(x, types.CodeType) and x.co_name == node.name), None
    )


def _same_code(one: types.CodeType | None, other: types.CodeType) -> bool:
    """Whether two functions do the same: what they run, names and constants, not where they stand."""
    if one is None:
        return False
    simple = ("co_code", "co_names", "co_varnames", "co_freevars", "co_argcount")
    if any(getattr(one, name) != getattr(other, name) for name in simple):
        return False
    if len(one.co_consts) != len(other.co_consts):
        return False
    for a, b in zip(one.co_consts, other.co_consts, strict=True):
        if isinstance(a, types.CodeType) and isinstance(b, types.CodeType):
            if not _same_code(a, b):
                return False
        elif repr(a) != repr(b):
            return False
    return True
