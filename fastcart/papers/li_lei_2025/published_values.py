"""Numbers that Li & Lei 2025 state, in the text or in the published result files, to compare against.

These are the only results in the reproduction that are not computed. The result files hold five digits.
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT = "text"
CAPTION = "caption"
FILE = "result file"
RESPONSE_DAYS = 2.0  # a responder has a PFS longer than this (Section 3)


@dataclass(frozen=True)
class Published:
    """One published number.

    Parameters
    ----------
    value : float
    digits : int
        Significant digits that were printed.
    source : str
        Where it stands.
    erratum : int, optional
        The erratum that says why no solution agrees with it.
    """

    value: float
    digits: int
    source: str = FILE
    erratum: int | None = None

    def agrees(self, value: float) -> bool:
        """Say whether a number is the same to the printed digits."""
        return round_digits(value, self.digits) == round_digits(self.value, self.digits)


def round_digits(value: float, digits: int) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits - 1}e}")


# Figure 2(a): Pearson correlation of PFS with each parameter, of the responders (PFS above 2 days) among
# patients 1 to 500 of the published parameter file, with the PFS in that file
PUBLISHED_PATIENTS, PUBLISHED_RESPONDERS = 500, 445
PFS_CORRELATION = {
    "lambda_TM": 0.0758, "lambda_C": -0.559, "lambda_TPE": -0.127, "lambda_TEM": -0.0696,
    "lambda_TME": -0.0021, "k_TE": 0.569, "k_T4": -0.011, "d_T4": 0.0292, "d_TP": 0.0176, "d_TE": -0.225,
    "d_C": 0.0263, "K_1": 0.0294, "K_2": -0.0513, "K_3": -0.033, "lambda_T4_I2": -0.0723,
    "lambda_TP_I2": 0.00401, "lambda_Tr_I2": -0.0553, "lambda_M_Ig": -0.0709, "lambda_I2_T4": -0.0487,
    "lambda_Ig_TE": -0.0949, "lambda_Ig_T4": 0.0961, "lambda_Tb_C": 0.0051, "lambda_I6_M": 0.0152,
    "K_TP": 0.055, "K_T4": -0.0145, "K_Tr": -0.0308, "K_I2": 0.0706, "K_I6": -0.0451, "K_Ig": 0.0631,
    "K_Tb": 0.0616, "K_TM0": 0.0454, "K_TM1": -0.0378, "K_C": 0.0392, "M_0": -0.0615, "d_M": -0.0537,
    "d_Tr": 0.0346, "d_TM": 0.0403, "d_I2": 0.0717, "d_Tb": -0.0911, "d_Ig": 0.0612, "d_I6": 0.0476,
}  # fmt: skip

# Figure 2, statements of the text: all coefficients of (a) but those of lambda_C and k_TE are this small, and
# (d), the coefficient of k_TE with the tumor at day 200
INSENSITIVE = Published(0.2, 1, "text on 2(a)")
K_TE_DAY_200 = Published(-0.05, 1, "text on 2(d)")

# Table 3: names of the parameters of Figure 2(a), in its order; `PFS_CORRELATION` has them in the order
# of the published parameter file
TABLE_3 = (
    "lambda_TM", "lambda_C", "lambda_TPE", "lambda_TEM", "lambda_TME", "k_TE", "k_T4", "d_T4", "d_TP", "d_TE",
    "d_C", "K_1", "K_2", "K_3", "lambda_T4_I2", "lambda_TP_I2", "lambda_Tr_I2", "lambda_M_Ig",
    "lambda_I2_T4", "lambda_Ig_TE", "lambda_Ig_T4", "lambda_Tb_C", "lambda_I6_M", "K_TP", "K_T4", "K_Tr",
    "K_TM", "K_I2", "K_I6", "K_Ig", "K_Tb", "K_TM0", "K_TM1", "K_C", "M_0", "d_M", "d_Tr", "d_TM", "d_I2",
    "d_Tb", "d_Ig", "d_I6",
)  # fmt: skip

# Figure 4(a): where the tumor settles without CAR-T cells (cells), and the file at day 1
SETTLES = Published(1.2e10, 2, TEXT, erratum=3)
UNTREATED_DAY_1 = Published(2.2704e7, 5, FILE, erratum=3)
# and some days of that file (cells)
UNTREATED = {
    0.0: 1e6, 10.0: 7.1799e9, 20.0: 1.0621e10, 25.0: 1.1267e10, 28.0: 1.1498e10, 30.0: 1.1610e10,
    40.0: 1.1890e10, 50.0: 1.1969e10, 200.0: 1.2e10,
}  # fmt: skip

# Figure 4(b): cells at day 50 after TE = 1e7, TM = 1e3
COARSE_DAY_50 = {"TE": Published(1232.5, 5), "TM": Published(1805.3, 5), "C": Published(62.775, 5)}

# Figure 4(c): tumor cells at day 50, by dose of effector cells
EFFECTOR_DAY_50 = {
    2e6: Published(2.0839e9, 5),
    5e6: Published(2.0777e9, 5),
    7e6: Published(2.0664e9, 5),
    9e6: Published(482.24, 5),
}

# Figure 4(d): tumor cells at day 50, by dose of memory cells
MEMORY_DAY_50 = {2e3: Published(18487.0, 5), 6e3: Published(3.7829e8, 5)}

# Figure 4(f): the threshold of the effector dose (cells)
THRESHOLD_CAPTION = Published(0.85e6, 2, CAPTION, erratum=4)
THRESHOLD_SECTION = Published(0.9e6, 1, "text on 4(f)", erratum=4)
THRESHOLD_TUMOR = Published(0.9e7, 1, "text on 4(c)")

# Figure 5: PFS (days, stated with Figure 8), and the file at day 50 (cells)
CONTROL_PFS = Published(76, 2, "text on Figure 8")
CONTROL_DAY_50 = {
    "T4": Published(1.0193, 5),
    "TP": Published(1.4069e5, 5),
    "TE": Published(6.0319e5, 5),
    "TM": Published(17969.0, 5),
    "Tr": Published(56.299, 5),
    "C": Published(11.141, 5),
    "M": Published(1132.4, 5),
}

# Figure 6: PFS (days) of plans A, and tumor cells at day 50
PFS_PLAN_A = {
    "A1": Published(76, 2),
    "A2": Published(104, 3),
    "A3": Published(68, 2),
    "A4": Published(73, 2),
    "A5": Published(75, 2),
    "A6": Published(1, 1),
}
TUMOR_DAY_50_PLAN_A = {
    "A1": Published(11.141, 5),
    "A2": Published(56.033, 5),
    "A3": Published(24.930, 5),
    "A4": Published(17.213, 5),
    "A5": Published(12.288, 5),
    "A6": Published(1.9064e9, 5),
}

# PFS (days) of plans C, by the numbers of Figure 6(g); the result file begins with the control: erratum 10
PLAN_C_FILE = (76, 73, 74, 72, 80, 83, 71)
PFS_PLAN_C = {
    plan: Published(days, 2)
    for plan, days in zip(("C7", "C1", "C2", "C3", "C4", "C5", "C6"), PLAN_C_FILE, strict=True)
}

# Figure 6, statements of the text on plans B
PLAN_B_BEST_TOTAL = Published(10e6, 1, TEXT)
PLAN_B_INEFFECTIVE_TOTAL = Published(5e6, 1, TEXT)

# Figure 7(g) and its text: range of the PFS (days) after optimised doses
OPTIMISED_PFS_RANGE = (70.0, 100.0)
# and the range in the result file, of its first 200 burdens
FILE_PFS_RANGE = (74.0, 101.0)

# Figure 8: the optimised dose and its tumor burden (cells), PFS (days), and the file at day 50 (cells)
FIGURE_8_START = {
    "T4": 7072.3, "TP": 4.0798e6, "TE": 4.0894e6, "TM": 187.66, "Tr": 860.08, "C": 1.0198e6,
}  # fmt: skip
OPTIMISED_PFS = Published(101, 3, TEXT)
OPTIMISED_DAY_50 = {
    "T4": Published(0.56112, 5),
    "TP": Published(844340.0, 5),
    "TE": Published(219570.0, 5),
    "TM": Published(1866.9, 5),
    "Tr": Published(46.612, 5),
    "C": Published(3.4963, 5),
    "M": Published(190.72, 5),
}

# Figure 10: range of the PFS (days) with averaged doses and with random proportions; range of proportions
AVERAGED_PFS_RANGE = (70.0, 100.0)
RANDOM_PFS_RANGE = (65.0, 100.0)
PROPORTION_RANGES = {
    "T4": (5.6e-4, 7.6e-4), "TP": (0.47, 0.51), "TE": (0.49, 0.53), "TM": (2.8e-5, 4.8e-5),
    "Tr": (0.2e-5, 1e-4),
}  # fmt: skip
