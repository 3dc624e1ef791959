"""Verdicts on the parts of a claim, from gains at equal severe CRS and their intervals, by rules set before.

The estimand is the difference of expected outcomes in the population at equal CRS of grade 3 or more, all
patients as started, deaths included. At each level an endpoint is *better* where the lower limit of its
benefit lies above its margin, *worse* where the upper one lies below minus its margin. CRS of grade 4 or more
is no evidence by itself: that it differs at equal grade 3 may be a matter of the scale of toxicity alone.
Whether a gain is more than that is decided by its sign at equal grade 4. The first word that applies:

- ``harm``: at two levels or more an endpoint that counts is worse, none is better, and its sign is the same
  at equal grade 4;
- ``trade-off``: at a level one endpoint is better and another one worse, grade 4 among them;
- ``supported``: the mirror image of harm;
- ``no effect``: all limits lie within the margins, at all levels that can be compared;
- ``no benefit``: all upper limits of what counts lie below the margins, and nothing is better;
- ``undecided``, or ``not comparable`` where fewer than two levels can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fastcart.errors import InputError
from fastcart.trial.holm import holm

MARGINS = {"CR90": 0.03, "EFS730": 0.01, "OS730": 0.01, "crs4": 0.01, "toxic_death": 0.003}
"""Differences that matter, by endpoint."""
LOWER_IS_BETTER = ("crs4", "toxic_death")
EVIDENCE = tuple(name for name in MARGINS if name != "crs4")
WORDS = ("harm", "trade-off", "supported", "no effect", "no benefit", "undecided", "not comparable")
_FEWEST = 2  # levels
_ROBUST = 0.8  # share of regimes
_MOVED = 0.05  # of the margins, by which they are moved to see whether a verdict lies on them


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How verdicts are found.

    Parameters
    ----------
    margins : mapping of str to float
        Of `MARGINS`.
    alpha : float
        Of the tests that Holm's procedure adjusts over the parts of the claim, within endpoint and level.
    """

    margins: Mapping[str, float] = field(default_factory=lambda: dict(MARGINS))
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if set(self.margins) != set(MARGINS) or min(self.margins.values()) <= 0:
            raise InputError(f"The margins must be positive numbers for {', '.join(MARGINS)}.")


def verdicts(
    parts: Mapping[str, pd.DataFrame],
    *,
    regimes: pd.DataFrame | None = None,
    how: Judging | None = None,
) -> pd.DataFrame:
    """Return the verdict on each part of a claim.

    Parameters
    ----------
    parts : mapping of str to DataFrame
        By name of the part, from `fastcart.trial.families.gains`.
    regimes : DataFrame, optional
        Columns ``part, regime, endpoint, gain``: point estimates in other populations and structures of the
        model; NaN where there is none.
    how : Judging, optional

    Returns
    -------
    DataFrame
        A row for each part: ``part, verdict``, ``better`` and ``worse`` (endpoints with the levels),
        ``levels`` compared, ``not_comparable`` levels, ``robust`` (yes, no or empty), ``fails_in`` (regimes),
        ``if_narrower``, ``if_wider``: the verdict if margins were a twentieth smaller or larger, where it is
        another one: then a limit lies on a margin, and chance in the resamples may decide.
    """
    how = how or Judging()
    tables = adjusted(parts)
    rows = []
    for part, table in tables.items():
        found = _Levels.of(table, how)
        word = found.verdict()
        robust, fails = _robustness(part, word, found, regimes, how)
        rows.append(
            {
                "part": part,
                "verdict": word,
                "better": _listed(found.better),
                "worse": _listed(found.worse),
                "levels": ", ".join(f"{100 * level:g} %" for level in found.known),
                "not_comparable": ", ".join(f"{100 * level:g} %" for level in found.unknown),
                "robust": robust,
                "fails_in": ", ".join(fails),
                "if_narrower": _otherwise(table, how, 1.0 - _MOVED, word),
                "if_wider": _otherwise(table, how, 1.0 + _MOVED, word),
            }
        )
    return pd.DataFrame(rows)


def _otherwise(table: pd.DataFrame, how: Judging, factor: float, word: str) -> str:
    """Return the verdict with other margins where it is another one."""
    margins = {name: factor * margin for name, margin in how.margins.items()}
    other = _Levels.of(table, Judging(margins=margins, alpha=how.alpha)).verdict()
    return "" if other == word else other


