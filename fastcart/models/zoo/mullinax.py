"""Mullinax et al. 2016: tumor-infiltrating lymphocytes, of which kinds help and kinds hinder.

Source: Mullinax et al., Harnessing the lymphocyte meta-phenotype to optimize adoptive cell therapy, bioRxiv
085910 (2016), doi:10.1101/085910; equations and values by way of MODEL2109110006, which could not reproduce
Figure 4 of the preprint. Nothing was fitted; quantities have no units.
"""

from __future__ import annotations

from numba import njit

from fastcart.model import Model, State
from fastcart.models.zoo.parts import parameters

_DOC = """Tumor cells T and lymphocytes: CD8 cells E, innate killers N, regulatory cells R (Mullinax 2016).

T' = r_t T - v_t E T - lambda_t N T,
E' = rho_e + alpha_e E T / (beta_e + T) + gamma_e E N - v_e E T - lambda_e E R - mu_e E,
N' = rho_n + gamma_n N T - v_n N T - mu_n N, R' = rho_r + gamma_r N R - mu_r R. Without units.
"""

_ROWS = (
    ("r_t", 0.222576299182873, "", "growth of the tumor"),
    ("v_t", 0.5, "", "killing by CD8 cells"),
    ("lambda_t", 0.3, "", "killing by innate killers"),
    ("rho_e", 0.250680905469374, "", "inflow of CD8 cells"),
    ("alpha_e", 0.31, "", "stimulation of CD8 cells by the tumor"),
    ("beta_e", 20.0, "", "tumor at half of the stimulation"),
    ("gamma_e", 0.1, "", "stimulation of CD8 cells by innate killers"),
    ("v_e", 0.19, "", "loss of CD8 cells by the tumor"),
    ("lambda_e", 1.0, "", "suppression of CD8 cells"),
    ("mu_e", 0.01, "", "death of CD8 cells"),
    ("rho_n", 0.0570332388925758, "", "inflow of innate killers"),
    ("gamma_n", 0.02, "", "stimulation of innate killers by the tumor"),
    ("v_n", 0.5, "", "loss of innate killers by the tumor"),
    ("mu_n", 0.1, "", "death of innate killers"),
    ("rho_r", 0.0820351544329818, "", "inflow of regulatory cells"),
    ("gamma_r", 0.1, "", "stimulation of regulatory cells"),
    ("mu_r", 0.2, "", "death of regulatory cells"),
)


@njit
def _rhs(t, y, p):
    return (
        (p.r_t - p.v_t * y.E - p.lambda_t * y.N) * y.T,
        p.rho_e
        + (p.alpha_e * y.T / (p.beta_e + y.T) + p.gamma_e * y.N - p.v_e * y.T - p.lambda_e * y.R - p.mu_e)
        * y.E,
        p.rho_n + ((p.gamma_n - p.v_n) * y.T - p.mu_n) * y.N,
        p.rho_r + (p.gamma_r * y.N - p.mu_r) * y.R,
    )


def mullinax() -> Model:
    """Return the model of Mullinax et al. 2016."""
    return Model(
        "mullinax",
        [
            State("T", "", 1.0, log=True, description="tumor cells"),
            State("E", "", 0.1, description="CD8 T cells"),
            State("N", "", 0.1, description="innate killer cells"),
            State("R", "", 0.1, description="regulatory CD4 T cells"),
        ],
        parameters("Mullinax et al. 2016 (MODEL2109110006)", _ROWS, positive=("beta_e",)),
        _rhs,
        t_end=100.0,
        burden="T",
        doc=_DOC,
        references=("J. Mullinax et al., bioRxiv 085910 (2016), doi:10.1101/085910",),
    )
