"""Compile a kernel of many small functions in the time of one large one.

numba optimises what each inner function makes together with all that it calls, then again within the caller,
and so on up, and makes machine code of each: a kernel whose parts are nested six deep is optimised six times.
Here its own inner functions are only inlined, and the whole is optimised and made machine code once. They are
copies that no other kernel has, so that what a kernel becomes does not depend on which was compiled before.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import llvmlite.binding as llvm
from numba import njit
from numba.core import codegen
from numba.core.dispatcher import Dispatcher

from fastcart.solvers.fingerprint import referenced_names
from fastcart.solvers.kept_answers import answers_kept, replaced

# Of numba's own: how a library is optimised; how that becomes machine code, is loaded, and gets the constants
# of a function. Where these are otherwise, compiling takes longer.
_OPTIMISE, _PASSES = "_optimize_final_module", "_module_pass_manager"
_FINISH, _LOAD, _LINK = "_finalize_specific", "_add_module", "set_env"
_SHARED = (llvm.Linkage.linkonce_any, llvm.Linkage.linkonce_odr)
_ROOM = "fastcart.solvers."  # whose functions are copied; elementary functions and numba's own stay shared


def optimise_once(
    function: types.FunctionType, options: dict[str, Any], alone: Callable[[], Any] = nullcontext
) -> Any:
    """Jit a function whose inner functions are optimised with it alone, when it is compiled.

    Parameters
    ----------
    function : function
    options : dict
        Of ``numba.njit``.
    alone : callable
        Makes a context in which no other process compiles the same: two that do may differ in the last bits.

    Returns
    -------
    numba dispatcher
    """
    inner: dict[int, Any] = {}
    copies: set[int] = set()
    kernel = njit(no_cfunc_wrapper=True, **options)(function)  # Python calls it
    compile_all = kernel.compile

    def compile_once(signature: Any) -> Any:
        with alone(), _only_inlined(copies):
            return compile_all(signature)

    def with_copies(*_: Any) -> types.FunctionType:  # asked for where there is no machine code on disk
        copied = _with_copies(function, inner)
        copies.update(id(copy) for copy in inner.values())
        return copied

    kernel._compiler._get_implementation = with_copies
    kernel.compile = compile_once
    return kernel


def _with_copies(function: types.FunctionType, inner: dict[int, Any]) -> types.FunctionType:
    """Return a copy of a function that names copies of the functions of solvers; ``inner`` has those made."""
    scope = dict(function.__globals__)
    for name in referenced_names(function.__code__) & scope.keys():
        value = scope[name]
        if not isinstance(value, Dispatcher) or not str(value.py_func.__module__).startswith(_ROOM):
            continue
        if id(value) not in inner:
            options = {name: given for name, given in value.targetoptions.items() if name != "nopython"}
            pipeline = value._compiler.pipeline_class  # type: ignore[attr-defined]
            inner[id(value)] = njit(pipeline_class=pipeline, **options)(_with_copies(value.py_func, inner))
        scope[name] = inner[id(value)]
    made = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    made.__module__, made.__qualname__ = function.__module__, function.__qualname__
    return made


def _keep_to_itself(module: Any) -> None:
    """Let a module call its own copies of the functions that were linked into it.

    By their names the process that compiled it would find those that were compiled first, which are not
    optimised and may differ in the last bits; one that loads it from disk has none but these.
    """
    for function in module.functions:
        if not function.is_declaration and function.linkage in _SHARED:
            function.linkage = "internal"


@contextmanager
def _only_inlined(copies: set[int]) -> Iterator[None]:
    """Within the context these functions are inlined, not optimised, and no machine code by themselves.

    Nobody else compiles meanwhile.
    """
    library, maker = codegen.CPUCodeLibrary, codegen.CPUCodegen
    ends = [(codegen.JITCodeLibrary, _FINISH), (codegen.JITCPUCodegen, _LOAD), (codegen.JITCPUCodegen, _LINK)]
    if not all(hasattr(owner, name) for owner, name in [(library, _OPTIMISE), (maker, _PASSES), *ends]):
        yield
        return
    compile_one = Dispatcher.compile
    optimise = getattr(library, _OPTIMISE)
    within = [False]  # for each function that is being compiled, whether it is one of them

    def noted(self: Any, signature: Any) -> Any:
        within.append(id(self) in copies)
        try:
            return compile_one(self, signature)
        finally:
            within.pop()

    def optimised(self: Any) -> None:
        if within[-1]:
            _inline(self._codegen, self._final_module)
        else:
            _keep_to_itself(self._final_module)
            optimise(self)

    def unless_inlined(act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: None if within[-1] else act(*given)

    replacements: list[tuple[type, str, Any]] = [
        (Dispatcher, "compile", noted), (library, _OPTIMISE, optimised),
        *((owner, name, unless_inlined(getattr(owner, name))) for owner, name in ends),
    ]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(answers_kept())
        for owner, name, by in replacements:
            stack.enter_context(replaced(owner, name, by))
        yield


def _inline(maker: Any, module: Any) -> None:
    """Inline what is marked so, and no more."""
    passes, builder = getattr(maker, _PASSES)(opt=0, loop_vectorize=False, slp_vectorize=False, cost="cheap")
    passes.run(module, builder)
