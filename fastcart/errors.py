"""Errors that a user can cause, each with one sentence that says what to do."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_QUESTION = re.compile(r"\. Did you mean ('[^']*')\?$")


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


def counted(number: int, word: str) -> str:
    """Return a number with its noun: ``1 patient``, ``2 patients``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def meant(name: object, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the known name nearest to a typo; None where none is near."""
    lowered = {n.lower(): n for n in reversed([str(k) for k in known])}
    matches = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=cutoff)
    return lowered[matches[0]] if matches else None


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to a typo, else the known names, if any."""
    names = [str(k) for k in known]
    if not names:
        return ""
    match = meant(name, names)
    if match is not None:
        return f" Did you mean {match!r}?"
    shown = ", ".join(names[:60]) + (", ..." if len(names) > 60 else "")
    return f" Known: {shown}."


# before the name of a state, observable or event: what is computed of it
_COMPUTED = ("final_", "peak_", "t_peak_", "auc_", "event_", "count_")


def quantities_of(name: object, known: Iterable[str]) -> list[str]:
    """Return those of the known names that are computed of a state, observable or event: ``peak_IL6``."""
    names = set(map(str, known))
    return [text for text in (f"{kind}{name}" for kind in _COMPUTED) if text in names]


def nearest_quantity(name: object, known: Iterable[str]) -> str:
    """Return what `nearest` does, or all quantities of a state where its name stands for one of them."""
    names = [str(k) for k in known]
    stems = [text.removeprefix(kind) for text in names for kind in _COMPUTED if text.startswith(kind)]
    match = meant(name, [*names, *stems])
    if match is None and stems:
        return _known_quantities(names)
    several = [] if match is None or match in names else quantities_of(match, names)
    if not several:
        return nearest(name, names)
    if len(several) == 1:
        return f" Did you mean {several[0]!r}?"
    return f" Of {match!r} there are {', '.join(several)}; name the one that is meant."


def _known_quantities(names: Sequence[str]) -> str:
    """Return `` Known: ...`` with states in one list, for each of which the same is computed."""
    kinds: dict[str, list[str]] = {}
    for kind in _COMPUTED:
        for name in names:
            if name.startswith(kind):
                kinds.setdefault(name.removeprefix(kind), []).append(kind)
    alike: dict[tuple[str, ...], list[str]] = {}
    for stem, found in kinds.items():
        alike.setdefault(tuple(found), []).append(stem)
    plain = [name for name in names if not name.startswith(_COMPUTED)]
    told = [", ".join(plain)] if plain else []
    told += [f"{', '.join(found)} before {', '.join(stems)}" for found, stems in alike.items()]
    return f" Known: {'; '.join(told)}."


def reason(error: BaseException) -> str:
    """Return what an exception says as part of a sentence: one line, no full stop."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    # a question at the end would stand before the full stop of the sentence around it
    return _QUESTION.sub(r" (did you mean \1?)", first_line(text)) or type(error).__name__


def located(file: str, line: int) -> str:
    """Return `` (line 3 of file.py)`` for a place in somebody's code, nothing for text that was made."""
    if file.startswith("<"):
        return ""
    path = Path(file)
    return f" (line {line} of {path.name})" if path.is_file() else f" (line {line})"  # of a notebook's cell


def first_line(text: str) -> str:
    """Return the first line that is not empty, without the punctuation at its end."""
    return next(filter(None, (line.strip(" .:") for line in text.splitlines())), "")


# packages beyond the required ones, and the extra of fastcart that brings each
EXTRAS = {
    "pyarrow": "parquet", "matplotlib": "plot", "SALib": "sensitivity", "cmaes": "optimize",
    "pymoo": "optimize", "statsmodels": "trial", "dask": "distributed",
    "distributed": "distributed",
    "openpyxl": "xlsx", "libsbml": "sbml", "petab": "petab",
}  # fmt: skip


def require(purpose: str, packages: Iterable[str]) -> None:
    """Check that all packages are there that something will need, before any of it is done.

    Raises
    ------
    MissingDependencyError
        Naming all that are not, and how to get them all at once.
    """
    missing = [package for package in dict.fromkeys(packages) if not _installed(package)]
    if not missing:
        return
    named = " and ".join(filter(None, [", ".join(map(repr, missing[:-1])), repr(missing[-1])]))
    several = len(missing) > 1
    extras = ",".join(dict.fromkeys(EXTRAS[package] for package in missing))
    plural, be, it = ("s", "are", "them") if several else ("", "is", "it")
    raise MissingDependencyError(
        f"{purpose} needs the package{plural} {named}, which {be} not installed; install {it} with: "
        f"pip install 'fastcart[{extras}]'"
    )


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


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
