"""Equations of the T-cell model: what each right-hand side is made of, and the observables.

Cells flow between phenotypes by divisions and conversions, which `_arrows` puts together for a drive; the
same flows carry tags on cells. See `fastcart.models.t_cell` for the equations on one page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from numba import njit


class Flows(NamedTuple):
    """What cells carry from one phenotype to another, per cell and day: ``SC`` from S to C."""

    SS: float
    SC: float
    SM: float
    SE: float
    CS: float
    CC: float
    CM: float
    CE: float
    MS: float
    MC: float
    MM: float
    ME: float
    ES: float
    EC: float
    EM: float
    EE: float


@njit
def _arrows(drive, p):
    """Return what divisions, all flows, and losses to X carry between S, C, M and E, per cell and day.

    The first are daughters ``2 rho_j I P_ji``, the second the same with conversions and losses added, the
    third the daughters of S, C, M and E that become X.
    """
    J = 1.0 - drive
    K = math.pow(max(drive, 0.0), p.q)
    S, C, M, E = p.rho_S * drive, p.rho_C * drive, p.rho_M * drive, p.rho_E * drive
    S2, C2, M2, E2 = S + S, C + C, M + M, E + E
    D = Flows(
        S2 * p.P_SS, S2 * p.P_SC, S2 * p.P_SM, S2 * p.P_SE,
        C2 * p.P_CS, C2 * p.P_CC, C2 * p.P_CM, C2 * p.P_CE,
        M2 * p.P_MS, M2 * p.P_MC, M2 * p.P_MM, M2 * p.P_ME,
        E2 * p.P_ES, E2 * p.P_EC, E2 * p.P_EM, E2 * p.P_EE,
    )  # fmt: skip
    SC, SM, SE = p.Kon_SC * K + p.Koff_SC * J, p.Kon_SM * K + p.Koff_SM * J, p.Kon_SE * K + p.Koff_SE * J
    CS, CM, CE = p.Kon_CS * K + p.Koff_CS * J, p.Kon_CM * K + p.Koff_CM * J, p.Kon_CE * K + p.Koff_CE * J
    MS, MC, ME = p.Kon_MS * K + p.Koff_MS * J, p.Kon_MC * K + p.Koff_MC * J, p.Kon_ME * K + p.Koff_ME * J
    ES, EC, EM = p.Kon_ES * K + p.Koff_ES * J, p.Kon_EC * K + p.Koff_EC * J, p.Kon_EM * K + p.Koff_EM * J
    keep_S = p.h_S - S - p.don_S * drive - p.doff_S * J - SC - SM - SE
    keep_C = p.h_C - C - p.don_C * drive - p.doff_C * J - CS - CM - CE
    keep_M = p.h_M - M - (p.don_M + p.xi) * drive - p.doff_M * J - MS - MC - ME
    keep_E = p.h_E - E - (p.don_E + p.xi) * drive - p.doff_E * J - ES - EC - EM
    B = Flows(
        D.SS + keep_S, D.SC + SC, D.SM + SM, D.SE + SE,
        D.CS + CS, D.CC + keep_C, D.CM + CM, D.CE + CE,
        D.MS + MS, D.MC + MC, D.MM + keep_M, D.ME + ME,
        D.ES + ES, D.EC + EC, D.EM + EM, D.EE + keep_E,
    )  # fmt: skip
    return D, B, (S2 * p.P_SX, C2 * p.P_CX, M2 * p.P_MX, E2 * p.P_EX)


@njit
def _carried(S, C, M, E, B):
    """Return the flows into S, C, M and E that numbers of cells, or tags on them, make."""
    return (
        B.SS * S + B.CS * C + B.MS * M + B.ES * E,
        B.SC * S + B.CC * C + B.MC * M + B.EC * E,
        B.SM * S + B.CM * C + B.MM * M + B.EM * E,
        B.SE * S + B.CE * C + B.ME * M + B.EE * E,
    )


@njit
def _first_daughters(born, drive, p):
    """Return the cells per day that the first division, of ``born`` daughters, sends to S, C, M and E."""
    J = 1.0 - drive
    return (
        born * (J * p.flo_S + drive * p.fhi_S),
        born * (J * p.flo_C + drive * p.fhi_C),
        born * (J * p.flo_M + drive * p.fhi_M),
        born * (J * p.flo_E + drive * p.fhi_E),
    )


@njit
def _cells(y, p, given, B, to_X, born):
    """Derivatives of the eight states; ``given``: vaccine antigen, drug from 0 to 1, its clearance."""
    vaccine, drug, k_drug = given
    drive = y.I
    T = y.S + y.C + y.M + y.E + y.X
    J = 1.0 - drive
    seen = y.A + vaccine
    # four reciprocals from one division, the slowest vector instruction; the floors only matter where K_I or
    # theta is 0 and hardly any antigen is left
    need = max(p.K_I + seen + p.eta * T, 1e-100)
    room = p.K_T + T
    left = max(y.A + p.theta, 1e-100)
    need_room, left_K = need * room, left * p.K_A
    r = 1.0 / (need_room * left_K)
    per_need_room, per_left_K = left_K * r, need_room * r
    sig = seen * p.K_T * per_need_room
    back = p.omega * J * y.X
    born_S, born_C, born_M, born_E = born
    S_X, C_X, M_X, E_X = to_X
    dS, dC, dM, dE = _carried(y.S, y.C, y.M, y.E, B)
    growth = p.g * (1.0 - drug) * (p.K_A - y.A) * y.A * per_left_K
    loss = p.delta_A + (k_drug - p.delta_A) * drug
    return (
        p.s_N - p.d_N * y.N - p.alpha * drive * y.N,
        born_S + dS,
        born_C + dC,
        born_M + dM + back,
        born_E + dE,
        S_X * y.S + C_X * y.C + M_X * y.M + E_X * y.E + p.xi * drive * (y.M + y.E)
        - (p.dXon * drive + p.dXoff * J) * y.X - back,
        y.A * (growth - loss - p.kappa * (y.E + p.phi_M * y.M + p.phi_X * y.X)) + p.s_A,
        p.lambda_I * sig * (1.0 - drive) - p.delta_I * drive,
    )  # fmt: skip


@njit
def _tags(y, p, D, B, born, divisions):
    """Derivatives of the shadow states: sums of generations G, cells with an E ancestor U, with M or E W.

    ``divisions`` is the generation of the cells ``born``.
    """
    born_S, born_C, born_M, born_E = born
    G_S, G_C, G_M, G_E = _carried(y.G_S, y.G_C, y.G_M, y.G_E, B)
    g_S, g_C, g_M, g_E = _carried(y.S, y.C, y.M, y.E, D)
    U_S, U_C, U_M, _ = _carried(y.U_S, y.U_C, y.U_M, y.E, B)
    W_S, W_C, _, _ = _carried(y.W_S, y.W_C, y.M, y.E, B)
    return (
        divisions * born_S + G_S + g_S + 2.0 * p.h_S * y.S,
        divisions * born_C + G_C + g_C + 2.0 * p.h_C * y.C,
        divisions * born_M + G_M + g_M + 2.0 * p.h_M * y.M,
        divisions * born_E + G_E + g_E + 2.0 * p.h_E * y.E,
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
    return y.V, 0.0, 0.0


@njit
def _vaccine_decays(y, p):
    return (-p.d_V * y.V,)


@njit
def _drug(y, p):
    return 0.0, y.drug, p.k_drug


@njit
def _drug_stays(y, p):
    return (0.0,)


@njit
def _vaccine_and_drug(y, p):
    return y.V, y.drug, p.k_drug


@njit
def _vaccine_decays_drug_stays(y, p):
    return -p.d_V * y.V, 0.0


_INPUTS: dict[tuple[bool, bool], tuple[Any, Any]] = {
    (False, False): (_nothing, _nothing_changes),
    (True, False): (_vaccine, _vaccine_decays),
    (False, True): (_drug, _drug_stays),
    (True, True): (_vaccine_and_drug, _vaccine_decays_drug_stays),
}


# Blasts: an activated naive cell divides so many times by itself, whatever the drive, before its daughters
# take their first fates.
BLASTS = 11


@njit
def _programme(y, p):
    """Derivatives of the blasts, stage by stage."""
    r = p.rho_B
    d = r + r
    return (
        p.alpha * y.I * y.N - r * y.B1,
        d * y.B1 - r * y.B2,
        d * y.B2 - r * y.B3,
        d * y.B3 - r * y.B4,
        d * y.B4 - r * y.B5,
        d * y.B5 - r * y.B6,
        d * y.B6 - r * y.B7,
        d * y.B7 - r * y.B8,
        d * y.B8 - r * y.B9,
        d * y.B9 - r * y.B10,
        d * y.B10 - r * y.B11,
    )


def right_hand_side(vaccine: bool, treatment: bool, shadows: bool) -> Callable:
    """Make the right-hand side for one set of states."""
    given, given_changes = _INPUTS[vaccine, treatment]

    @njit
    def rhs(t, y, p):
        _, B, to_X = _arrows(y.I, p)
        born = _first_daughters(2.0 * p.alpha * y.I * y.N, y.I, p)
        return _cells(y, p, given(y, p), B, to_X, born) + given_changes(y, p)

    @njit
    def rhs_with_shadows(t, y, p):
        D, B, to_X = _arrows(y.I, p)
        born = _first_daughters(2.0 * p.alpha * y.I * y.N, y.I, p)
        cells = _cells(y, p, given(y, p), B, to_X, born)
        return cells + given_changes(y, p) + _tags(y, p, D, B, born, 1.0)

    return rhs_with_shadows if shadows else rhs


def right_hand_side_with_blasts(vaccine: bool, treatment: bool, shadows: bool) -> Callable:
    """Make the right-hand side for one set of states, with a division programme of the naive cells."""
    given, given_changes = _INPUTS[vaccine, treatment]

    @njit
    def rhs(t, y, p):
        _, B, to_X = _arrows(y.I, p)
        born = _first_daughters(2.0 * p.rho_B * y.B11, y.I, p)
        return _cells(y, p, given(y, p), B, to_X, born) + given_changes(y, p) + _programme(y, p)

    @njit
    def rhs_with_shadows(t, y, p):
        D, B, to_X = _arrows(y.I, p)
        born = _first_daughters(2.0 * p.rho_B * y.B11, y.I, p)
        cells = _cells(y, p, given(y, p), B, to_X, born)
        tags = _tags(y, p, D, B, born, 11.0)
        return cells + given_changes(y, p) + _programme(y, p) + tags

    return rhs_with_shadows if shadows else rhs


@njit
def observe(t, y, p):
    """Return ln A and the number of T cells."""
    return math.log(max(y.A, 5e-324)), y.S + y.C + y.M + y.E + y.X


@njit
def observe_blasts(t, y, p):
    """Return the same where blasts are T cells too."""
    T = (
        y.S + y.C + y.M + y.E + y.X
        + y.B1 + y.B2 + y.B3 + y.B4 + y.B5 + y.B6 + y.B7 + y.B8 + y.B9 + y.B10 + y.B11
    )  # fmt: skip
    return math.log(max(y.A, 5e-324)), T
