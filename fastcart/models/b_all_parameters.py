"""Parameters of the B-ALL model: symbol, default, unit, source, meaning.

Sources: "assumed" is a choice of order of magnitude, "calibrated" was fitted to trial aggregates, a paper's
name means that the value lies in what the paper reports. `fastcart.population` says how they vary.
"""

from __future__ import annotations

from fastcart.model import Parameter

REFERENCES = (
    "A. M. Stein et al., Tisagenlecleucel model-based cellular kinetic analysis of chimeric antigen "
    "receptor-T cells, CPT Pharmacometrics Syst Pharmacol 8:285 (2019), doi 10.1002/psp4.12388",
    "G. J. Kimmel, F. L. Locke, P. M. Altrock, The roles of T cell competition and stochastic extinction "
    "events in chimeric antigen receptor T cell therapy, Proc R Soc B 288:20210229 (2021), "
    "doi 10.1098/rspb.2021.0229",
    "D. C. Kirouac et al., Deconvolution of clinical variance in CAR-T cell pharmacology and response, "
    "Nat Biotechnol 41:1606 (2023), doi 10.1038/s41587-023-01687-x",
)

COPIES_PER_CELL = 6.6e-7
"""Transgene copies per ug of DNA for each CAR-T cell of the body: 24 000 at 3.6e10 cells (Stein 2019)."""

# symbol, default, unit, source, description
_TABLE = (
    ("rL", 0.10, "1/day", "Kimmel 2021 (0.01 to 0.5); calibrated", "growth rate of leukemia"),
    ("KL", 2e12, "cells", "assumed", "carrying capacity of leukemia, about two marrows"),
    ("kap", 0.75, "1/day", "Kimmel 2021 (1.15); calibrated", "largest killing rate per CD19+ cell"),
    ("s", 2e9, "cells", "Kimmel 2021", "effectors at half of the killing rate"),
    ("h", 0.10, "1", "assumed", "saturation of killing by targets: at most kap/h kills per effector and day"),
    ("KA", 1e9, "cells", "assumed", "antigen at half of the stimulation"),
    ("sB", 1e8, "cells/day", "assumed", "production of normal B cells"),
    ("dB", 1 / 60, "1/day", "Leon-Triana (BIOMD0000001012)", "death of normal B cells"),
    ("rhoE", 2.95, "1/day", "calibrated", "largest proliferation of effectors"),
    ("nu", 0.85, "1", "assumed", "share of proliferation that needs the niche"),
    ("Kq", 3.2e10, "cells", "assumed", "lymphocytes at which half of the niche is taken"),
    ("kact", 0.6, "1/day", "assumed", "activation of memory cells by antigen"),
    ("pmx", 0.5, "1", "assumed", "self-renewal of an activated memory cell at low antigen"),
    ("Kp", 1e10, "cells", "assumed", "antigen at half of the self-renewal"),
    ("dE", 0.18, "1/day", "Stein 2019 (0.16)", "death of effectors"),
    ("muEM", 3e-3, "1/day", "Stein 2019 (memory 0.8 %)", "effectors without antigen that become memory"),
    ("xi", 0.40, "1/day", "assumed; calibrated", "exhaustion"),
    ("KX", 7e11, "cells", "assumed; calibrated", "antigen that adds half of further exhaustion"),
    ("rhoM", 0.15, "1/day", "assumed", "homeostatic proliferation of memory"),
    ("dM", 0.0032, "1/day", "Stein 2019", "death of memory cells"),
    ("dX", 0.20, "1/day", "assumed", "death of exhausted cells"),
    ("rN", 0.17, "1/day", "Kimmel 2021", "recovery of host lymphocytes"),
    ("KN", 2.5e11, "cells", "Kimmel 2021", "host lymphocytes when recovered"),
    ("aE", 1.6e-12, "1/(cell day)", "calibrated", "activation of macrophages by stimulated effectors"),
    ("aD", 0.0, "1/(cell day)", "assumed", "activation of macrophages by killed cells"),
    ("dA", 0.7, "1/day", "assumed", "deactivation of macrophages"),
    ("sC", 20.0, "pg/ml/day", "assumed", "basal production of IL-6"),
    ("dC", 4.0, "1/day", "assumed", "degradation of IL-6"),
    ("pC", 2.0e5, "pg/ml/day", "calibrated", "production of IL-6 when all macrophages are active"),
    ("hT", 0.0331, "1/day", "calibrated", "largest hazard of toxic death"),
    ("CT", 2e4, "pg/ml", "assumed", "IL-6 at half of the toxic hazard"),
    ("hL", 0.00337, "1/day", "calibrated", "largest hazard of death by leukemia"),
    ("KH", 1e11, "cells", "assumed", "leukemia at half of its hazard"),
    ("F_E", 0.08, "1", "assumed", "infused effectors that engraft (of doses; in no equation)"),
    ("F_M", 0.20, "1", "assumed", "infused memory cells that engraft (of doses; in no equation)"),
    ("D", 1e8, "cells", "Stein 2019", "cells of the product in all (of doses; in no equation)"),
    ("fM", 0.35, "1", "assumed", "memory cells among the product (of doses; in no equation)"),
)  # fmt: skip

_FRACTIONS = ("nu", "pmx", "F_E", "F_M", "fM")
_POSITIVE = ("KL", "s", "Kq", "KX", "Kp", "KN", "dC", "CT", "KH")  # each a denominator
_SMALLEST = 1e-300


def _range(symbol: str) -> tuple[float, float]:
    if symbol in _FRACTIONS:
        return 0.0, 1.0
    return (_SMALLEST if symbol in _POSITIVE else 0.0), float("inf")


PARAMETERS = tuple(
    Parameter(
        symbol,
        default,
        unit=unit,
        symbol=symbol,
        range=_range(symbol),
        source=source,
        description=description,
    )
    for symbol, default, unit, source, description in _TABLE
)
