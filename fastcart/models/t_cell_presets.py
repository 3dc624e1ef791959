"""Theories of T-cell differentiation as values of the T-cell model, and two ways to combine them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastcart.checks import number, shown
from fastcart.errors import InputError, nearest
from fastcart.models.t_cell_parameters import ARROWS, DEFAULTS, FATES, FIRST_FATES, PHENOTYPES, ROWS

_TOLERANCE = 1e-9  # of sums that must be 1


@dataclass(frozen=True, eq=False)
class Preset:
    """A theory: which arrows exist between the phenotypes, and how strong they are.

    Parameters
    ----------
    name : str
    values : mapping of str to float
        ``flo_*``, ``fhi_*``, ``P_*``, ``Kon_*``, ``Koff_*``, ``h_*``, ``don_*``, ``doff_*`` and ``q``.
    correlation : int
        Of the fates of the two first daughters: -1 opposite, 0 independent, 1 the same. Only families of
        single cells feel it, never the equations.
    theory : str
        What it says, in a line.

    Raises
    ------
    InputError
        Where a row of P, or of the first fates, does not sum to 1, or a value is negative.
    """

    name: str
    values: Mapping[str, float] = field(repr=False)
    correlation: int = 0
    theory: str = ""

    def __post_init__(self) -> None:
        if self.correlation not in (-1, 0, 1):
            raise InputError(
                f"Preset {self.name!r}: the correlation of first daughters must be -1, 0 or 1, not "
                f"{shown(self.correlation)}."
            )
        for name, value in self.values.items():
            if number(value, f"Preset {self.name!r}: the value of {name!r}") < 0:
                raise InputError(f"Preset {self.name!r}: the value {value:g} of {name!r} is negative.")
        for what, names in sums():
            total = sum(self.values[name] for name in names)
            if abs(total - 1) > _TOLERANCE:
                raise InputError(
                    f"Preset {self.name!r}: {' + '.join(names)} must be 1 (row {what}), but is {total:.10g}."
                )


def sums() -> list[tuple[str, tuple[str, ...]]]:
    """Return the rows whose sum must be 1: what it is, and its parameters."""
    return [*FIRST_FATES, *((what, names) for what, names, _ in ROWS)]


def make_preset(
    name: str,
    *,
    first: Mapping[str, float] | None = None,
    first_low: Mapping[str, float] | None = None,
    first_high: Mapping[str, float] | None = None,
    division: Mapping[str, Mapping[str, float]] | None = None,
    on: Mapping[str, float] | None = None,
    off: Mapping[str, float] | None = None,
    correlation: int = 0,
    theory: str = "",
    **rates: float,
) -> Preset:
    """Build a theory from its few arrows; all others are 0.

    Parameters
    ----------
    name : str
    first : mapping
        Fates at the first division, e.g. ``{"S": 0.2, "C": 0.8}``; ``first_low`` and ``first_high`` where
        they differ for weak and strong drive.
    division : mapping
        Rows of P that differ from "both daughters keep the phenotype", e.g. ``{"S": {"S": 0.7, "C": 0.3}}``.
    on, off : mapping
        Conversions per day with and without drive, e.g. ``{"EM": 0.01}``.
    correlation : int
    theory : str
    **rates : float
        Other values, e.g. ``q=2`` or ``h_M=0.005``.

    Returns
    -------
    Preset
    """
    values: dict[str, float] = {}
    for block, fates in (("flo", first_low or first), ("fhi", first_high or first)):
        _known(fates or {}, PHENOTYPES, f"a first fate of preset {name!r}")
        values.update({f"{block}_{b}": float((fates or {}).get(b, 0.0)) for b in PHENOTYPES})
    _known(division or {}, PHENOTYPES, f"a row of P of preset {name!r}")
    for a in PHENOTYPES:
        row = (division or {}).get(a, {a: 1.0})
        _known(row, FATES, f"a fate in row {a} of preset {name!r}")
        values.update({f"P_{a}{b}": float(row.get(b, 0.0)) for b in FATES})
    for phase, arrows in (("Kon", on or {}), ("Koff", off or {})):
        _known(arrows, ARROWS, f"a conversion of preset {name!r}")
        values.update({f"{phase}_{arrow}": float(arrows.get(arrow, 0.0)) for arrow in ARROWS})
    own = [f"{rate}_{a}" for rate in ("h", "don", "doff") for a in PHENOTYPES] + ["q"]
    _known(rates, own, f"a rate that preset {name!r} can set")
    values.update({rate: float(rates.get(rate, DEFAULTS[rate])) for rate in own})
    return Preset(name, values, correlation, theory)


def _known(given: Mapping[str, Any], allowed: Any, what: str) -> None:
    for name in given:
        if name not in allowed:
            raise InputError(f"{shown(name)} is not {what}." + nearest(name, list(allowed)))


_UNIFIED = {"S": {"S": 0.7, "C": 0.3}, "C": {"C": 0.85, "M": 0.15}, "M": {"M": 0.7, "E": 0.3}}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        make_preset(
            "linear", first={"E": 1}, division={a: {"E": 1} for a in "SCM"}, off={"EM": 0.027, "MC": 0.04},
            theory="on-off-on: memory is made from effectors after antigen",
        ),
        make_preset(
            "progressive", first={"S": 1},
            division={"S": {"S": 0.6, "C": 0.4}, "C": {"C": 0.85, "M": 0.15}, "M": {"M": 0.7, "E": 0.3}},
            theory="stochastic one-way loss of stemness at division",
        ),
        make_preset(
            "decreasing", first={"S": 1}, on={"SC": 1.7, "CM": 0.45, "ME": 2.0},
            theory="decreasing potential: accumulated stimulation drives cells down",
        ),
        make_preset(
            "signal", first_low={"S": 1}, first_high={"C": 0.7, "E": 0.3},
            on={"SC": 1.9, "CM": 0.6, "ME": 2.9}, q=2,
            theory="signal strength: strong priming makes effectors, weak makes memory",
        ),
        make_preset(
            "bifurcating", first={"C": 0.5, "E": 0.5},
            division={"S": {"C": 0.5, "E": 0.5}, "C": {"C": 0.95, "E": 0.05}, "M": {"M": 0.95, "E": 0.05}},
            correlation=-1, theory="asymmetric first division: one memory and one effector daughter",
        ),
        make_preset(
            "precursor", first_low={"M": 0.95, "E": 0.05}, first_high={"M": 0.8, "E": 0.2},
            division={a: {"M": 0.87, "E": 0.13} for a in "SCM"}, off={"MC": 0.05}, correlation=1,
            theory="early choice of memory precursor or short-lived effector, one cell one fate",
        ),
        make_preset(
            "selfrenew", first={"M": 1}, division={"S": {"M": 1}, "C": {"M": 1}, "M": {"M": 0.85, "E": 0.15}},
            h_M=0.005, don_M=0.005, doff_M=0.005,
            theory="self-renewing effector-memory pool that sheds effectors",
        ),
        make_preset(
            "unified", first={"S": 0.2, "C": 0.8}, division=_UNIFIED,
            off={"EM": 0.010, "MC": 0.04, "CS": 0.001},
            theory="forward arrows at division and reverse arrows without drive, in the same cells",
        ),
        make_preset(
            "unified_edge", first={"S": 0.2, "C": 0.8},
            division={"S": {"S": 0.7, "C": 0.3}, "C": {"C": 0.84, "M": 0.16}, "M": {"M": 0.79, "E": 0.21}},
            off={"EM": 0.003, "MC": 0.068, "CS": 0.001},
            theory="unified, tuned to the edge of more facts",
        ),
    )
}  # fmt: skip

_MIXED_BY_UNION = tuple(f"{phase}_{arrow}" for phase in ("Kon", "Koff") for arrow in ARROWS)


def preset(theory: str | Preset) -> Preset:
    """Return a theory by name, or the preset itself.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if isinstance(theory, Preset):
        return theory
    if isinstance(theory, str) and theory in PRESETS:
        return PRESETS[theory]
    raise InputError(f"There is no preset {shown(theory)} of the T-cell model." + nearest(theory, PRESETS))


