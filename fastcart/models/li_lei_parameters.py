"""Parameters of Li & Lei 2025, Tables 1 and 2, with the corrections that their own results imply."""

from __future__ import annotations

from fastcart.model import Parameter

REFERENCE = (
    "R. Li, J. Lei, Optimal therapy schedule of chimeric antigen receptor (CAR) T cell immunotherapy, "
    "Mathematical Biosciences and Engineering 22(7):1653-1679 (2025), doi 10.3934/mbe.2025061"
)

_RATE = "1/day"
_SECRETION = "ng/(ml day cell)"
_CONCENTRATION = "ng/ml"
_BINDING = "1/cells"

# name, symbol, default, unit, source, description
_TABLE = (
    ("lambda_T4_I2", "λ_{T4I2}", 0.25, _RATE, "Table 1", "IL-2 driven proliferation of CD4+ CAR-T"),
    ("lambda_TP_I2", "λ_{TPI2}", 1.5, _RATE, "Table 1", "IL-2 driven proliferation of pre-CD8+ CAR-T"),
    ("lambda_Tr_I2", "λ_{TrI2}", 0.038, _RATE, "Table 1", "IL-2 driven proliferation of CAR-Treg"),
    ("lambda_M_Ig", "λ_{MIγ}", 0.25, _RATE, "Table 1", "IFN-γ driven differentiation of monocytes"),
    ("lambda_I2_T4", "λ_{I2T4}", 0.46e-4, _SECRETION, "Table 1", "IL-2 production per CD4+ CAR-T cell"),
    ("lambda_Ig_TE", "λ_{IγTE}", 0.74e-9, _SECRETION, "Table 1", "IFN-γ production per effector cell"),
    ("lambda_Ig_T4", "λ_{IγT4}", 0.58e-9, _SECRETION, "Table 1", "IFN-γ production per CD4+ cell"),
    ("lambda_Tb_C", "λ_{TβC}", 0.11e-4, _SECRETION, "Table 1", "TGF-β production per tumor cell"),
    ("lambda_I6_M", "λ_{I6M}", 0.52e-5, _SECRETION, "Table 1", "IL-6 production per macrophage"),
    ("K_TP", "K_{TP}", 5e7, "cells", "Table 1", "listed half-saturation; appears in no equation"),
    ("K_T4", "K_{T4}", 1e4, "cells", "Table 1", "listed half-saturation; appears in no equation"),
    ("K_Tr", "K_{Tr}", 1e4, "cells", "Table 1", "half-saturation of inhibition by CAR-Treg"),
    ("K_C", "K_C", 5e7, "cells", "Table 1", "half-saturation of tumor growth"),
    ("K_I2", "K_{I2}", 1e-1, _CONCENTRATION, "Table 1", "half-saturation of IL-2"),
    ("K_I6", "K_{I6}", 2.5e-3, _CONCENTRATION, "Table 1", "half-saturation of IL-6"),
    ("K_Ig", "K_{Iγ}", 1e-2, _CONCENTRATION, "Table 1", "half-saturation of IFN-γ"),
    ("K_Tb", "K_{Tβ}", 1e-3, _CONCENTRATION, "Table 1", "half-saturation of TGF-β"),
    ("lambda_C", "λ_C", 3.3, _RATE, "Table 1", "proliferation of tumor cells"),
    ("k_TE", "k_{TE}", 3.57, _RATE, "Table 1", "maximum killing by effector CAR-T cells"),
    ("lambda_TM", "λ_{TM}", 0.02, _RATE, "Table 1", "proliferation of memory CAR-T cells"),
    ("lambda_TEM", "λ_{TEM}", 0.26e-4, _RATE, "Table 1", "conversion of effector to memory CAR-T"),
    ("lambda_TME", "λ_{TME}", 0.1e-5, _RATE, "Table 1", "reactivation of memory to effector CAR-T"),
    ("k_T4", "k_{T4}", 0.08, _RATE, "Table 1", "maximum killing by CD4+ CAR-T cells"),
    ("K_TM0", "K_{TM0}", 0.2, "cells", "Table 2", "half-saturation of memory growth without tumor"),
    ("K_TM1", "K_{TM1}", 20.0, "cells", "Table 2", "added half-saturation of memory growth by tumor"),
    ("K_1", "K_1", 0.05, _BINDING, "Table 2", "binding constant effector CAR-T : tumor"),
    ("K_2", "K_2", 0.04, _BINDING, "Table 2", "binding constant memory CAR-T : tumor"),
    ("K_3", "K_3", 0.001, _BINDING, "Table 2", "binding constant CD4+ CAR-T : tumor"),
    ("lambda_TPE", "λ", 0.2, _RATE, "Table 2", "conversion of pre-CD8+ to effector by IL-6, IFN-γ"),
    ("d_T4", "d_{T4}", 0.20, _RATE, "Table 2", "death of CD4+ CAR-T cells"),
    ("d_TP", "d_{TP}", 0.07, _RATE, "Table 2", "death of pre-CD8+ CAR-T cells"),
    ("d_TE", "d_{TE}", 0.18, _RATE, "Table 2", "death of effector CAR-T cells"),
    (
        "d_TM", "d_{TM}", 0.0065, _RATE, "Figure 4 caption",
        "death of memory CAR-T cells (Table 2 prints a further power of ten that no result used)",
    ),
    ("d_Tr", "d_{Tr}", 0.06, _RATE, "Table 2", "death of CAR-Treg cells"),
    ("d_C", "d_C", 0.075, _RATE, "Table 2", "natural death of tumor cells"),
    ("d_M", "d_M", 0.03, _RATE, "Table 2", "death of macrophages"),
    ("d_I2", "d_{I2}", 7.7, _RATE, "Table 2", "degradation of IL-2"),
    ("d_Tb", "d_{Tβ}", 5.0, _RATE, "Table 2", "degradation of TGF-β"),
    ("d_Ig", "d_{Iγ}", 4.16, _RATE, "Table 2", "degradation of IFN-γ"),
    ("d_I6", "d_{I6}", 4.0, _RATE, "Table 2", "degradation of IL-6"),
    ("M_0", "M_0", 1e3, "cells", "Table 2", "precursor cells of macrophages"),
)  # fmt: skip

PARAMETERS = tuple(
    Parameter(
        name, default, unit=unit, symbol=symbol, source=f"Li & Lei 2025, {source}",
        description=description,
    )
    for name, symbol, default, unit, source, description in _TABLE
)  # fmt: skip

BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}
