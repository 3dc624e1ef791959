"""CAR-T cell kinetics against the closed form; a model says itself where it jumps."""

from __future__ import annotations

import numpy as np
import pytest

import fastcart
from fastcart.errors import InputError

PATIENTS = {"Tmax": [5.0, 9.3, 20.0], "Cmax": [1e4, 2e4, 3e4]}


def closed(time, Tmax, Cmax, *, foldx=3900.0, alpha=0.16, FB=0.0079, beta=0.0032):
    s = time - Tmax
    behind = Cmax * ((1 - FB) * np.exp(-alpha * np.abs(s)) + FB * np.exp(-beta * np.abs(s)))
    return np.where(s < 0, Cmax / foldx * np.exp(np.log(foldx) / Tmax * np.minimum(time, Tmax)), behind)


@pytest.mark.parametrize("engine", ["auto", "lsoda"])
def test_the_closed_form(engine):
    time = np.linspace(0, 365, 74)
    options = dict(save_at=time, save=["cells"], rtol=1e-9, engine=engine)
    cells = fastcart.solve("cart_kinetics", PATIENTS, **options).trajectories["cells"].to_numpy()
    for row, Tmax, Cmax in zip(cells.reshape(3, -1), *PATIENTS.values(), strict=True):
        np.testing.assert_allclose(row, closed(time, Tmax, Cmax), rtol=1e-7)
    if engine == "auto":
        solver = fastcart.prepare("cart_kinetics", list(PATIENTS), save_at=time, save=["cells"], rtol=1e-9)
        values = np.column_stack(list(PATIENTS.values()))
        np.testing.assert_array_equal(solver(values).saved["cells"], cells)


def test_a_break_of_a_model_is_a_parameter():
    model = fastcart.models.get("cart_kinetics")
    assert model.breaks == ("Tmax",)
    assert model.replace(breaks=[1.0, "Tmax"]).breaks == (1.0, "Tmax")
    with pytest.raises(InputError, match=r"the break 'tmax' is no parameter\. Did you mean 'Tmax'"):
        model.replace(breaks=["tmax"])
