"""Compile a kernel of many small functions in the time of one large one.

numba optimises what each inner function makes together with all that it calls, then again within the caller,
and so on up: a kernel whose parts are nested six deep is optimised six times. Here the inner ones are only
inlined, and the whole is optimised once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import codegen
from numba.core.compiler_lock import global_compiler_lock

_OPTIMISE = "_optimize_final_module"  # of numba's own: where it is called otherwise, compiling takes longer


def optimise_once(kernel: Any) -> None:
    """Let a dispatcher's inner functions be optimised with it alone, whenever it is compiled."""
    compile_all = kernel.compile

    def compile_once(signature: Any) -> Any:
        with _inlined_only(kernel.py_func.__qualname__):
            return compile_all(signature)

    kernel.compile = compile_once


@contextmanager
def _inlined_only(outermost: str) -> Iterator[None]:
    """Within the context only the library of one function is optimised; nobody else compiles meanwhile."""
    library = codegen.CPUCodeLibrary
    optimise = getattr(library, _OPTIMISE, None)
    if optimise is None or not hasattr(codegen.CPUCodegen, "_module_pass_manager"):
        yield
        return

    def inline(self: Any) -> None:
        if self.name == outermost:
            optimise(self)
            return
        passes, builder = self._codegen._module_pass_manager(
            opt=0, loop_vectorize=False, slp_vectorize=False, cost="cheap"
        )
        passes.run(self._final_module, builder)

    with global_compiler_lock:
        setattr(library, _OPTIMISE, inline)
        try:
            yield
        finally:
            setattr(library, _OPTIMISE, optimise)
