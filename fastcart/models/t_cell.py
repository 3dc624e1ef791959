"""One system of equations that contains the competing theories of T-cell differentiation.

Every theory draws other arrows between the same cells. Here all arrows exist, and a theory is a choice of
their strengths (`fastcart.models.t_cell_presets`); kinetic rates are common to all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import njit

from fastcart.checks import shown
from fastcart.errors import InputError
from fastcart.model import Model, Observable, State, Sum
from fastcart.models.t_cell_parameters import ARROWS, DEFAULTS, LONG, PHENOTYPES, parameters
from fastcart.models.t_cell_presets import Preset, sums
from fastcart.models.t_cell_presets import preset as find_preset
from fastcart.models.t_cell_scenarios import A0, N0, Scenario
from fastcart.models.t_cell_scenarios import scenario as find_scenario

_CELLS = 8  # states N, S, C, M, E, X, A, I
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


@njit
def _arrows(drive, p):
    """Return what divisions and all flows carry between S, C, M and E, per cell and day.

    The first 16 numbers are daughters ``2 rho_j I P_ji`` (from S to S, C, M, E, then from C, ...), the next
    16 the same with conversions and losses added, the next 4 daughters that become X.
    """
    (_, _, _, _, _, _, _, _, q, xi, _, _, _, _, _, _, _, _, _, _, _,
     rho_S, rho_C, rho_M, rho_E, h_S, h_C, h_M, h_E,
     don_S, don_C, don_M, don_E, doff_S, doff_C, doff_M, doff_E,
     _, _, _, _, _, _, _, _,
     P_SS, P_SC, P_SM, P_SE, P_SX, P_CS, P_CC, P_CM, P_CE, P_CX,
     P_MS, P_MC, P_MM, P_ME, P_MX, P_ES, P_EC, P_EM, P_EE, P_EX,
     on_SC, on_SM, on_SE, on_CS, on_CM, on_CE, on_MS, on_MC, on_ME, on_ES, on_EC, on_EM,
     off_SC, off_SM, off_SE, off_CS, off_CM, off_CE, off_MS, off_MC, off_ME, off_ES, off_EC, off_EM,
     ) = p[:89]  # fmt: skip
    J = 1.0 - drive
    K = math.pow(max(drive, 0.0), q)
    S, C, M, E = rho_S * drive, rho_C * drive, rho_M * drive, rho_E * drive
    S2, C2, M2, E2 = S + S, C + C, M + M, E + E
    D = (
        S2 * P_SS, S2 * P_SC, S2 * P_SM, S2 * P_SE, C2 * P_CS, C2 * P_CC, C2 * P_CM, C2 * P_CE,
        M2 * P_MS, M2 * P_MC, M2 * P_MM, M2 * P_ME, E2 * P_ES, E2 * P_EC, E2 * P_EM, E2 * P_EE,
    )  # fmt: skip
    SC, SM, SE = on_SC * K + off_SC * J, on_SM * K + off_SM * J, on_SE * K + off_SE * J
    CS, CM, CE = on_CS * K + off_CS * J, on_CM * K + off_CM * J, on_CE * K + off_CE * J
    MS, MC, ME = on_MS * K + off_MS * J, on_MC * K + off_MC * J, on_ME * K + off_ME * J
    ES, EC, EM = on_ES * K + off_ES * J, on_EC * K + off_EC * J, on_EM * K + off_EM * J
    keep_S = h_S - S - don_S * drive - doff_S * J - SC - SM - SE
    keep_C = h_C - C - don_C * drive - doff_C * J - CS - CM - CE
    keep_M = h_M - M - (don_M + xi) * drive - doff_M * J - MS - MC - ME
    keep_E = h_E - E - (don_E + xi) * drive - doff_E * J - ES - EC - EM
    B = (
        D[0] + keep_S, D[1] + SC, D[2] + SM, D[3] + SE, D[4] + CS, D[5] + keep_C, D[6] + CM, D[7] + CE,
        D[8] + MS, D[9] + MC, D[10] + keep_M, D[11] + ME, D[12] + ES, D[13] + EC, D[14] + EM, D[15] + keep_E,
    )  # fmt: skip
    return D, B, (S2 * P_SX, C2 * P_CX, M2 * P_MX, E2 * P_EX)


@njit
def _carried(S, C, M, E, B):
    """Return the flows into S, C, M and E that numbers of cells, or tags on them, make."""
    return (
        B[0] * S + B[4] * C + B[8] * M + B[12] * E,
        B[1] * S + B[5] * C + B[9] * M + B[13] * E,
        B[2] * S + B[6] * C + B[10] * M + B[14] * E,
        B[3] * S + B[7] * C + B[11] * M + B[15] * E,
    )


@njit
def _first_daughters(N, drive, p):
    """Return the cells per day that naive cells send to S, C, M and E by their first division."""
    flo_S, flo_C, flo_M, flo_E, fhi_S, fhi_C, fhi_M, fhi_E = p[37:45]
    J = 1.0 - drive
    born = 2.0 * p[2] * drive * N
    return (
        born * (J * flo_S + drive * fhi_S), born * (J * flo_C + drive * fhi_C),
        born * (J * flo_M + drive * fhi_M), born * (J * flo_E + drive * fhi_E),
    )  # fmt: skip


@njit
def _cells(y, given, B, to_X, born, p):
    """Derivatives of the eight states; ``given``: vaccine antigen, drug from 0 to 1, its clearance."""
    N, S, C, M, E, X, A, drive = y
    vaccine, drug, k_drug = given
    (d_N, s_N, alpha, lambda_I, delta_I, K_I, eta, K_T, q, xi, omega, dXon, dXoff, g, K_A, theta, delta_A,
     s_A, kappa, phi_M, phi_X) = p[:21]  # fmt: skip
    T = S + C + M + E + X
    J = 1.0 - drive
    seen = A + vaccine
    # four reciprocals from one division, the slowest vector instruction; the floors only matter where K_I or
    # theta is 0 and hardly any antigen is left
    need = max(K_I + seen + eta * T, 1e-100)
    room = K_T + T
    left = max(A + theta, 1e-100)
    need_room, left_K = need * room, left * K_A
    r = 1.0 / (need_room * left_K)
    per_need_room, per_left_K = left_K * r, need_room * r
    sig = seen * K_T * per_need_room
    back = omega * J * X
    dS, dC, dM, dE = _carried(S, C, M, E, B)
    growth = g * (1.0 - drug) * (K_A - A) * A * per_left_K
    loss = delta_A + (k_drug - delta_A) * drug
    return (
        s_N - d_N * N - alpha * drive * N,
        born[0] + dS,
        born[1] + dC,
        born[2] + dM + back,
        born[3] + dE,
        to_X[0] * S + to_X[1] * C + to_X[2] * M + to_X[3] * E + xi * drive * (M + E)
        - (dXon * drive + dXoff * J) * X - back,
        A * (growth - loss - kappa * (E + phi_M * M + phi_X * X)) + s_A,
        lambda_I * sig * (1.0 - drive) - delta_I * drive,
    )  # fmt: skip


@njit
def _tags(x, tags, h, D, B, born, divisions):
    """Derivatives of the shadow states: sums of generations G, cells with an E ancestor U, with M or E W.

    ``divisions`` is the generation of the cells ``born``.
    """
    S, C, M, E = x
    G_S, G_C, G_M, G_E = _carried(tags[0], tags[1], tags[2], tags[3], B)
    g_S, g_C, g_M, g_E = _carried(S, C, M, E, D)
    U_S, U_C, U_M, _ = _carried(tags[4], tags[5], tags[6], E, B)
    W_S, W_C, _, _ = _carried(tags[7], tags[8], M, E, B)
    return (
        divisions * born[0] + G_S + g_S + 2.0 * h[0] * S, divisions * born[1] + G_C + g_C + 2.0 * h[1] * C,
        divisions * born[2] + G_M + g_M + 2.0 * h[2] * M, divisions * born[3] + G_E + g_E + 2.0 * h[3] * E,
        U_S, U_C, U_M, W_S, W_C,
    )  # fmt: skip


# What is given from outside: vaccine antigen, drug and its clearance; and how it changes by itself
@njit
def _nothing(y, p):
    return 0.0, 0.0, 0.0


@njit
def _nothing_changes(y, p):
    return ()


@njit
def _vaccine(y, p):
    return y[8], 0.0, 0.0


@njit
def _vaccine_decays(y, p):
    return (-p[89] * y[8],)


@njit
def _drug(y, p):
    return 0.0, y[8], p[89]


@njit
def _drug_stays(y, p):
    return (0.0,)


@njit
def _vaccine_and_drug(y, p):
    return y[8], y[9], p[90]


@njit
def _vaccine_decays_drug_stays(y, p):
    return -p[89] * y[8], 0.0


_INPUTS: dict[tuple[bool, bool], tuple[int, Any, Any]] = {
    (False, False): (0, _nothing, _nothing_changes),
    (True, False): (1, _vaccine, _vaccine_decays),
    (False, True): (1, _drug, _drug_stays),
    (True, True): (2, _vaccine_and_drug, _vaccine_decays_drug_stays),
}


def _right_hand_side(vaccine: bool, treatment: bool, shadows: bool) -> Callable:
    """Make the right-hand side for one set of states."""
    extra, given, given_changes = _INPUTS[vaccine, treatment]
    first = _CELLS + extra

    @njit
    def rhs(t, y, p):
        _, B, to_X = _arrows(y[7], p)
        born = _first_daughters(y[0], y[7], p)
        return _cells(y[:8], given(y, p), B, to_X, born, p) + given_changes(y, p)

    @njit
    def rhs_with_shadows(t, y, p):
        D, B, to_X = _arrows(y[7], p)
        born = _first_daughters(y[0], y[7], p)
        cells = _cells(y[:8], given(y, p), B, to_X, born, p)
        return cells + given_changes(y, p) + _tags(y[1:5], y[first:], p[25:29], D, B, born, 1.0)

    return rhs_with_shadows if shadows else rhs


# Blasts: an activated naive cell divides so many times by itself, whatever the drive, before its daughters
# take their first fates. The rate rho_B is the last parameter.
BLASTS = 11


@njit
def _programme(N, drive, B, p):
    """Derivatives of the blasts, stage by stage."""
    r = p[-1]
    d = r + r
    return (
        p[2] * drive * N - r * B[0], d * B[0] - r * B[1], d * B[1] - r * B[2], d * B[2] - r * B[3],
        d * B[3] - r * B[4], d * B[4] - r * B[5], d * B[5] - r * B[6], d * B[6] - r * B[7],
        d * B[7] - r * B[8], d * B[8] - r * B[9], d * B[9] - r * B[10],
    )  # fmt: skip


@njit
def _daughters_of_blasts(last, drive, p):
    """Return the cells per day that the last blasts send to S, C, M and E."""
    flo_S, flo_C, flo_M, flo_E, fhi_S, fhi_C, fhi_M, fhi_E = p[37:45]
    J = 1.0 - drive
    born = 2.0 * p[-1] * last
    return (
        born * (J * flo_S + drive * fhi_S), born * (J * flo_C + drive * fhi_C),
        born * (J * flo_M + drive * fhi_M), born * (J * flo_E + drive * fhi_E),
    )  # fmt: skip


def _right_hand_side_with_blasts(vaccine: bool, treatment: bool, shadows: bool) -> Callable:
    """Make the right-hand side for one set of states, with a division programme of the naive cells."""
    extra, given, given_changes = _INPUTS[vaccine, treatment]
    at = _CELLS + extra
    first = at + BLASTS

    @njit
    def rhs(t, y, p):
        _, B, to_X = _arrows(y[7], p)
        blasts = y[at:first]
        born = _daughters_of_blasts(blasts[10], y[7], p)
        cells = _cells(y[:8], given(y, p), B, to_X, born, p)
        return cells + given_changes(y, p) + _programme(y[0], y[7], blasts, p)

    @njit
    def rhs_with_shadows(t, y, p):
        D, B, to_X = _arrows(y[7], p)
        blasts = y[at:first]
        born = _daughters_of_blasts(blasts[10], y[7], p)
        cells = _cells(y[:8], given(y, p), B, to_X, born, p)
        chain = _programme(y[0], y[7], blasts, p)
        tags = _tags(y[1:5], y[first:], p[25:29], D, B, born, 11.0)
        return cells + given_changes(y, p) + chain + tags

    return rhs_with_shadows if shadows else rhs


def _observe_blasts(at: int) -> Callable:
    """Make the observables: blasts are T cells too."""

    @njit
    def observe(t, y, p):
        T = y[1] + y[2] + y[3] + y[4] + y[5]
        for k in range(at, at + BLASTS):
            T += y[k]
        return math.log(max(y[6], 5e-324)), T

    return observe


@njit
def _observe(t, y, p):
    return math.log(max(y[6], 5e-324)), y[1] + y[2] + y[3] + y[4] + y[5]


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
    observe: Callable = _observe
    rhs = _right_hand_side
    if programmed:
        observe, rhs = _observe_blasts(_CELLS + len(extra)), _right_hand_side_with_blasts
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
        observe=observe,
        burden="A",
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
