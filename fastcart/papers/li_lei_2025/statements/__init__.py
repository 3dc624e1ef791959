"""What the text of Li & Lei 2025 says, and what the numbers say of it.

Each figure has a module with its `Statement`s. A statement quotes the paper and carries a judge: a function
from numbers of one solution to a verdict and the numbers that it rests on. No verdict is typed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HOLDS = "holds"
IN_PART = "holds in part"
FAILS = "does not hold"
OPEN = "cannot be judged"
VERDICTS = (HOLDS, IN_PART, FAILS, OPEN)


@dataclass(frozen=True)
class Finding:
    """A verdict, and in words the numbers that it rests on.

    Parameters
    ----------
    verdict : str
        One of `VERDICTS`.
    numbers : str
    """

    verdict: str
    numbers: str


@dataclass(frozen=True)
class Statement:
    """One statement of the paper's text.

    Parameters
    ----------
    name : str
        Number of the figure and of the statement, e.g. ``"6.4"``.
    where : str
        Where in the paper.
    says : str
        The statement, quoted or shortened.
    judge : callable
        From the numbers of one solution to a `Finding`.
    note : str
        What the verdict takes a word to mean, or which erratum explains it.
    """

    name: str
    where: str
    says: str
    judge: Callable[[Any], Finding]
    note: str = ""


@dataclass(frozen=True)
class Assessment:
    """One statement, judged by published numbers and by an accurate solution.

    Parameters
    ----------
    statement : Statement
    published, accurate : Finding
    source : str
        Where the published numbers are from; empty for the published scheme, which repeats them.
    """

    statement: Statement
    published: Finding
    accurate: Finding
    source: str = ""

    @property
    def verdict(self) -> str:
        """The verdict of both: where they differ, the statement holds in part."""
        return combined(self.published.verdict, self.accurate.verdict)


def combined(*verdicts: str) -> str:
    """Return the common verdict; of verdicts that differ, that the statement holds in part."""
    judged = {verdict for verdict in verdicts if verdict != OPEN}
    if not judged:
        return OPEN
    return judged.pop() if len(judged) == 1 else IN_PART


def assess(
    statements: Sequence[Statement],
    scheme: Any,
    accurate: Any,
    *,
    published: Mapping[str, tuple[str, Any]] | None = None,
) -> list[Assessment]:
    """Judge statements by the numbers of both solutions.

    Parameters
    ----------
    statements : sequence of Statement
    scheme, accurate
        Numbers of the published scheme, and of an accurate solution, as the judges take them.
    published : mapping, optional
        By name of a statement: source, and published numbers to judge it by instead of those of the scheme.

    Returns
    -------
    list of Assessment
    """
    given = published or {}
    result = []
    for statement in statements:
        source, numbers = given.get(statement.name, ("", scheme))
        result.append(Assessment(statement, statement.judge(numbers), statement.judge(accurate), source))
    return result


def day_of_least(course: Any) -> float:
    """Return the day on which a course, a Series by day, is lowest."""
    return float(course.index[int(course.to_numpy().argmin())])


def day_of_most(course: Any) -> float:
    """Return the day on which a course, a Series by day, is highest."""
    return float(course.index[int(course.to_numpy().argmax())])


def by_parts(as_stated: Iterable[Any]) -> str:
    """Return the verdict of a statement with several parts, each of which is as stated or not."""
    parts = [bool(part) for part in as_stated]
    return HOLDS if all(parts) else IN_PART if any(parts) else FAILS


def by_range(low: float, high: float, stated: tuple[float, float], slack: float) -> str:
    """Judge a stated range: it holds when both its ends do, within ``slack``, and in part when one does.

    What lies inside without reaching either end holds in part too.
    """
    ends = by_parts([abs(low - stated[0]) <= slack, abs(high - stated[1]) <= slack])
    inside = low >= stated[0] - slack and high <= stated[1] + slack
    return IN_PART if ends == FAILS and inside else ends
