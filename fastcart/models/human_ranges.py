"""What a human body can hold: plausible ranges of states and observables, no limits of a computation."""

from __future__ import annotations

# All immune cells of a reference adult: R. Sender et al., PNAS 120, e2308511120 (2023). Lymphocytes and
# macrophages, of which a model has several kinds, are each fewer.
IMMUNE_CELLS = (0.0, 1.8e12)
# Ten kilograms, at 1e9 cells per gram: U. Del Monte, Cell Cycle 8, 505 (2009)
TUMOR_CELLS = (0.0, 1e13)
# In serum of fatal septic shock it exceeds 750 ng/ml: A. Waage et al., J. Exp. Med. 169, 333 (1989)
IL6_NG_PER_ML = (0.0, 1e3)
IL6_PG_PER_ML = (0.0, 1e6)
# A microgram of DNA is that of 1.5e5 cells (6.6 pg each), with 5 copies in each, as many as products may have
# (FDA, Considerations for the Development of CAR T Cell Products, 2024)
COPIES_PER_UG = (0.0, 7.6e5)
