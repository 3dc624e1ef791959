"""Plan A of Li & Lei 2025, six doses, with results that two unrelated methods agree on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

REFERENCE = Path(__file__).parent / "references" / "li_lei_accurate.csv"
DAYS = [10.0, 40.0, 80.0, 120.0, 200.0]

PLAN_A = pd.DataFrame(
    {
        "T4": [1e4, 5e4, 1e4, 1e4, 1e4, 1e4],
        "TP": [1e7, 1e7, 5e7, 1e7, 1e7, 1e7],
        "TE": [1e7, 1e7, 1e7, 5e7, 1e7, 1e7],
        "TM": [1e3, 1e3, 1e3, 1e3, 5e3, 1e3],
        "Tr": [1e3, 1e3, 1e3, 1e3, 1e3, 5e3],
    }
)
PLAN_A_ACCURATE = [75.5955, 102.8586, 67.1170, 71.8550, 74.4664, 0.0]
