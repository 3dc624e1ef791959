"""numba without SciPy's linear algebra, until somebody needs it.

When numba compiles or loads its first function it looks whether there is a BLAS, by importing
``scipy.linalg``: a sixth of the time to a first result. SciPy is always there beside fastcart, so the answer
is known; a function that multiplies matrices lets numba import the true module, as ever.
"""

from __future__ import annotations

import importlib
import sys
import threading
import types

_BLAS = "scipy.linalg.cython_blas"


def import_lean(name: str) -> None:
    """Import a module of numba that asks for a BLAS and does not call it.

    Where another thread might meet the stand-in, the true module is imported.
    """
    if name in sys.modules or _BLAS in sys.modules or threading.active_count() > 1:
        importlib.import_module(name)
        return
    stand_in = types.ModuleType(_BLAS)
    sys.modules[_BLAS] = stand_in
    try:
        importlib.import_module(name)
    finally:
        if sys.modules.get(_BLAS) is stand_in:
            del sys.modules[_BLAS]
