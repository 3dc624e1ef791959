"""What the experiments give, beside the numbers of the specification."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import pandas as pd

from fastcart.papers.frame import Compared, compared
from fastcart.papers.srct import prototype as there
from fastcart.papers.srct.experiments import VARIANTS

# what two calibrated populations of a thousand may differ by, and rounding to two digits
SHARE = 0.05
CORRELATION = 0.10
FACTOR = 1.5  # of doses and amplifications
_SHARES = ("CR90", "crs3", "EFS730")


def compare(tables: Mapping[str, pd.DataFrame], power: pd.DataFrame) -> pd.DataFrame:
    """Compare experiments with the prototype of the specification.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        By name of the experiment.
    power : DataFrame
        Of the trials.

    Returns
    -------
    DataFrame
        A row per number: ``experiment``, ``what``, ``specification``, ``here``, ``tolerance`` and ``agrees``.
        Shares and correlations agree within a difference, doses and amplifications within a factor.
    """
    return compared(_numbers(tables, power), where="experiment", published="specification")


def _at(table: pd.DataFrame, row: Hashable, column: str) -> float:
    return float(table[column].to_dict()[row])


def _numbers(tables: Mapping[str, pd.DataFrame], power: pd.DataFrame) -> Iterator[Compared]:
    yield from _regimes(tables["amplification"])
    yield from _populations(tables)
    yield from _structures(tables["structures"])
    for name, keys, numbers in (("niche", "arm", there.NICHE), ("frey", "cohort", there.FREY)):
        found = tables[name].set_index(keys)
        for (row, column), value in numbers.items():
            yield Compared(name, f"{row}, {column}", value, _at(found, row, column), SHARE)
    correlations = tables["prcc"].set_index("parameter")
    for outcome, values in there.PRCC.items():
        for parameter, value in values.items():
            here = _at(correlations, parameter, outcome)
            yield Compared("prcc", f"{outcome} with {parameter}", value, here, CORRELATION)
    against = power[power["treatment"] == "A5"].set_index(["endpoint", "n_per_arm"])["power"].to_dict()
    for (endpoint, size), value in there.POWER.items():
        if (endpoint, size) in against:
            here = float(against[endpoint, size])
            yield Compared("power", f"A5, {endpoint}, {size} per arm", value, here, 2 * SHARE)


def _regimes(table: pd.DataFrame) -> Iterator[Compared]:
    name = "amplification"
    for rate, (dose, arms) in there.REGIMES.items():
        part = table[table["rhoE"] == rate].set_index("arm")
        if not len(part):  # of a quick look
            continue
        times = _at(there.GAINS, rate, "amplification")
        yield Compared(name, f"rhoE {rate:g}, dose", dose, float(part["dose"].iloc[0]), FACTOR)
        yield Compared(
            name, f"rhoE {rate:g}, amplification", times, float(part["amplification"].iloc[0]), FACTOR
        )
        for arm, values in zip(("A0", "A3", "A4", "A5"), arms, strict=True):
            for endpoint, value in zip(_SHARES, values, strict=True):
                yield Compared(
                    name, f"rhoE {rate:g}, {arm}, {endpoint}", value, _at(part, arm, endpoint), SHARE
                )
        for arm in ("A3", "A4", "A5"):
            value = _at(there.GAINS, rate, arm)
            yield Compared(name, f"rhoE {rate:g}, {arm}, gain", value, _at(part, arm, "gain_EFS730"), SHARE)


def _populations(tables: Mapping[str, pd.DataFrame]) -> Iterator[Compared]:
    found = tables["heterogeneity"].set_index(["het", "arm"])
    for het, row in there.HETEROGENEITY.iterrows():
        for name, value in row.items():
            endpoint, arm = str(name).split("_")
            here = _at(found, (het, arm), endpoint)
            yield Compared("heterogeneity", f"het {het:g}, {arm}, {endpoint}", float(value), here, SHARE)
    found = tables["lethality"].set_index(["wanted", "arm"])
    for deaths, arms in there.LETHALITY.items():
        for arm, values in arms.items():
            for endpoint, value in zip(("EFS730", "OS730"), values, strict=True):
                here = _at(found, (deaths, arm), endpoint)
                yield Compared("lethality", f"{deaths:.0%} die, {arm}, {endpoint}", value, here, SHARE)


def _structures(table: pd.DataFrame) -> Iterator[Compared]:
    found = table.set_index(["variant", "arm"])
    for variant, values in zip(VARIANTS, there.STRUCTURES, strict=True):
        if variant not in found.index:  # of a quick look
            continue
        for endpoint, value in zip(_SHARES, values, strict=True):
            here = _at(found, (variant, "A5"), endpoint) - _at(found, (variant, "A0"), endpoint)
            yield Compared("structures", f"{variant}, A5 minus A0, {endpoint}", value, here, SHARE)
