"""What is not done twice while a kernel is compiled."""

import pytest
from numba import njit, types
from numba.core import errors
from numba.core.base import BaseContext
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import Dispatcher
from numba.core.types.functions import BaseFunction

from fastcart.solvers.compile import EXACT, INNER
from fastcart.solvers.inner_libraries import optimise_once
from fastcart.solvers.kept_answers import answers_kept


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
