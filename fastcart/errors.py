"""Errors that a user can cause, each with one sentence that says what to do."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping


class InputError(ValueError):
    """Bad input: what was given, what is allowed, what to do. The command line exits with code 2."""


class MissingDependencyError(ImportError):
    """An optional package is needed and not installed."""


class PatientsFailed(UserWarning):  # noqa: N818  a warning, not an error
    """Some patients of a batch were not solved; their endpoints are NaN.

    Attributes
    ----------
    counts : dict of str to int
        How many patients ended with each status other than ``ok``.
    total : int
        Patients of the batch.
    """

    def __init__(self, counts: Mapping[str, int], total: int):
        self.counts = {name: int(n) for name, n in counts.items() if n and name != "ok"}
        self.total = total
        failed = sum(self.counts.values())
        listed = ", ".join(f"{n} {name}" for name, n in sorted(self.counts.items()))
        super().__init__(
            f"{failed} of {total} patients {'was' if failed == 1 else 'were'} not solved ({listed}); their "
            "endpoints are NaN: leave them out by the column 'status', and see result.explain(patient)."
        )


def warn_failed(counts: Mapping[str, int], total: int, *, stacklevel: int = 2) -> None:
    """Warn once with `PatientsFailed` where any patient of a batch was not solved."""
    if any(n for name, n in counts.items() if name != "ok"):
        warnings.warn(PatientsFailed(counts, total), stacklevel=stacklevel + 1)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to a typo, else the known names."""
    names = [str(k) for k in known]
    lowered = {n.lower(): n for n in reversed(names)}
    matches = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    if matches:
        return f" Did you mean {lowered[matches[0]]!r}?"
    shown = ", ".join(names[:60]) + (", ..." if len(names) > 60 else "")
    return f" Known: {shown}."


def optional_import(module: str, *, extra: str, purpose: str):
    """Import an optional package, or say in one sentence how to get it.

    Raises
    ------
    MissingDependencyError
        When the package is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise MissingDependencyError(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'fastcart[{extra}]'"
        ) from error
