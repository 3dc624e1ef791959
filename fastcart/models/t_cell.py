"""One system of equations that contains the competing theories of T-cell differentiation.

Every theory draws other arrows between the same cells. Here all arrows exist, and a theory is a choice of
their strengths (`fastcart.models.t_cell_presets`); kinetic rates are common to all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastcart.checks import shown
from fastcart.errors import InputError
from fastcart.model import Model, Observable, State, Sum
from fastcart.models.t_cell_equations import (
    BLASTS,
    observe,
    observe_blasts,
    right_hand_side,
    right_hand_side_with_blasts,
)
from fastcart.models.t_cell_parameters import ARROWS, DEFAULTS, LONG, PHENOTYPES, parameters
from fastcart.models.t_cell_presets import Preset, sums
from fastcart.models.t_cell_presets import preset as find_preset
from fastcart.models.t_cell_scenarios import A0, N0, Scenario
from fastcart.models.t_cell_scenarios import scenario as find_scenario

SHADOWS = ("G_S", "G_C", "G_M", "G_E", "U_S", "U_C", "U_M", "W_S", "W_C")
_TEXTS = {True: True, False: False, "true": True, "false": False, "yes": True, "no": False}

_DOC = """One linear flow between naive (N), stem-like (S), central memory (C), effector memory (M),
effector (E) and terminal (X) T cells, with antigen A (integrated as ln A) and a drive I:
  sig    = A/(K_I + A + eta T) K_T/(K_T + T),  T = S + C + M + E + X
  f_i    = (1 - I) flo_i + I fhi_i
  w_ij   = Kon_ij I^q + Koff_ij (1 - I),  d_i = don_i I + doff_i (1 - I)
  dN/dt  = s_N - d_N N - alpha I N
  dx_i/dt = 2 alpha I N f_i + sum_j 2 rho_j I P_ji x_j - rho_i I x_i + (h_i - d_i) x_i
            + sum_j (w_ji x_j - w_ij x_i) - xi I x_i [M, E] + omega (1 - I) X [M]
  dX/dt  = sum_j 2 rho_j I P_jX x_j + xi I (M + E) - (dXon I + dXoff (1 - I)) X - omega (1 - I) X
  dA/dt  = A (g (1 - A/K_A) A/(A + theta) - delta_A - kappa (E + phi_M M + phi_X X)) + s_A
  dI/dt  = lambda_I sig (1 - I) - delta_I I
