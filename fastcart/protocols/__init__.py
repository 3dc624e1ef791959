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
from fastcart.protocols.controlled import Controlled, Session, mean_activity, without_measurement
from fastcart.protocols.controlled_arms import Design, OpenLoop
from fastcart.protocols.controllers import (
    TARGETS,
    Blockade,
    Controller,
    LateMemory,
    Promotion,
    Replay,
    Start,
    Target,
    target,
)
from fastcart.protocols.library import ARMS, EXPLORATORY, STANDARD, get, hold_if_crs, lhm_rule
from fastcart.protocols.measurement import EXACT, Assays, Command, History
from fastcart.protocols.switch import Reading, Switched, hold_effectors, on_off
from fastcart.protocols.visit import Visit

__all__ = [
    "ARMS",
    "EXACT",
    "EXPLORATORY",
    "STANDARD",
    "TARGETS",
    "Adaptive",
    "Arm",
    "Assays",
    "Blockade",
    "Calendar",
    "Command",
    "Controlled",
    "Controller",
    "Design",
    "History",
    "Infusion",
    "LateMemory",
    "Lymphodepletion",
    "OpenLoop",
    "Promotion",
    "Reading",
    "Replay",
    "Session",
    "Start",
    "Switched",
    "Target",
    "Visit",
    "administered",
    "budgets",
    "check_equal_budget",
    "follow_rule",
    "get",
    "hold_effectors",
    "hold_if_crs",
    "lhm_rule",
    "mean_activity",
    "on_off",
    "schedule_of",
    "target",
    "without_measurement",
]
