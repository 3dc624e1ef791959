"""Errors that a user can cause, each with one sentence that says what to do."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping


class InputError(ValueError):
    """Bad input: what was given, what is allowed, what to do. The command line exits with code 2."""

    exit_code = 2


class OutputError(InputError):
    """The machine does not take an output, e.g. because the disk is full. The command line exits with 1."""

    exit_code = 1


class MissingDependencyError(ImportError):
    """An optional package is needed and not installed."""


class PatientsFailed(UserWarning):
    """Patients of a batch that were not solved; their results are NaN.

    Parameters
    ----------
    counts : mapping of str to int
        How many patients ended with each status, ``ok`` among them.

    Attributes
    ----------
    counts : dict of str to int
    failed, size : int
        Patients that were not solved, and all.
    """

    def __init__(self, counts: Mapping[str, int]):
        self.counts = {str(name): int(n) for name, n in counts.items() if n}
        self.size = sum(self.counts.values())
        self.failed = self.size - self.counts.get("ok", 0)
        ends = ", ".join(f"{n} {name}" for name, n in sorted(self.counts.items()) if name != "ok")
        super().__init__(
            f"{self.failed} of {self.size} patients {'was' if self.failed == 1 else 'were'} not solved "
            f"({ends}); their results are NaN. Look at the column 'status', and leave them out knowingly."
        )

    def __reduce__(self) -> tuple[type, tuple[dict[str, int]]]:
        """Travel between processes by the counts, not by the sentence."""
        return type(self), (self.counts,)


def warn_failed(counts: Mapping[str, int], *, stacklevel: int = 2) -> None:
    """Warn once with `PatientsFailed` where any patient of a batch was not solved."""
    warning = PatientsFailed(counts)
    if warning.failed:
        warnings.warn(warning, stacklevel=stacklevel + 1)


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