Preset {preset!r}: {theory}. Scenario {scenario!r}.
Doses into A are antigen; the observable L is ln A, held at -745 where A is below what a double can hold."""

_TUMORS = ("cart",)  # scenarios whose antigen is a tumor; of an infection there is no progression

_OBSERVABLES = (
    Observable("L", "ln antigen", "logarithm of antigen"),
    Observable("T", "cells", "all T cells but naive ones"),
)


def t_cell(
    preset: str | Preset = "unified",
    scenario: str | Scenario = "acute",
    shadows: bool | str = False,
    vaccine: bool | str = False,
    treatment: bool | str = False,
    blasts: bool | str = False,
) -> Model:
    """Build the T-cell model.

    Parameters
    ----------
    preset : str or Preset
        The theory; one of `fastcart.models.t_cell_presets.PRESETS`, or one of your own.
    scenario : str or Scenario
        ``acute``, ``recall``, ``brief``, ``transfer``, ``chronic`` or ``cart``: initial values, rates and
        horizon. Its doses are in `fastcart.models.t_cell_scenarios`; the command line gives them by itself.
    shadows : bool
        Add nine tags that never feed back: sums of generations ``G_*``, cells with an E ancestor ``U_*``,
        cells with an M or E ancestor ``W_*``. Not for ``omega`` above 0, whose flow is not tagged.
    vaccine : bool
        Add the state ``V``: antigen that does not grow and is not killed, given by doses, decaying with
        ``d_V``; it drives T cells as A does.
    treatment : bool
        Add the state ``drug``: a dose of 1 stops the growth of A, which is then lost with ``k_drug``. The
        scenario ``brief`` has it.
    blasts : bool
        A division programme of the cell itself: an activated naive cell divides 11 times at the rate
        ``rho_B``, whatever the drive, before its daughters take their first fates. Not the reference.

    Returns
    -------
    Model
        With a burden, and so with the endpoints of a tumor, only in the scenario ``cart``: elsewhere the
        antigen is an infection.

    Raises
    ------
    InputError
        For an unknown preset or scenario, or another value of a switch.
    """
    theory, story = find_preset(preset), find_scenario(scenario)
    tagged = _switch("shadows", shadows)
    with_vaccine = _switch("vaccine", vaccine)
    treated = _switch("treatment", treatment) or story.treatment
    programmed = _switch("blasts", blasts)
    values = _values(theory, story)
    extra = []
    if with_vaccine:
        extra.append(State("V", "antigen", 0.0, log=True, description="vaccine antigen, given by doses"))
    if treated:
        extra.append(State("drug", "", 0.0, description="1 after a dose of 1: treatment against the antigen"))
    observed: Callable = observe
    rhs = right_hand_side
    if programmed:
        observed, rhs = observe_blasts, right_hand_side_with_blasts
        extra += [
            State(f"B{k}", "cells", 0.0, scale=story.scale, description=f"blasts, stage {k}")
            for k in range(1, BLASTS + 1)
        ]
    if tagged:
        extra += [_shadow(name, story.scale) for name in SHADOWS]
    return Model(
        name="t_cell",
        states=(*_states(values, story.scale), *extra),
        parameters=parameters(values, vaccine=with_vaccine, treatment=treated, blasts=programmed),
        rhs=rhs(with_vaccine, treated, tagged),
        t_end=story.t_end,
        observables=_OBSERVABLES,
        observe=observed,
        burden="A" if story.name in _TUMORS else None,
        constraints=[Sum(names) for _, names in sums()],
        doc=_DOC.format(preset=theory.name, theory=theory.theory, scenario=story.name),
        references=("Specification and sources: see the sources of the parameters",),
        options={
            "preset": theory.name, "scenario": story.name, "shadows": tagged, "vaccine": with_vaccine,
            "treatment": treated, "blasts": programmed,
        },
    )  # fmt: skip


def _values(theory: Preset, story: Scenario) -> dict[str, float]:
    """Return the defaults: those of the theory, and where the scenario has its own, those."""
    values = dict(theory.values)
    own = {}
    for a in PHENOTYPES:
        names = [f"{rate}_{a}" for rate in ("h", "don", "doff")]
        if any(theory.values[name] != DEFAULTS[name] for name in names):
            own.update({name: theory.values[name] for name in names})
    if theory.name != "unified":
        for arrow in ARROWS:
            values[f"Koff_{arrow}"] *= story.reverse
    values |= story.values
    if theory.name == "unified":
        values |= story.unified
    # a theory's own rates, e.g. an immortal M, belong to it in every scenario
    return values | own


def _states(values: dict[str, float], scale: float) -> tuple[State, ...]:
    cells = [
        State(name, "cells", values.get(name, N0 if name == "N" else 0.0), scale=scale,
              description=f"{LONG[name]} cells")
        for name in "NSCMEX"
    ]  # fmt: skip
    antigen = State(
        "A", "antigen", values.get("A", A0), log=True, extinction=True,
        description="antigen: infected or tumor cells, or their equivalent",
    )  # fmt: skip
    # the drive acts on rates of about 1 per day: a thousandth of the tolerance of states is ample
    drive = State("I", "", values.get("I", 0.0), scale=1e-3, description="drive by antigen, from 0 to 1")
    return (*cells, antigen, drive)


def _shadow(name: str, scale: float) -> State:
    texts = {
        "G": "sum of the generations of", "U": "cells with an E ancestor among",
        "W": "cells with an M or E ancestor among",
    }  # fmt: skip
    unit = "generations" if name[0] == "G" else "cells"
    return State(name, unit, 0.0, scale=scale, description=f"{texts[name[0]]} {name[2]}")


def _switch(name: str, value: Any) -> bool:
    text = value.lower() if isinstance(value, str) else value
    if isinstance(text, bool | str) and text in _TEXTS:
        return _TEXTS[text]
    raise InputError(f"The option {name!r} must be true or false, not {shown(value)}.")
