"""What is not done twice while a kernel is compiled."""

from typing import NamedTuple

import numpy as np
import pytest
from numba import njit, types
from numba.core import errors
from numba.core.base import BaseContext
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import Dispatcher
from numba.core.types.functions import BaseFunction

from fastcart.solvers.compile import EXACT, INNER, cached
from fastcart.solvers.inner_libraries import optimise_once
from fastcart.solvers.kept_answers import answers_kept
from fastcart.solvers.lanes import records
from fastcart.solvers.whole import WholeTuple, as_whole, whole


def counting(monkeypatch, owner, name, note):
    """Note each call of a method of numba."""
    original = getattr(owner, name)

    def noted(*given):
        note(*given)
        return original(*given)

    monkeypatch.setattr(owner, name, noted)


def scope_of(text: str, **names) -> dict:
    """Return what a text defines, as if it stood among the solvers."""
    scope = {"__name__": "fastcart.solvers.for_a_test", **names}
    exec(text, scope)
    return scope


def test_the_same_operation_is_looked_for_once(monkeypatch):
    asked = []
    counting(
        monkeypatch, BaseFunction, "get_call_type", lambda self, _, given, kws: asked.append((self, given))
    )
    with answers_kept():
        made = njit(lambda x: (x + x) + (x + (x + x)))
        assert made(2.0) == 10.0
    sums = [given for function, given in asked if str(function.typing_key) == "<built-in function add>"]
    assert sums == [(types.float64, types.float64)]


def test_an_operation_that_does_not_exist_is_an_error_each_time():
    for _ in range(2):
        with answers_kept(), pytest.raises(errors.TypingError, match="No implementation"):
            njit(lambda x: x + "a")(1.0)


def test_numba_is_as_it_was_behind_a_kernel():
    before = (
        vars(BaseFunction)["get_call_type"], vars(BaseContext)["get_arg_packer"],
        vars(JITCodeLibrary)["_finalize_specific"], vars(Dispatcher)["compile"],
    )  # fmt: skip
    with pytest.raises(errors.TypingError):
        optimise_once(scope_of("def outer(x): return x + 'a'")["outer"], EXACT)(1.0)
    assert before == (
        vars(BaseFunction)["get_call_type"], vars(BaseContext)["get_arg_packer"],
        vars(JITCodeLibrary)["_finalize_specific"], vars(Dispatcher)["compile"],
    )  # fmt: skip


def test_inner_functions_are_machine_code_in_their_kernel_alone(monkeypatch):
    made = []
    counting(monkeypatch, JITCodeLibrary, "_finalize_specific", lambda self: made.append(self.name))
    scope = scope_of("def inner(x): return 3.0 * x\ndef outer(x): return inner(x) + inner(x + 1.0)")
    scope["inner"] = njit(**INNER)(scope["inner"])
    assert optimise_once(scope["outer"], EXACT)(1.0) == 9.0
    assert made == ["outer"]


@whole
class Course(NamedTuple):
    """A named tuple that is one argument."""

    times: np.ndarray
    values: np.ndarray
    count: int


def test_a_whole_tuple_is_one_argument_of_what_it_is_handed_to():
    scope = scope_of(
        "def inner(c, k): return c.values[k] * c.count\ndef outer(c): return inner(c, 1) + inner(c, 0)"
    )
    scope["inner"] = njit(**INNER)(scope["inner"])
    kernel = optimise_once(scope["outer"], EXACT)
    assert kernel(Course(np.zeros((2, 2)), np.array([2.0, 5.0]), 3)) == 21.0
    (kind,) = kernel.signatures[0]
    assert isinstance(kind, WholeTuple)
    (compiled,) = kernel.overloads.values()
    name = compiled.fndesc.llvm_func_name
    assert len(list(compiled.library.get_function(name).arguments)) == 3  # result, error, and the tuple


def test_a_tuple_made_within_a_kernel_keeps_its_arrays():
    text = """
def inner(c): return c.values.sum() + c.count
def outer(n):
    total = 0.0
    for k in range(n):
        total += inner(as_whole(Course(np.zeros((1, 1)), np.full(3, float(k)), k)))
    return total
"""
    scope = scope_of(text, np=np, Course=Course, as_whole=as_whole)
    scope["inner"] = njit(**INNER)(scope["inner"])
    assert optimise_once(scope["outer"], EXACT)(1000) == 4 * sum(range(1000))


def test_the_records_of_lanes_are_handed_on_whole():
    lane = np.zeros((2, 2))
    steps = records.Steps(lane, lane, lane, np.zeros((1, 2, 2)), np.zeros((1, 3, 2)))
    kernel = cached(
        scope_of("def u(steps): return steps.u[0, 0]")["u"], "a test", takes=(records.Steps,), **EXACT
    )
    assert kernel(steps) == 0.0
    assert isinstance(kernel.signatures[0][0], WholeTuple)
