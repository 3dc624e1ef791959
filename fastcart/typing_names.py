"""The words that options take, as types: editors complete them, type checkers know misspelt ones.

What is checked when a program runs are registries of engines, methods, models; a test holds the two equal.
"""

from __future__ import annotations

from typing import Literal

ModelName = Literal[
    "li_lei", "li_lei_cytokines", "li_lei_coarse", "b_all", "t_cell", "cart_kinetics", "carrgo", "hanson",
    "leon_triana", "leon_triana_solid", "barros", "chaudhury", "kimmel", "hardiansyah", "mullinax", "kirouac",
    "crauste",
]  # fmt: skip
Engine = Literal["auto", "lanes", "lsoda", "published", "scipy"]
Method = Literal[
    "tsit5", "vern7", "dop853", "stab5", "rodas5p", "lsoda", "rk4", "DOP853", "Radau", "RK45", "BDF", "LSODA"
]
SensitivityMethod = Literal["pearson", "spearman", "prcc", "concordance", "sobol", "morris", "fast"]
Censored = Literal["keep", "drop"]
OptimizationMethod = Literal["pso", "cmaes", "de"]
Goal = Literal["maximize", "minimize"]
Topology = Literal["global", "ring"]
AggregateName = Literal["mean", "median", "min", "max"]
Sampler = Literal["random", "latin_hypercube", "sobol", "grid"]
Direction = Literal["up", "down", "both"]
ActionKind = Literal["set", "add", "scale"]
EquationStyle = Literal["text", "latex"]
Randomization = Literal["simple", "blocks", "stratified"]
TableFormat = Literal["csv", "parquet"]
