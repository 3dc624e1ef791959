"""What a human body can hold: plausible ranges of states and observables, no limits of a computation.

The page ``docs/theory/exact.md`` names the same sources.
"""

from __future__ import annotations

# All immune cells of a reference man of 73 kg (1.5e12 to 2.3e12): R. Sender et al., PNAS 120, e2308511120
# (2023). Lymphocytes (40 %) and macrophages (10 %), of which a model has several kinds, are each fewer.
IMMUNE_CELLS = (0.0, 1.8e12)
# 1e9 cells per gram, as is commonly assumed; in epithelial tumors it is a tenth: U. Del Monte, Cell Cycle 8,
# 505 (2009). That nobody lives with more than ten kilograms is our judgement.
TUMOR_CELLS = (0.0, 1e13)
# All four patients with more than 750 ng/ml in serum died of septic shock: A. Waage et al., J. Exp. Med. 169,
# 333 (1989). Rounded up.
IL6_NG_PER_ML = (0.0, 1e3)
IL6_PG_PER_ML = (0.0, 1e6)
# A microgram of DNA is that of 1.5e5 cells: two genomes of 3e9 pairs of 660 g/mol are 6.6 pg. Five copies in
# each is our judgement: products had 1.5 to 2.5 and were allowed 10 (M. Castella et al., Mol. Ther. Methods
# Clin. Dev. 12, 134 (2019), table 2), and not every cell is a CAR-T cell.
COPIES_PER_UG = (0.0, 7.6e5)