def convex(a: str | Preset, b: str | Preset, w: float) -> Preset:
    """Mix two theories: every value is ``(1 - w)`` times that of ``a`` plus ``w`` times that of ``b``.

    Sums of rows stay 1. The correlation of first daughters is that of the larger share.

    Parameters
    ----------
    a, b : str or Preset
    w : float
        Weight of ``b``, from 0 to 1.

    Returns
    -------
    Preset

    Raises
    ------
    InputError
        For an unknown theory or a weight outside 0 to 1.
    """
    first, second = preset(a), preset(b)
    weight = number(w, "The weight w")
    if not 0 <= weight <= 1:
        raise InputError(f"The weight w must lie from 0 to 1, not {weight:g}.")
    values = {
        name: (1 - weight) * value + weight * second.values[name] for name, value in first.values.items()
    }
    return Preset(
        f"convex({first.name}, {second.name}, {weight:g})", values,
        (second if weight > 0.5 else first).correlation, "weighted mean of two theories",
    )  # fmt: skip


def union(a: str | Preset, b: str | Preset, *, strength: float = 1.0) -> Preset:
    """Unite two theories: fates and divisions of ``a``, and the conversions of both.

    Parameters
    ----------
    a, b : str or Preset
    strength : float
        Factor on the conversions that come from ``b``.

    Returns
    -------
    Preset
    """
    first, second = preset(a), preset(b)
    factor = _not_negative(strength)
    values = dict(first.values)
    for name in _MIXED_BY_UNION:
        values[name] += factor * second.values[name]
    return Preset(
        f"union({first.name}, {second.name})", values, first.correlation, "arrows of two theories together"
    )


def scale_reverse(theory: str | Preset, factor: float) -> Preset:
    """Return a theory whose conversions without drive (the reverse arrows) are multiplied by a factor."""
    base = preset(theory)
    times = _not_negative(factor)
    values = {
        name: value * times if name.startswith("Koff_") else value for name, value in base.values.items()
    }
    return Preset(f"{base.name}, reverse x {times:g}", values, base.correlation, base.theory)


def _not_negative(value: Any) -> float:
    factor = number(value, "The strength of arrows")
    if factor < 0:
        raise InputError(f"The strength of arrows must not be negative, not {factor:g}.")
    return factor
