"""Doses of Figures 4, 5 and 6 of Li & Lei 2025, as tables of patients. All numbers are cells."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fastcart.models import get

SUBTYPES = ("T4", "TP", "TE", "TM", "Tr")

# Figure 5: CD4+, pre-CD8+, effector, memory and regulatory CAR-T cells
CONTROL = {"T4": 1e4, "TP": 1e7, "TE": 1e7, "TM": 1e3, "Tr": 1e3}

# Figure 4: effector and memory CAR-T cells of the coarse-grained model
COARSE_TE = 1e7
COARSE_TM = 1e3
EFFECTOR_DOSES = (2e6, 5e6, 7e6, 9e6, 10e6, 12e6, 15e6, 20e6)  # Figure 4(c)
MEMORY_DOSES = (1e3, 2e3, 4e3, 6e3, 8e3, 10e3)  # Figure 4(d), (e)
PFS_DOSES = tuple(1e6 * k for k in range(1, 21))  # Figure 4(f)

# Figure 6, plan B: total doses; None stands for the total of the control
TOTAL_DOSES = (1e6, 5e6, 10e6, 15e6, None, 25e6)

# Figure 6, plan C: proportions T4 : TP : TE : TM : Tr of the control's total
PROPORTIONS = (
    (20, 10000, 10000, 0.5, 1),
    (10, 15000, 5000, 1, 1),
    (20, 15000, 5000, 0.5, 1),
    (5, 10000, 10000, 5, 1),
    (10, 5000, 15000, 1, 1),
    (5, 5000, 15000, 5, 1),
    (10, 10000, 10000, 1, 1),
)

MORE_OF_BOTH = "CD4+ and pre-CD8+ × 5"

_A_CHANGES = ("control", "CD4+ × 5", "pre-CD8+ × 5", "effector × 5", "memory × 5", "regulatory × 5")


def coarse_runs() -> pd.DataFrame:
    """Return the runs of Figure 4(a)-(e): panel, and the doses TE and TM."""
    rows = [("a", 0.0, 0.0), ("b", COARSE_TE, COARSE_TM)]
    rows += [("c", dose, COARSE_TM) for dose in EFFECTOR_DOSES]
    rows += [("d", COARSE_TE, dose) for dose in MEMORY_DOSES]
    return pd.DataFrame(rows, columns=["panel", "TE", "TM"])


def coarse_default() -> pd.DataFrame:
    """Return the run of Figure 4(b)."""
    return pd.DataFrame([{"TE": COARSE_TE, "TM": COARSE_TM}])


def coarse_pfs_runs() -> pd.DataFrame:
    """Return the doses of Figure 4(f)."""
    return pd.DataFrame({"TE": PFS_DOSES, "TM": COARSE_TM})


def threshold_scan() -> pd.DataFrame:
    """Return effector doses from 8 to 9 million in steps of 10,000, around the threshold of 4(f)."""
    return pd.DataFrame({"TE": np.arange(800, 901) * 1e4, "TM": COARSE_TM})


def control() -> pd.DataFrame:
    """Return the one run of Figure 5."""
    return pd.DataFrame([CONTROL])


def subtype_variants() -> pd.DataFrame:
    """Return the control with other memory and regulatory cells: variant, doses and λ_TEM (1/day).

    No memory cells at all: none infused, and none from effector cells.
    """
    differentiation = get("li_lei").default_parameters()["lambda_TEM"]
    changes: dict[str, dict[str, float]] = {
        "control": {},
        "no memory cells infused": {"TM": 0.0},
        "ten times the memory cells": {"TM": 10 * CONTROL["TM"]},
        "no memory cells at all": {"TM": 0.0, "lambda_TEM": 0.0},
        "no regulatory cells": {"Tr": 0.0},
    }
    rows = [
        {"variant": variant, **CONTROL, "lambda_TEM": differentiation, **change}
        for variant, change in changes.items()
    ]
    return pd.DataFrame(rows)


def plan_a() -> pd.DataFrame:
    """Return plans A1 (control) to A6: five times one subtype after the other."""
    rows = []
    for number, change in enumerate(_A_CHANGES):
        doses = dict(CONTROL)
        if number:
            doses[SUBTYPES[number - 1]] *= 5
        rows.append({"plan": f"A{number + 1}", "change": change, **doses})
    return pd.DataFrame(rows)


def plan_b() -> pd.DataFrame:
    """Return plans B1 to B6: total dose varied, proportions of the control (B5)."""
    total = sum(CONTROL.values())
    rows = []
    for number, dose in enumerate(TOTAL_DOSES, start=1):
        factor = 1.0 if dose is None else dose / total
        change = "control" if dose is None else f"total {dose / 1e6:g} × 10⁶"
        doses = {name: value * factor for name, value in CONTROL.items()}
        rows.append({"plan": f"B{number}", "change": change, **doses})
    return pd.DataFrame(rows)


def plan_c() -> pd.DataFrame:
    """Return plans C1 to C7 (control): proportions varied, total of the control."""
    total = sum(CONTROL.values())
    rows = []
    for number, parts in enumerate(PROPORTIONS, start=1):
        change = "control" if number == len(PROPORTIONS) else ":".join(f"{x:g}" for x in parts)
        doses = dict(zip(SUBTYPES, (total * x / sum(parts) for x in parts), strict=True))
        rows.append({"plan": f"C{number}", "change": change, **doses})
    return pd.DataFrame(rows)


def more_of_both() -> pd.DataFrame:
    """Return the plan that the text recommends and Figure 6 lacks: five times CD4+ and pre-CD8+ cells."""
    doses = {**CONTROL, "T4": 5 * CONTROL["T4"], "TP": 5 * CONTROL["TP"]}
    return pd.DataFrame([{"plan": MORE_OF_BOTH, **doses}])


def total_scan() -> pd.DataFrame:
    """Return doses of 1e6 to 25e6 cells in the control's proportions, in steps of 1e5 up to 5e6, then 1e6."""
    steps = np.concatenate([np.arange(10, 50) / 10, np.arange(5, 26)]) * 1e6
    parts = pd.Series(CONTROL) / sum(CONTROL.values())
    return pd.DataFrame(np.outer(steps, parts), columns=list(parts.index)).assign(total=steps)


def treatment_plans() -> pd.DataFrame:
    """Return all 19 plans of Figure 6(g): plan, group, change, doses and total dose."""
    plans = pd.concat([plan_a(), plan_b(), plan_c()], ignore_index=True)
    plans.insert(1, "group", plans["plan"].str[0])
    plans["total"] = plans[list(SUBTYPES)].sum(axis=1)
    return plans
