"""Errata of Li & Lei 2025: what the paper prints, what its results used, and what follows here."""

from __future__ import annotations

from dataclasses import dataclass

from fastcart.papers.li_lei_2025.published_values import PLAN_C_FILE


@dataclass(frozen=True)
class Erratum:
    """One place where the printed paper and its published results, or its conclusions, differ.

    Parameters
    ----------
    number : int
    where : str
        Place in the paper.
    printed : str
        What the paper prints.
    used : str
        What its published program and result files used.
    consequence : str
        What follows, and what fastcart does.
    """

    number: int
    where: str
    printed: str
    used: str
    consequence: str


ERRATA = (
    Erratum(
        1,
        "Table 2, d_TM",
        "The death rate of memory CAR-T cells is printed with an additional power of ten.",
        "d_TM = 0.0065 per day, as in the caption of Figure 4.",
        "fastcart uses 0.0065 per day; the printed power of ten fits none of the published results.",
    ),
    Erratum(
        2,
        "Eq. (2.8), killing of tumor cells",
        "The numerators of the killing terms read as free cells, TE* and T4*.",
        "All results of the full model count total cells, TE and T4; the coarse-grained model counts "
        "free cells.",
        "A named option of the models: killing='total' (default of the full model) or killing='free' "
        "(default of the coarse-grained model).",
    ),
    Erratum(
        3,
        "Figure 4(a) and its text",
        "Without CAR-T cells the tumor settles at about 1.2e10 cells.",
        "The published file of this panel also settles at 1.2e10, unlike every other run.",
        "The printed λ_C, d_C and K_C settle at (λ_C/d_C - 1) K_C = 2.15e9 cells, which is what the "
        "reproduced panel shows; the panel must have been made with other parameters.",
    ),
    Erratum(
        4,
        "Figure 4(f), caption and Section 3",
        "The threshold of the effector dose is written as 0.85e6, 0.9e6 and 0.9e7 cells in three places.",
        "The runs respond from a dose between 8e6 and 9e6 cells on.",
        "0.9e7, in the text on Figure 4(c), is right; the other two are a factor of ten too low.",
    ),
    Erratum(
        5,
        "Tables 1 and 3, K_TP and K_T4",
        "Both are listed as half-saturation constants.",
        "They appear in no equation; the sensitivity study varied them all the same.",
        "fastcart keeps both as parameters without effect, so that published parameter files can be read; "
        "a correlation with them is chance.",
    ),
    Erratum(
        6,
        "Section 3, particle swarm optimisation (Figures 7 and 8)",
        "Doses are optimised by a particle swarm, whose particles move to better places.",
        "The program has 100 particles and 20 iterations, clamps velocities to ±30 cells and applies the "
        "limits of position to a copy that is not simulated, so the particles hardly move.",
        "In effect a random draw of 100 doses for each burden, of which the best is kept; the published "
        "doses are good draws, not optima.",
    ),
    Erratum(
        7,
        "Section 3, optimal doses (Figures 7 to 10)",
        "The doses that the search found are called optimal; the text states no limit that they keep.",
        "The program allows 1e3 to 2e7 cells of each subtype, and discards doses after which pre-CD8+ cells "
        "reach 1e15. Without the latter, T4 = 2e5 cells, with the control doses of the other subtypes, keeps "
        "the tumor below its start for all 200 days (nadir about 1e-18 cells).",
        "An optimum means something only with a limit on toxicity or on the total dose, which the paper "
        "names as its own limitation.",
    ),
    Erratum(
        8,
        "All regrowth after remission",
        "The continuous model lets a tumor regrow from far below one cell.",
        "Down to 1e-16 to 1e-18 cells, depending on the draw, where parameters vary by ±10%; no result "
        "applied a limit.",
        "PFS of deep responders is regrowth from a fraction of a cell; count a nadir below one cell as "
        "cure where that matters. No such extinction threshold is applied in this reproduction.",
    ),
    Erratum(
        9,
        "Table 1, λ_T4I2, and Figure 2",
        "λ_T4I2 = 0.25 per day, varied by ±10% in the sensitivity study.",
        "The published parameter file of the sensitivity study has λ_T4I2 from 0.315 to 0.385 per day, "
        "0.35 ± 10%; the trajectories of Figures 5, 6 and 8 were made with 0.25.",
        "Figure 2 varies 0.35 by ±10% here, all other figures use 0.25; the report says what that changes.",
    ),
    Erratum(
        10,
        "Figure 6(c), (f), (g) and the text on plans C",
        "The table 6(g) has the control as C7. The text names C5 and C6 as the plans with more effector "
        "cells and the longest PFS, and C3 and C6 as those that increase both CD4+ and pre-CD8+ cells.",
        "The result files, from which (c) and (f) are drawn, begin with the control: their C1 is C7 of the "
        "table, "
        "their C2 to C7 are C1 to C6. Their PFS are " + ", ".join(map(str, PLAN_C_FILE)) + " days.",
        "The text is right about which two bars are the longest; in the numbers of the table they are C4 "
        "and C5. C5 has more effector cells in place of pre-CD8+; C4 has more memory and fewer CD4+ "
        "cells. The plan that the table calls C6, with more effector and memory and fewer CD4+ and "
        "pre-CD8+ cells, has the shortest. fastcart uses the numbers of the table.",
    ),
    Erratum(
        11,
        "Eq. (2.11), production of IFN-γ",
        "Inhibition by regulatory cells and by TGF-β is the sum of two factors.",
        "The sum: results with it repeat the published files.",
        "Without inhibitors the sum is 2 and not 1, and either inhibitor alone, however strong, leaves "
        "half of the production; a product of the factors would leave none. fastcart uses the sum.",
    ),
    Erratum(
        12,
        "Table 3",
        "Numbers 42 parameters of Figure 2(a).",
        "Figure 2(a) and the parameter file have 41. No. 27, K_TM, is a function of the free tumor cells, "
        "eq. (2.6), and was not varied.",
        "From No. 28 on Table 3 is one ahead of the figure: its No. 28, K_I2, is bar 27, and so on.",
    ),
    Erratum(
        13,
        "Text on Figure 10(c)",
        "Refers to Figure 8(c); proportions were drawn from the ranges that the text lists.",
        "The panel is 10(c). The published program draws T4 from 7.5e-4 to 8.0e-4 and TM from 3.5e-5 to "
        "5e-5, and scales all proportions to a sum of 1.",
        "fastcart draws from the ranges of the text; effector cells are the rest.",
    ),
)