def adjusted(parts: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables with ``p_holm``, adjusted over the parts within scale, level and endpoint."""
    together = pd.concat([table.assign(part=part) for part, table in parts.items()], ignore_index=True)
    together["p_holm"] = np.nan
    for _, group in together.groupby(["on", "level", "endpoint"]):
        known = group.index[group["p"].notna()]
        if len(known):
            together.loc[known, "p_holm"] = holm(group.loc[known, "p"])
    return {part: together[together["part"] == part].reset_index(drop=True) for part in parts}


@dataclass
class _Levels:
    """What is better and worse at the levels of a part; all gains are turned so that more is better."""

    known: list[float]
    unknown: list[float]
    better: dict[float, list[str]]
    worse: dict[float, list[str]]
    low: pd.DataFrame  # limits in margins, a row for each level that is known, a column for each endpoint
    high: pd.DataFrame
    at_equal_grade4: dict[str, np.ndarray]  # gains

    @classmethod
    def of(cls, table: pd.DataFrame, how: Judging) -> _Levels:
        kept = table[table["endpoint"].isin(list(MARGINS))].copy()
        turned = kept["endpoint"].isin(LOWER_IS_BETTER)
        kept["gain"] = np.where(turned, -kept["gain"], kept["gain"])
        low, high = kept["low"].copy(), kept["high"].copy()
        kept["low"], kept["high"] = np.where(turned, -high, low), np.where(turned, -low, high)
        margin = kept["endpoint"].map(how.margins)
        kept["low"], kept["high"] = kept["low"] / margin, kept["high"] / margin
        grade3, grade4 = kept[kept["on"] == "crs3"], kept[kept["on"] == "crs4"]
        known, unknown = [], []
        better: dict[float, list[str]] = {}
        worse: dict[float, list[str]] = {}
        for level, rows in grade3.groupby("level"):
            place = float(level)  # type: ignore[arg-type]
            if rows[["gain", "low", "high"]].isna().to_numpy().any():
                unknown.append(place)
                continue
            known.append(place)
            sure = rows["p_holm"] < how.alpha
            better[place] = rows.loc[sure & (rows["low"] > 1), "endpoint"].tolist()
            worse[place] = rows.loc[sure & (rows["high"] < -1), "endpoint"].tolist()
        compared = grade3[grade3["level"].isin(known)]
        lowest, highest = (
            compared.pivot(index="level", columns="endpoint", values=name) for name in ("low", "high")
        )
        there = {str(name): rows["gain"].dropna().to_numpy() for name, rows in grade4.groupby("endpoint")}
        return cls(known, unknown, better, worse, lowest, highest, there)

    def verdict(self) -> str:
        if len(self.known) < _FEWEST:
            return "not comparable"
        if self.one_way(self.worse, self.better, -1):
            return "harm"
        if any(self.better[level] and self.worse[level] for level in self.known):
            return "trade-off"
        if self.one_way(self.better, self.worse, +1):
            return "supported"
        if (self.low > -1).to_numpy().all() and (self.high < 1).to_numpy().all():
            return "no effect"
        below = (self.high[list(EVIDENCE)] < 1).to_numpy().all() and not any(self.better.values())
        return "no benefit" if below else "undecided"

    def one_way(self, found: dict[float, list[str]], other: dict[float, list[str]], sign: int) -> bool:
        """Return whether evidence goes one way at enough levels, and the same way at equal grade 4."""
        evident = {
            level: [name for name in found[level] if name in EVIDENCE and self.sign_kept(name, sign)]
            for level in self.known
            if not [name for name in other[level] if name in EVIDENCE]
        }
        return sum(bool(names) for names in evident.values()) >= _FEWEST

    def sign_kept(self, endpoint: str, sign: int) -> bool:
        """Return whether an estimate has a sign at all levels of equal grade 4 that can be compared."""
        there = self.at_equal_grade4.get(endpoint, np.array([]))
        return len(there) > 0 and bool((sign * there > 0).all())

    def evident(self, word: str) -> list[str]:
        """Return the endpoints on which a verdict rests: evident at enough levels each, else all that are."""
        found = self.better if word == "supported" else self.worse
        names = [name for level in self.known for name in found[level] if name in EVIDENCE]
        often = [name for name in names if names.count(name) >= _FEWEST]
        return list(dict.fromkeys(often or names))


def _robustness(
    part: str, word: str, found: _Levels, regimes: pd.DataFrame | None, how: Judging
) -> tuple[str, list[str]]:
    """Return whether a verdict holds in enough regimes, and the names of those in which it fails."""
    if regimes is None or word not in ("supported", "harm"):
        return "", []
    sign = 1.0 if word == "supported" else -1.0
    names = found.evident(word)
    rows = regimes[(regimes["part"] == part) & regimes["endpoint"].isin(names) & regimes["gain"].notna()]
    if not len(rows):
        return "", []
    turned = np.where(rows["endpoint"].isin(LOWER_IS_BETTER), -rows["gain"], rows["gain"])
    holds = pd.Series(sign * turned > rows["endpoint"].map(how.margins).to_numpy(), index=rows.index)
    by_regime = holds.groupby(rows["regime"], sort=False).all()
    fails = [str(name) for name in by_regime.index[~by_regime]]
    return ("yes" if by_regime.mean() >= _ROBUST else "no"), fails


def _listed(found: Mapping[float, list[str]]) -> str:
    names = dict.fromkeys(name for listed in found.values() for name in listed)
    texts = []
    for name in names:
        levels = "/".join(f"{100 * level:g}" for level, listed in found.items() if name in listed)
        texts.append(f"{name} ({levels} %)")
    return ", ".join(texts)
