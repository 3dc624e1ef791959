"""What a tumor, an effector, a memory cell, a cytokine is in each model, and how a dose enters.

One table, so that the same question can be put to all models that can answer it (`fastcart.compare`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fastcart.errors import InputError
from fastcart.model import Model
from fastcart.models import get

PATIENT, MOUSE, DISH = "patient", "mouse", "dish"
BLOOD = 5e6  # microliters of blood, 5 liters


@dataclass(frozen=True, kw_only=True)
class CoreVariables:
    """What the states of a model are.

    Parameters
    ----------
    subject : str
        ``"patient"``, ``"mouse"`` or ``"dish"``.
    tumor, cart, effector, memory, cytokine : tuple of str
        States whose sum is the tumor, CAR-T cells of all kinds, ...; none where the model has no such thing.
    cells : float or None
        Cells in one unit of the states that count them; None where that is not known.
    pg_per_ml : float or None
        Of one unit of the cytokine; None for one without a unit that is known.
    infused : mapping of str to float
        States that a dose enters, and the share of it that each gets; None where an adapter
        for trials says how many of them engraft.
    note : str
        What was assumed for the units.
    reason : str
        Why the model cannot be asked what a dose of CAR-T cells does; empty where it can.
    """

    subject: str = PATIENT
    tumor: tuple[str, ...] = ()
    cart: tuple[str, ...] = ()
    effector: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    cytokine: tuple[str, ...] = ()
    cells: float | None = 1.0
    pg_per_ml: float | None = None
    infused: Mapping[str, float] | None = None
    note: str = ""
    reason: str = ""


_LI_LEI = CoreVariables(
    tumor=("C",),
    cart=("T4", "TP", "TE", "TM", "Tr"),
    effector=("TE",),
    memory=("TM",),
    infused={"TP": 0.5, "TE": 0.5},
    note="half of the dose are effector, half pre-CD8 cells, as at the start of the model",
)
_TABLE: dict[str, CoreVariables] = {
    "li_lei": _LI_LEI,
    "li_lei_cytokines": replace(_LI_LEI, cytokine=("I6",), pg_per_ml=1e3),
    "li_lei_coarse": replace(
        _LI_LEI, cart=("TE", "TM"), infused={"TE": 1.0}, note="the dose are effector cells"
    ),
    "b_all": CoreVariables(
        tumor=("L", "R"),
        cart=("E", "M", "X"),
        effector=("E",),
        memory=("M",),
        cytokine=("C",),
        pg_per_ml=1.0,
        note="few of the infused cells engraft, as the model has it",
    ),
    "t_cell": CoreVariables(
        subject=MOUSE,
        tumor=("A",),
        cart=("S", "C", "M", "E", "X"),
        effector=("E",),
        memory=("S", "C", "M"),
        cells=None,
        reason="its antigen has no unit, and a dose is part of a scenario",
    ),
    "cart_kinetics": CoreVariables(
        cart=("E", "M"),
        effector=("E",),
        memory=("M",),
        cells=None,
        reason="its CAR-T cells are copies of a transgene, whose maximum is a parameter, not of a dose",
    ),
    "carrgo": CoreVariables(
        subject=DISH,
        tumor=("cancer",),
        cart=("cart",),
        effector=("cart",),
        cells=None,
        reason="it is a dish, in units of a cell index",
    ),
    "hanson": CoreVariables(
        tumor=("B",),
        cart=("C_m", "C_e", "H_m", "H_e"),
        effector=("C_e", "H_e"),
        memory=("C_m", "H_m"),
        cytokine=("I",),
        cells=None,
        reason="it counts cells in a volume that its sources do not agree on",
    ),
    "leon_triana": CoreVariables(
        tumor=("L",), cart=("C",), effector=("C",), infused={"C": 1.0}, note="all of the dose engrafts"
    ),
    "leon_triana_solid": CoreVariables(
        tumor=("T",), cart=("C",), effector=("C",), infused={"C": 1.0}, note="all of the dose engrafts"
    ),
    "barros": CoreVariables(
        subject=MOUSE,
        tumor=("T",),
        cart=("C_T", "C_M"),
        effector=("C_T",),
        memory=("C_M",),
        infused={"C_T": 1.0},
        note="the dose is given on day 0, when the tumor has the size of the injection",
    ),
    "chaudhury": CoreVariables(
        tumor=("U",),
        cart=("C_E", "C_P"),
        effector=("C_E",),
        memory=("C_P",),
        cells=BLOOD,
        infused={"C_E": 1.0},
        note="its cells per microliter are those of 5 liters of blood",
    ),
    "kimmel": CoreVariables(
        tumor=("B",), cart=("C",), effector=("C",), infused={"C": 1.0}, note="all of the dose engrafts"
    ),
    "hardiansyah": CoreVariables(
        tumor=("B",),
        cart=("E", "M"),
        effector=("E",),
        memory=("M",),
        cytokine=("IL6",),
        cells=1e9,
        pg_per_ml=1.0,
        infused={"E": 1.0},
        note="CAR-T cells and leukemia in blood; the dose is given at once",
    ),
    "mullinax": CoreVariables(
        tumor=("T",),
        effector=("E",),
        cells=None,
        reason="it is of lymphocytes that infiltrate a tumor, without units",
    ),
    "kirouac": CoreVariables(
        tumor=("B",),
        cart=("T_M", "T_E1", "T_E2", "T_X"),
        effector=("T_E1", "T_E2"),
        memory=("T_M",),
        infused={"D": 1.0},
        note="few of the infused cells come on, as the model has it",
    ),
    "crauste": CoreVariables(
        subject=MOUSE,
        effector=("E", "L"),
        memory=("M",),
        reason="it has no CAR-T cells and no tumor, but a pathogen",
    ),
}


def core_variables(model: Model) -> CoreVariables | None:
    """Return what the states of a variant of a shipped model are; None for a model that is not in the table.

    States that the variant does not have are left out.

    Parameters
    ----------
    model : Model
    """
    found = _TABLE.get(model.name)
    if found is None or not _is_shipped(model):
        return None
    if model.name == "leon_triana_solid" and "C_B" in model.state_names:
        found = replace(found, cart=("C", "C_B"), effector=("C", "C_B"), infused={"C_B": 1.0})
    known = {
        part: tuple(name for name in getattr(found, part) if name in model.state_names)
        for part in ("tumor", "cart", "effector", "memory", "cytokine")
    }
    return CoreVariables(**{**vars(found), **known})


def _is_shipped(model: Model) -> bool:
    """Whether a model is what it is named after, or was made of it: another's may have the same name."""
    try:
        states = get(model.name, **model.options).state_names
    except InputError:
        return False
    return set(states) <= set(model.state_names)
