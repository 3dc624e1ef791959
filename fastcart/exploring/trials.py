"""A trial behind the page: its arms with sliders, each solved anew where it changes, beside the frontier."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastcart.checks import number, shown
from fastcart.errors import InputError, require
from fastcart.exploring.arm_fields import as_json, as_toml, changed, entries_of, fields_of
from fastcart.exploring.summaries import finite, packed, thinned
from fastcart.population import Population
from fastcart.protocols import Arm
from fastcart.protocols import get as get_arm
from fastcart.trial.counterfactual import arm_course
from fastcart.trial.curves import kaplan_meier
from fastcart.trial.frontier import isotoxic
from fastcart.trial.outcomes import expected, outcomes
from fastcart.trial.recruit import calibrated, recruited
from fastcart.trial.spec import TrialSpec, make_spec, read_table

MOST_PATIENTS, USUAL_PATIENTS = 5000, 1000
SHOWN = 6  # arms that are solved at first
BENEFITS = ("CR90", "EFS365", "EFS730", "OS365", "OS730")
HARMS = ("crs3", "crs4", "toxic_death")
CURVES = ("os", "efs")
_DOSES_A_TIME = 2  # of the frontier, in one answer
_KEPT = 400  # arms with their settings
_STEPS = 400


@dataclass(frozen=True)
class Solved:
    """What is shown of an arm, or of a dose of the single infusion."""

    expected: dict[str, float]
    curves: dict[str, np.ndarray]
    patients: int
    ok: int


class TrialExplorer:
    """Answers what the page of a trial asks; knows nothing of HTTP.

    Parameters
    ----------
    path : Path
        The specification.

    Raises
    ------
    InputError
        For a bad specification.
    """

    page = "trial"

    def __init__(self, path: Path):
        self.path, self.raw = path, read_table(path)
        self.spec = self._made(self.raw)
        entries = entries_of(self.raw)
        self.fields = {
            arm.name: fields_of(
                arm, entries.get(arm.name, {}), dose=self.spec.dose, assay_sd=self.spec.assay_sd
            )
            for arm in self.spec.arms
        }
        if self.spec.population.calibrate and self.spec.population.folder is None:
            require("A population that is calibrated", ("statsmodels",))
        folder = self.spec.population.folder
        self.available = self.spec.population.patients if folder is None else len(Population.load(folder))
        self.most = MOST_PATIENTS if folder is None else min(MOST_PATIENTS, self.available)
        self._solved: OrderedDict[str, Solved] = OrderedDict()
        self._patients: dict[int, pd.DataFrame] = {}

    def _made(self, raw: Mapping[str, Any]) -> TrialSpec:
        return make_spec(raw, folder=self.path.parent)

    def facts(self) -> dict[str, Any]:
        """Return what the page needs to know of the trial, in the types of JSON."""
        spec = self.spec
        return {
            "trial": spec.title, "given": str(self.path), "model": spec.adapter.model.name,
            "horizon": spec.horizon, "control": spec.control.name,
            "arms": [
                {"name": arm.name, "title": arm.title, "shown": k < SHOWN,
                 "fields": as_json(self.fields[arm.name])}
                for k, arm in enumerate(spec.arms)
            ],
            "benefits": [name for name in BENEFITS if int(name.strip("CREFSO")) <= spec.horizon],
            "harms": list(HARMS), "doses": list(spec.frontier),
            "patients": min(USUAL_PATIENTS, self.available), "most_patients": self.most,
        }  # fmt: skip

    # --- answers ----------------------------------------------------------------------------------------

    def solve(self, given: Mapping[str, Any]) -> bytes:
        """Return what the page draws, as `fastcart.exploring.summaries.packed` packs it."""
        begun, worked = time.perf_counter(), time.process_time()
        meta, arrays = self.answer(given)
        meta["ms"], meta["cpu_ms"] = 1e3 * (time.perf_counter() - begun), 1e3 * (time.process_time() - worked)
        return packed(meta, arrays)

    def answer(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Solve the arms that are shown and changed, then a few doses of the frontier that are not known yet.

        Parameters
        ----------
        given : mapping
            ``arms``: name of each arm that is shown to its sliders by name; ``patients``; ``draft``: of so
            many of them alone what is not known yet is solved, 0 for all; ``frontier``: whether to go on with
            it.

        Returns
        -------
        meta : dict
            Of each arm its expected outcomes, and gains over the single infusion of equal toxicity where the
            frontier is complete; the ``frontier`` so far, and how many doses are ``left``.
        arrays : dict
            For each arm ``os:<name>:day``, ``os:<name>:share`` and the same of ``efs``.
        """
        arms, doses, contents = self._arms(given)
        count = _count(given.get("patients", min(USUAL_PATIENTS, self.available)), 1, self.most, "patients")
        draft = _count(given.get("draft", 0), 0, MOST_PATIENTS, "patients of a draft")
        of = {}
        for name, arm in arms.items():
            sd = number(given["arms"][name].get("assay_sd", self.spec.assay_sd), "The noise assay_sd")
            key = json.dumps([name, contents[name], doses[name], sd, count])
            of[name] = self._of(key, partial(self._solve, arm, doses[name], sd, count), draft)
        scan, left = self._frontier(count, go_on=bool(given.get("frontier")))
        rows = [{"arm": name, "dose": doses[name], **found.expected} for name, found in of.items()]
        if not left:
            rows = self._with_gains(rows, scan)
        meta = {
            "arms": [_plain(x) for x in rows], "frontier": [_plain(x) for x in scan], "left": left,
            "patients": count, "solved": {name: [x.ok, x.patients] for name, x in of.items()},
        }  # fmt: skip
        return meta, {f"{kind}:{name}:{part}": values
                      for name, found in of.items()
                      for key, values in found.curves.items()
                      for kind, part in [key.split(":")]}  # fmt: skip

    def _arms(self, given: Mapping[str, Any]) -> tuple[dict[str, Arm], dict[str, float], dict[str, Any]]:
        """Return the arms that are shown, the cells of their products, and what each is made of."""
        asked = given.get("arms")
        if not isinstance(asked, Mapping) or not all(isinstance(x, Mapping) for x in asked.values()):
            raise InputError(f"The arms must be a table of tables, not {shown(asked)}.")
        raw = changed(self.raw, asked, self.fields)
        made, entries = {arm.name: arm for arm in self._made(raw).arms}, entries_of(raw)
        doses = {
            name: number(values.get("dose", self.spec.dose), f"The dose of the arm {name!r}", positive=True)
            for name, values in asked.items()
        }
        # of an open loop also the arm that it follows
        contents = {
            name: [entries.get(name), entries.get(entries.get(name, {}).get("of", ""))] for name in asked
        }
        return {name: made[name] for name in asked}, doses, contents

    def _of(self, key: str, solve: Callable[[int], Solved], draft: int) -> Solved:
        """Return an arm, of all patients where that is known already."""
        if key in self._solved or not draft:
            return self._kept(key, lambda: solve(0))
        return self._kept(f"{key} {draft}", lambda: solve(draft))

    def _kept(self, key: str, make: Callable[[], Solved]) -> Solved:
        if key not in self._solved:
            self._solved[key] = make()
            while len(self._solved) > _KEPT:
                self._solved.popitem(last=False)
        self._solved.move_to_end(key)
        return self._solved[key]

    def _solve(self, arm: Arm, dose: float, assay_sd: float, count: int, draft: int = 0) -> Solved:
        patients = self.patients(count)
        if draft:
            patients = patients.iloc[:draft]
        spec = self.spec
        course = arm_course(
            arm, patients, dose=dose, noise_seed=spec.noise_seed, assay_sd=assay_sd, model=spec.adapter,
            options=spec.options,
        )  # fmt: skip
        found = outcomes(course)
        ok = (found["status"] == "ok").to_numpy()
        curves: dict[str, np.ndarray] = {}
        for kind in CURVES if ok.any() else ():
            curve = kaplan_meier(found[kind].to_numpy()[ok], found[f"{kind}_event"].to_numpy()[ok])
            keep = thinned(len(curve.day), _STEPS)
            curves |= {f"{kind}:day": curve.day[keep], f"{kind}:share": curve.survival[keep]}
        means = {str(name): float(value) for name, value in expected(course).items()}
        return Solved(means, curves, len(ok), int(ok.sum()))

    def _frontier(self, count: int, *, go_on: bool) -> tuple[list[dict[str, float]], int]:
        """Return the single infusion at the doses that are known, and how many are left."""
        rows, left, solved, single = [], 0, 0, get_arm("A0")
        for dose in self._in_order():
            key = json.dumps(["the frontier", dose, count])
            if key not in self._solved and go_on and solved < _DOSES_A_TIME:
                solved += 1
                self._kept(key, partial(self._solve, single, dose, self.spec.assay_sd, count))
            if key in self._solved:
                rows.append({"dose": dose, **self._solved[key].expected})
            else:
                left += 1
        return sorted(rows, key=lambda row: row["dose"]), left

    def _in_order(self) -> list[float]:
        """Return the doses of the frontier so that its shape is seen early: every fourth at first."""
        doses = list(self.spec.frontier)
        first = [*doses[::4], doses[-1], *doses[2::4], *doses]
        return list(dict.fromkeys(first))

    def _with_gains(self, rows: list[dict[str, Any]], scan: list[dict[str, float]]) -> list[dict[str, Any]]:
        if not rows:
            return rows
        gains = isotoxic(pd.DataFrame(rows).set_index("arm"), pd.DataFrame(scan))
        more = gains[[name for name in gains if str(name).startswith("gain_")]].assign(
            equal_dose=gains["dose"]
        )
        return [{**row, **more.loc[row["arm"]].to_dict()} for row in rows]

    # --- who is treated ---------------------------------------------------------------------------------

    @cached_property
    def _fitted(self) -> Any:
        given = self.spec.population
        return calibrated(self.spec) if given.calibrate and given.folder is None else None

    def patients(self, count: int) -> pd.DataFrame:
        """Return so many patients of the trial, in an order of which every beginning is a sample."""
        if count not in self._patients:
            drawn = recruited(self.spec, patients=count, fitted=self._fitted).patients
            order = np.random.default_rng(self.spec.population.seed).permutation(len(drawn))[:count]
            self._patients = {count: drawn.iloc[order].reset_index(drop=True)}
        return self._patients[count]

    def toml(self, given: Mapping[str, Any]) -> str:
        """Return the specification with the sliders, for ``fastcart trial``."""
        _, doses, _ = self._arms(given)
        raw = changed(self.raw, given["arms"], self.fields)
        dose = doses.get(self.spec.control.name, self.spec.dose)
        sds = {values["assay_sd"] for values in given["arms"].values() if "assay_sd" in values}
        notes = ["# as explored; fastcart trial THIS FILE --out FOLDER"]
        others = {name: x for name, x in doses.items() if x != dose}
        if others:
            listed = ", ".join(f"{name} with {x:g}" for name, x in others.items())
            notes.append(f"# a trial gives every arm one dose, that of the control; explored were {listed}")
        if len(sds) > 1:
            notes.append(
                "# a trial has one assay_sd; explored were " + ", ".join(f"{sd:g}" for sd in sorted(sds))
            )
        more = {"dose": dose} | ({"assay_sd": sds.pop()} if len(sds) == 1 else {})
        return "\n".join(notes) + "\n" + as_toml({**raw, **more})


def _count(value: Any, low: int, high: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"The {what} must be a whole number from {low} to {high}, not {shown(value)}.")
    return value


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: finite(value) if isinstance(value, float) else value for name, value in row.items()}
