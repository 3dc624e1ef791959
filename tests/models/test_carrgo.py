"""CARRGO: balances of the equations, and what is left of dexamethasone."""

from __future__ import annotations

import numpy as np

import fastcart


def test_tumor_cells_alone_grow_logistically():
    time = np.linspace(0, 100, 11)
    path = fastcart.solve("carrgo", {"cancer": 0.2, "cart": 0.0}, save_at=time, rtol=1e-9).trajectories
    rho, capacity = 0.3, 1 / 0.32
    expected = capacity / (1 + (capacity / 0.2 - 1) * np.exp(-rho * time))
    np.testing.assert_allclose(path["cancer"], expected, rtol=1e-7)
    assert (path["cart"] == 0).all()


def test_dexamethasone_goes_with_its_half_life():
    """Without growth, killing and proliferation both kinds of cell die of it alone."""
    time = np.array([0.0, 3.33, 6.66, 100.0])
    patient = {"rho": 0.0, "kappa1": 0.0, "kappa2": 0.0, "c0": 0.1, "c3": -0.2, "cancer": 2.0}
    path = fastcart.solve("carrgo", patient, save_at=time, rtol=1e-9).trajectories
    given = 3.33 / np.log(2) * (1 - 2 ** (-time / 3.33))
    np.testing.assert_allclose(path["cancer"], 2.0 * np.exp(-0.1 * given), rtol=1e-7)
    np.testing.assert_allclose(path["cart"], 0.25 * np.exp(0.2 * given), rtol=1e-7)
