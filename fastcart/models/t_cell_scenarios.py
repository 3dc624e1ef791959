"""Scenarios of the T-cell model: what differs from an acute infection, and what is given when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastcart.checks import number, shown
from fastcart.dosing import DosingSchedule
from fastcart.errors import InputError, nearest
from fastcart.model import Model
from fastcart.models.t_cell_parameters import PHENOTYPES

A0 = 1e5  # antigen at the start of an acute infection
N0 = 150.0  # naive cells specific for one epitope of one mouse, Blattman 2002

# Product compositions, shares of S, C, M, E, X (Tscm, Tcm, Tem, Teff, terminal)
PRODUCTS: dict[str, tuple[float, float, float, float, float]] = {
    "Tscm-rich": (0.30, 0.30, 0.30, 0.10, 0.0),
    "Tcm-rich": (0.05, 0.45, 0.40, 0.10, 0.0),
    "typical": (0.02, 0.10, 0.55, 0.25, 0.08),
    "Tem-rich": (0.005, 0.025, 0.72, 0.20, 0.05),
    "Teff-rich": (0.0, 0.01, 0.14, 0.60, 0.25),
}
DOSE = 1e8  # CAR-T cells infused
ENGRAFTED = 0.05  # their share that engrafts, assumed


@dataclass(frozen=True, eq=False)
class Scenario:
    """What happens to the patients of the T-cell model.

    Parameters
    ----------
    name : str
    values : mapping of str to float
        Parameters and initial values that differ from the acute infection.
    t_end : float
        Horizon in days.
    doses : DosingSchedule or None
    treatment : bool
        Whether the model needs the state ``drug``.
    scale : float
        Number of cells that still matters, for the absolute tolerance.
    unified : mapping of str to float
        Topology to which the preset ``unified`` is retuned.
    reverse : float
        Factor on the conversions without drive of all other presets.
    """

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    t_end: float = 300.0
    doses: DosingSchedule | None = None
    treatment: bool = False
    scale: float = 1.0
    unified: Mapping[str, float] = field(default_factory=dict)
    reverse: float = 1.0


def product(
    composition: str | tuple[float, ...] = "typical", *, dose: float = DOSE, engrafted: float = ENGRAFTED
) -> dict[str, float]:
    """Return the initial cells after an infusion of CAR-T cells.

    Parameters
    ----------
    composition : str or sequence of 5 floats
        A name of `PRODUCTS`, or the shares of Tscm, Tcm, Tem, Teff and terminal cells; they sum to 1.
    dose : float
        Cells infused.
    engrafted : float
        Share of them that engrafts.

    Returns
    -------
    dict
        Cells in ``S, C, M, E, X``.

    Raises
    ------
    InputError
        For an unknown product, or shares that are negative or do not sum to 1.
    """
    if isinstance(composition, str):
        if composition not in PRODUCTS:
            raise InputError(f"There is no product {composition!r}." + nearest(composition, PRODUCTS))
        shares: tuple[float, ...] = PRODUCTS[composition]
    else:
        shares = tuple(number(share, "A share of the product") for share in composition)
    if len(shares) != 5 or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise InputError(
            f"The shares of Tscm, Tcm, Tem, Teff and terminal cells must be five numbers from 0 on that sum "
            f"to 1, not {shown(composition)}."
        )
    cells = number(dose, "The dose", positive=True) * number(engrafted, "The engrafted share", positive=True)
    return dict(zip("SCMEX", (cells * share for share in shares), strict=True))


def _four(rate: str, *values: float) -> dict[str, float]:
    return {f"{rate}_{a}": value for a, value in zip(PHENOTYPES, values, strict=True)}


def _row(a: str, **fates: float) -> dict[str, float]:
    return {f"P_{a}{b}": fates.get(b, 0.0) for b in "SCMEX"}


# `unified` and the rates of human CAR-T cells, tuned by hand to the population kinetics of Stein 2019
CART_TOPOLOGY: dict[str, float] = {
    **_row("S", S=0.75, C=0.25), **_row("C", C=0.83, M=0.17), **_row("M", M=0.90, E=0.10),
    "Koff_EM": 0.002, "Koff_MC": 0.002, "Koff_CS": 0.0,
}  # fmt: skip
CART: dict[str, float] = {
    "N": 0.0, "s_N": 0.0, "A": 1e11,
    "K_I": 1e9, "eta": 1.0, "K_T": 1e12, "lambda_I": 5.0, "delta_I": 0.8,
    **_row("E", E=0.75, X=0.25),
    "g": 0.06, "K_A": 2e12, "delta_A": 0.0, "kappa": 1e-9, "xi": 0.02, "dXon": 0.05, "dXoff": 0.25,
    **_four("rho", 1.0, 1.15, 1.30, 1.35), **_four("h", 0.007, 0.004, 0.002, 0.0),
    **_four("don", 0.007, 0.0072, 0.02, 0.05), **_four("doff", 0.007, 0.0072, 0.12, 0.25),
}  # fmt: skip

BOOST_DAY = 100.0
TREATMENT_DAY = 2.0

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("acute"),
        Scenario("recall", t_end=130.0, doses=DosingSchedule().bolus(BOOST_DAY, "A", 10 * A0)),
        Scenario("brief", doses=DosingSchedule().bolus(TREATMENT_DAY, "drug", 1.0), treatment=True),
        Scenario("transfer", {"N": 0.0, "s_N": 0.0, "M": 1e6, "A": math.exp(-50.0)}, t_end=30.0),
        Scenario("chronic", {"kappa": 2e-6, "s_A": 1e6, "xi": 0.2, **_row("E", E=0.7, X=0.3)}, t_end=60.0),
        Scenario("cart", {**CART, **product()}, t_end=180.0, scale=1e3, unified=CART_TOPOLOGY, reverse=0.1),
    )
}


def scenario(name: Any) -> Scenario:
    """Return a scenario by name, or the scenario itself.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if isinstance(name, Scenario):
        return name
    if isinstance(name, str) and name in SCENARIOS:
        return SCENARIOS[name]
    raise InputError(f"There is no scenario {shown(name)} of the T-cell model." + nearest(name, SCENARIOS))


def doses_of(model: Model) -> DosingSchedule | None:
    """Return the doses of the scenario that a variant of the T-cell model was built with."""
    return scenario(model.options["scenario"]).doses
