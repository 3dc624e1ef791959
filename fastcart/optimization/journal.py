"""A journal of evaluated batches: what makes every optimizer resumable.

All optimizers here are deterministic: the same seed asks for the same points, given the same answers. So only
the answers are kept, a file for each batch. After a kill the optimizer runs again from its start, with the
answers from the files, until these are used up; then it goes on as if nothing had happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from fastcart.errors import InputError
from fastcart.optimization.evaluation import Values
from fastcart.runs.forms import ARRAYS
from fastcart.runs.store import Run

PATTERN = "batches/*.npz"


class Journal:
    """Answers on disk, or none where there is no folder.

    Parameters
    ----------
    run : Run or None
    """

    def __init__(self, run: Run | None):
        self._run = run
        self._next = 0

    def __call__(
        self, rows: np.ndarray, points: np.ndarray, evaluate: Callable[[np.ndarray, np.ndarray], Values]
    ) -> Values:
        """Return what points are worth: from the journal, else computed and written down.

        Raises
        ------
        InputError
            When the journal holds answers for other points, or cannot be read or written.
        """
        if self._run is None:
            return evaluate(rows, points)
        name = PATTERN.replace("*", f"{self._next:06d}")
        self._next += 1
        asked = hashlib.sha256(rows.astype(np.int64).tobytes() + points.tobytes()).hexdigest()
        found = self._run.kept(
            name, lambda: {"asked": np.array(asked), **vars(evaluate(rows, points))}, ARRAYS
        )
        if str(found.pop("asked")) != asked:
            raise InputError(
                f"The file {str(self._run.path(name))!r} belongs to other points than this optimization asks "
                "for; begin anew with --force."
            )
        return Values(**found)
