"""What of a population's fit is kept in a folder, so that one that was killed goes on to the same bits."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastcart.checks import shown
from fastcart.errors import InputError
from fastcart.fit.data import FitData
from fastcart.fit.effects import Effects
from fastcart.fit.likelihood import PreparedLikelihood
from fastcart.runs.forms import decode_arrays, encode_arrays
from fastcart.runs.identity import describe_model, environment, plain
from fastcart.runs.manifest import Manifest
from fastcart.runs.store import Run, open_run

OWNS = ("states/*.npz",)


class Keeper:
    """States of runs on disk, or nowhere."""

    def __init__(self, run: Run | None):
        self._run, self._lock = run, threading.Lock()

    def state(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the last state of a start; None where there is none."""
        name = self._name(number)
        if self._run is None or not self._run.has(name):
            return None
        return decode_arrays(self._run.path(name))

    def keep(self, number: int, arrays: dict[str, np.ndarray]) -> None:
        """Write the state of a start down; starts may run at once."""
        if self._run is not None:
            with self._lock:
                self._run.write(self._name(number), encode_arrays(arrays))

    @staticmethod
    def _name(number: int) -> str:
        return f"states/{number}.npz"


@contextmanager
def keeping(where: Any, content: Callable[[], dict[str, Any]]) -> Iterator[Keeper]:
    """Yield what keeps states: in a folder, in a run that is open already, or nowhere.

    Raises
    ------
    InputError
        For a folder that holds something else, or a fit of other inputs.
    """
    if where is None:
        yield Keeper(None)
    elif isinstance(where, Run):
        yield Keeper(where)
    elif not isinstance(where, str | os.PathLike):
        raise InputError(f"'keep' must be the path of a folder, not {shown(where)}.")
    else:
        with open_run(where, Manifest("fit", content()), resume=True, owns=OWNS) as run:
            yield Keeper(run)


def describe_data(data: FitData) -> dict[str, Any]:
    """Return all of a table of measurements that a result depends on, for manifests."""
    return {
        "ids": plain(data.ids),
        "measurements": plain(vars(data.measurements)),
        "doses": plain(data.doses),
        "covariates": plain(data.covariates),
    }


def content_of(
    prepared: PreparedLikelihood,
    effects: Effects,
    options: Any,
    schedule: Any,
    accuracy: Any,
    rows: Any,
    seed: int,
) -> dict[str, Any]:
    """Return all that the result of a fit depends on."""
    return {
        "model": describe_model(prepared.model),
        "data": describe_data(prepared.data),
        "observations": plain(prepared.observations), "options": plain(options),
        "estimated": {name: plain(value) for name, value in vars(effects).items() if name in _EFFECTS},
        "schedule": plain(schedule), "accuracy": plain(accuracy), "starts": plain(rows), "seed": seed,
        **environment(),
    }  # fmt: skip


_EFFECTS = ("random", "fixed", "scales", "coefficients", "design", "pairs", "known_errors")
