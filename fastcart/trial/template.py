"""A specification of a trial with comments, to begin with, and what is said about the arms."""

from __future__ import annotations

from pathlib import Path

from fastcart.protocols import EXPLORATORY, STANDARD, Adaptive, Arm
from fastcart.protocols.controlled_arms import ACTUATORS, MEMORY
from fastcart.protocols.controllers import TARGET_WORDS, TARGETS
from fastcart.specification import write_new
from fastcart.trial.own_arms import KINDS

TEMPLATE = """\
# A simulated randomized trial: fastcart trial FILE --out FOLDER
# What is left out has the value that is shown here, but for the arms.

title = "Controlled CAR-T cells against a single infusion"
control = "A0"      # the arm that all others are compared with
dose = 1e8          # cells of a product
horizon = 730       # days of follow-up, at least 365
noise_seed = 1      # of what is measured

# Arms: all that `fastcart arms` lists by name, and own ones of some kind.

[[arms]]
name = "A0"

[[arms]]
name = "RISE"
kind = "controlled"   # active cells are held near a target by what is measured
target = "RISE_T"     # FLAT, RISE_T, RISE_B, RISE_TB or REV
cells = 3e9           # active cells on day 0
actuator = "fraction" # fraction, graded, depletion or none
memory = "promote"    # first, last, extra or promote
factor = 10           # of promotion, or the extra memory cells in products
# rise = 0.1          # 1/day, instead of that of the target
# burden_power = 0.0  # of the fall of the measured burden, instead of that of the target
# il6_hold = 400      # pg/mL above which the cells are off
# delay = 1           # days until a result is known
# cells_sd = 0.35     # of the logarithm of measured CAR-T cells; burden_sd and il6_sd likewise
# visits = [1, 2, 3, 4, 5, 6, 7, 10, 14, 21, 28]
# rule = "FILE.py:FUNCTION"  # instead of target and memory: function(history) returns a Command

[[arms]]
name = "OPEN"
kind = "open-loop"    # the mean activity of a controlled arm, the same for everybody
of = "RISE"

[[arms]]
name = "HALVES"
kind = "calendar"     # infusions on fixed days, as fractions of a product
infusions = [
    {day = 0, effectors = 0.5, memory = 0.5},
    {day = 7, effectors = 0.5, memory = 0.5},
]

[population]
patients = 3000     # virtual patients, of equal weight
sample = 6000       # that the calibration weights
seed = 1

[trial]
treatments = ["RISE"] # arms that are randomized against the control
n_per_arm = 80
primary = "EFS24"   # or OS24, CR90, crs3, crs4, toxic_death; the others are adjusted for each other (Holm)
seed = 2024

[power]
sizes = [40, 80, 160, 320]
replicates = 1000

[frontier]
doses = [3e5, 6e5, 1.2e6, 2.5e6, 5e6, 1e7, 2e7, 4e7, 7e7, 1e8, 1.5e8, 2.5e8, 5e8, 1e9, 2e9]
"""


def write_template(path: str | Path) -> Path:
    """Write a specification with comments.

    Parameters
    ----------
    path : str or Path
        Of the new TOML file.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        For a file that is there already, or cannot be written.
    """
    return write_new(path, TEMPLATE)


def listed_arms() -> str:
    """Return the arms that have a name, and the kinds that a specification may make, with their words."""
    lines = ["Arms of the library, by name:"]
    for heading, arms in (("Standard", STANDARD), ("Exploratory", EXPLORATORY)):
        lines += ["", f"  {heading}"]
        lines += [f"    {arm.name:5} {arm.title}{_note(arm)}" for arm in arms]
    lines += ["", "Kinds of own arms, [[arms]] of a specification:", ""]
    lines += [f"    {name:11} {words}" for name, words in KINDS.items()]
    for heading, words in (
        ("Targets of controlled arms (target =)", {name: _target(name) for name in TARGETS}),
        ("Actuators (actuator =)", ACTUATORS),
        ("Memory (memory =)", MEMORY),
    ):
        lines += ["", f"  {heading}"]
        lines += [f"    {name:11} {text}" for name, text in words.items()]
    lines += ["", "fastcart trial --init FILE.toml writes a specification with comments."]
    return "\n".join(lines)


def _target(name: str) -> str:
    rise, power = TARGETS[name]
    return f"{TARGET_WORDS[name]} (rise {rise:g} per day, burden power {power:g})"


def _note(arm: Arm) -> str:
    parts = (["adaptive"] if isinstance(arm, Adaptive) else []) + (
        [] if arm.equal_budget else ["not the patient's own number of cells"]
    )
    return f" ({', '.join(parts)})" if parts else ""
