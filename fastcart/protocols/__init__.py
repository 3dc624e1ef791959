"""Dosing protocols of CAR-T trials: calendars, adaptive rules, and the arms of the simulated trial."""

from __future__ import annotations

from fastcart.protocols.adaptive import follow_rule
from fastcart.protocols.arms import (
    Adaptive,
    Arm,
    Calendar,
    Infusion,
    Lymphodepletion,
    administered,
    budgets,
    check_equal_budget,
    schedule_of,
)
from fastcart.protocols.library import ARMS, EXPLORATORY, STANDARD, get, hold_if_crs, lhm_rule
from fastcart.protocols.switch import Reading, Switched, hold_effectors, on_off
from fastcart.protocols.visit import Visit

__all__ = [
    "ARMS",
    "EXPLORATORY",
    "STANDARD",
    "Adaptive",
    "Arm",
    "Calendar",
    "Infusion",
    "Lymphodepletion",
    "Reading",
    "Switched",
    "Visit",
    "administered",
    "budgets",
    "check_equal_budget",
    "follow_rule",
    "get",
    "hold_effectors",
    "hold_if_crs",
    "lhm_rule",
    "on_off",
    "schedule_of",
]
