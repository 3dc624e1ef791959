"""CARRGO: tumor cells and CAR T cells in a killing assay, as predator and prey, with dexamethasone.

Source: Sahoo et al., Mathematical deconvolution of CAR T-cell proliferation and exhaustion from real-time
killing assay data, J R Soc Interface 17, 20190734 (2020); with dexamethasone: Brummer et al., Dose-dependent
thresholds of dexamethasone destabilize CAR T-cell treatment efficacy, PLoS Comput Biol 18, e1009504 (2022).
"""

from __future__ import annotations

from numba import njit

from fastcart.math import exp
from fastcart.model import Model, Parameter, State

_LN2 = 0.6931471805599453
_ANY = (-1e6, 1e6)

_DOC = """Killing of tumor cells by CAR-T cells in a dish, and dexamethasone that decays (CARRGO).

Equations:

cancer' = rho cancer (1 - cancer / K) - c0 e(t) cancer - kappa1 cancer cart,
cart' = kappa2 cancer cart - (theta + c3 e(t)) cart, with what is left of the dexamethasone that is given at
time 0, e(t) = 2**(-t / half_life). Cells are counted in units of the cell index, time in hours.
"""


@njit
def _rhs(t, y, p):
    left = exp(-_LN2 * t / p.half_life)
    cancer, cart = y.cancer, y.cart
    return (
        (p.rho * (1.0 - cancer * p.K_inverse) - p.c0 * left - p.kappa1 * cart) * cancer,
        (p.kappa2 * cancer - p.theta - p.c3 * left) * cart,
    )


def carrgo() -> Model:
    """Return the model of a killing assay.

    ``cancer' = rho cancer (1 - cancer / K) - c0 e(t) cancer - kappa1 cancer cart``,
    ``cart' = kappa2 cancer cart - (theta + c3 e(t)) cart``, with what is left of the dexamethasone that is
    given at time 0, ``e(t) = 2**(-t / half_life)``. Cells are counted in units of the cell index, time in
    hours.
    """
    source = "Brummer et al. 2022, line PBT1"
    return Model(
        "carrgo",
        [
            State("cancer", "CI", 1.0, description="tumor cells"),
            State("cart", "CI", 0.25, description="CAR T cells"),
        ],
        [
            Parameter("rho", 0.3, "1/h", "rho", source=source, description="growth of tumor cells"),
            Parameter("K_inverse", 0.32, "1/CI", "1/K", source=source, description="inverse of capacity"),
            Parameter("c0", 0.0, "1/h", "c_0", _ANY, source, "death of tumor cells by dexamethasone"),
            Parameter("kappa1", 0.55, "1/h/CI", "kappa_1", source=source, description="killing"),
            Parameter("kappa2", 0.024, "1/h/CI", "kappa_2", _ANY, source, "proliferation less exhaustion"),
            Parameter("theta", 0.0, "1/h", "theta", source=source, description="death of CAR T cells"),
            Parameter("c3", 0.0, "1/h", "c_3", _ANY, source, "death of CAR T cells by dexamethasone"),
            Parameter("half_life", 3.33, "h", range=(1e-6, 1e6), source=source, description="dexamethasone"),
        ],
        _rhs,
        t_end=100.0,
        burden="cancer",
        time_unit="hour",
        doc=_DOC,
        references=("J R Soc Interface 17, 20190734 (2020)", "PLoS Comput Biol 18, e1009504 (2022)"),
    )
