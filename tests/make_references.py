"""Make tests/references/li_lei_accurate.csv: high-precision PFS and tumor counts by SciPy.

Run by hand when the model changes: ``python tests/make_references.py``. Two unrelated methods at tight
tolerance must agree, else nothing is written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import fastcart

TARGET = Path(__file__).parent / "references" / "li_lei_accurate.csv"
DAYS = [10.0, 40.0, 80.0, 120.0, 200.0]


def patients() -> pd.DataFrame:
    """Plan A of Figure 6 and twelve patients with all parameters within 10%."""
    model = fastcart.models.get("li_lei")
    start = {name: model.default_states()[name] for name in ("T4", "TP", "TE", "TM", "Tr")}
    rows = [{**start, "patient": "A1"}]
    for k, name in enumerate(start):
        rows.append({**start, name: 5 * start[name], "patient": f"A{k + 2}"})
    rng = np.random.default_rng(2025)
    for k in range(12):
        row = {n: v * (1 + 0.1 * (2 * rng.random() - 1)) for n, v in model.default_parameters().items()}
        rows.append({**start, **row, "patient": f"varied{k + 1}"})
    return pd.DataFrame(rows).fillna(model.default_parameters())


def solve(method: str, rtol: float) -> pd.DataFrame:
    """PFS, progression, nadir and tumor counts at some days, wide."""
    result = fastcart.solve(
        "li_lei", patients(), engine="scipy", method=method, rtol=rtol, save_at=DAYS, max_steps=10**6
    )
    C = result.trajectories.pivot(index="patient", columns="t", values="C")
    C.columns = [f"C_day{t:g}" for t in C.columns]
    columns = ["patient", "pfs", "progression", "nadir", "t_nadir"]
    return result.endpoints[columns].set_index("patient").join(C)


def main() -> None:
    """Compute with both methods, compare, write with the patients' parameters."""
    first, second = solve("DOP853", 1e-13), solve("Radau", 1e-11)
    for name in first:
        a, b = first[name].to_numpy(), second[name].to_numpy()
        worst = np.nanmax(np.abs(a - b) / np.maximum(1e-3, np.abs(a)))
        print(f"{name:12} DOP853 against Radau: {worst:.1e}")
        if worst > (1e-3 if name == "t_nadir" else 1e-5):
            raise SystemExit(f"{name}: the two methods differ by {worst:.1e}; nothing was written")
    table = patients().set_index("patient").join(first)
    TARGET.parent.mkdir(exist_ok=True)
    table.to_csv(TARGET)
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
