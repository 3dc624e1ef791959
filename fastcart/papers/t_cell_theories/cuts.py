"""How far the order of the theories rests on the cuts of the facts, which are choices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fastcart.checks import count
from fastcart.errors import InputError
from fastcart.papers.t_cell_theories.facts import ANCESTRY, FACTS

SPREADS = (0.1, 0.25, 0.5)
SHOWN = 0.25  # the spread that is quoted in the text
_TUNED = "unified_edge"  # made to lie just within the cuts, so no rival


def draw_cuts(
    table: pd.DataFrame,
    *,
    facts: Sequence[str] | None = None,
    spread: float = SHOWN,
    draws: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Count the facts that theories meet when the cuts are drawn at random, the same for all theories.

    Parameters
    ----------
    table : DataFrame
        From `fastcart.papers.t_cell_theories.facts.t_cell_facts`.
    facts : sequence of str, optional
        Facts that are counted; default all in the table.
    spread : float
        Each finite limit of a cut is multiplied by a factor uniform in 1 ± spread; between 0 and 1.
    draws : int
    seed : int

    Returns
    -------
    DataFrame, shape (draws, theories)
        Facts met, a column per theory.

    Raises
    ------
    InputError
        For a spread that is not between 0 and 1, or facts that are not in the table.
    """
    draws = count(draws, "The number of draws")
    if not 0 <= spread < 1:
        raise InputError(f"The spread of the cuts is {spread}; it must be at least 0 and below 1.")
    wanted = set(table["fact"]) if facts is None else set(facts)
    if missing := sorted(wanted - set(table["fact"])):
        raise InputError(f"The table has no fact {', '.join(missing)}.")
    met = pd.DataFrame(0, index=range(draws), columns=list(dict.fromkeys(table["preset"])))
    for number, fact in enumerate(FACTS):
        if fact.name not in wanted:
            continue
        # a generator for each fact: which others are counted changes nothing
        rng = np.random.default_rng([seed, number])
        rows = table[table["fact"] == fact.name].set_index("preset")
        numbers = rows[["value", "second"]].reindex(met.columns).to_numpy(float)[:, : len(fact.columns)]
        holds = np.ones(met.shape, dtype=bool)
        for k, (low, high) in enumerate(zip(fact.low, fact.high, strict=True)):
            lows, highs = (limit * rng.uniform(1 - spread, 1 + spread, (draws, 1)) for limit in (low, high))
            holds &= (numbers[:, k] >= lows) & (numbers[:, k] <= highs)
        met += holds
    return met


def leads(
    table: pd.DataFrame, *, spreads: Sequence[float] = SPREADS, draws: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Return how often each theory leads under random cuts, with all facts and without those of ancestry.

    `unified_edge`, which was made for the cuts as they are, takes no part.

    Parameters
    ----------
    table : DataFrame
        From `fastcart.papers.t_cell_theories.facts.t_cell_facts`.
    spreads : sequence of float
    draws, seed : int

    Returns
    -------
    DataFrame
        ``spread``, ``facts`` (how many), ``preset``, ``mean`` (facts met), ``alone`` and ``level``: share of
        draws in which it meets more than every other theory, and at least as many.
    """
    rivals = table[table["preset"] != _TUNED]
    names = list(dict.fromkeys(rivals["fact"]))
    rows = []
    for spread in spreads:
        for facts in (names, [name for name in names if name not in ANCESTRY]):
            met = draw_cuts(rivals, facts=facts, spread=spread, draws=draws, seed=seed)
            for preset in met.columns:
                best = met.drop(columns=preset).max(axis=1)
                rows.append(
                    {
                        "spread": spread, "facts": len(facts), "preset": preset, "mean": met[preset].mean(),
                        "alone": (met[preset] > best).mean(), "level": (met[preset] >= best).mean(),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def in_words(table: pd.DataFrame) -> str:
    """Say of `leads` how often `unified` leads without the facts of ancestry, at the spread of the text."""
    few = table[table["spread"] == SHOWN]
    row = few[few["facts"] == few["facts"].min()].set_index("preset").loc["unified"]
    return (
        f"Without the three facts of ancestry `unified` leads in {100 * row['alone']:.0f} % of draws of the "
        f"cuts (each limit within ±{100 * SHOWN:.0f} %), and is level with the best or ahead in "
        f"{100 * row['level']:.0f} %."
    )
