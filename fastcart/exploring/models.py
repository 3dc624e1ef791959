"""A model behind the page: what it has, and the answer to settings, solved by a prepared solver."""

from __future__ import annotations

import math
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fastcart import models, sample
from fastcart.dose_tables import as_frame
from fastcart.exploring.measured import read_measured
from fastcart.exploring.settings import (
    MOST_PATIENTS,
    QUANTILES,
    DoseRow,
    Settings,
    as_python,
    as_toml,
    log_normal_of,
    outputs_of,
    plain_options,
    read_settings,
    read_toml_text,
)
from fastcart.exploring.summaries import bands, packed, survival, thinned, waterfall
from fastcart.model import Model, Parameter, State
from fastcart.models.core_variables import core_variables
from fastcart.patient_rows import allowed_range
from fastcart.prepared import Solver, prepare

_KEPT = 24  # solvers
_SPREAD, _VARIED = 0.2, 4  # what varies at first: by how much, and how many
_LEAST_GROUP = 3  # parameters of one letter that have a heading of their own
_SIMPLE = {"time", "state", "amount", "duration"}  # columns of doses that the table of the page has


class ModelExplorer:
    """Answers what the page of a model asks; knows nothing of HTTP.

    Parameters
    ----------
    model : Model
    name : str
        What `fastcart.models.get` takes, for exported programs.
    options : mapping, optional
        That it takes beside the name.
    """

    page = "model"

    def __init__(self, model: Model, name: str, options: Mapping[str, Any] | None = None):
        self.model, self.name, self.options = model, name, dict(options or {})
        self._solvers: OrderedDict[Any, Solver] = OrderedDict()

    # --- what the page shows ----------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Return what the page needs to know of the model, in the types of JSON."""
        model, defaults = self.model, self.model.defaults()
        items = [item for item in model.items if not getattr(item, "computed", False)]
        return {
            "model": model.name, "given": self.name, "options": self.options, "variant": plain_options(model),
            "about": _first_sentence(model.doc), "t_end": model.t_end, "time_unit": model.time_unit,
            "burden": model.burden, "most_patients": MOST_PATIENTS,
            "inputs": [self._input(item, defaults[item.name]) for item in items],
            "groups": self._groups(),
            "sums": [{"names": list(s.parameters), "total": s.total} for s in model.constraints],
            "outputs": [
                {"name": o.name, "unit": o.unit, "text": o.description} for o in outputs_of(model)
            ],
            "start": self.start().plain(),
        }  # fmt: skip

    def _input(self, item: Parameter | State, default: float) -> dict[str, Any]:
        low, high = allowed_range(item)
        return {
            "name": item.name, "symbol": getattr(item, "symbol", "") or item.name, "unit": item.unit,
            "default": default, "computed": callable(item.default), "text": item.description,
            "source": getattr(item, "source", ""), "state": isinstance(item, State),
            "low": low if math.isfinite(low) else None, "high": high if math.isfinite(high) else None,
            "reference": self._reference(item, default),
        }  # fmt: skip

    def _reference(self, item: Parameter | State, default: float) -> float:
        """Return what a slider is centred on: the default, or another size that such a quantity has."""
        if default != 0:
            return abs(default)
        if item.name in self.model.typical:
            return abs(self.model.typical[item.name]) or 1.0
        if not isinstance(item, State):
            return min(1.0, item.range[1])
        defaults = self.model.defaults()
        alike = [defaults[s.name] for s in self.model.states if s.unit == item.unit]
        return max(alike, default=0.0) or item.scale

    def _groups(self) -> list[dict[str, Any]]:
        """Return the headings under which sliders stand: starting values, then parameters by their letter."""
        states = [s.name for s in self.model.states if not s.computed]
        heads: dict[str, list[str]] = {}
        for parameter in self.model.parameters:
            head = re.split(r"[_\d]", parameter.symbol or parameter.name, maxsplit=1)[0]
            heads.setdefault(head or parameter.name, []).append(parameter.name)
        few = [name for names in heads.values() if len(names) < _LEAST_GROUP for name in names]
        large = {head: names for head, names in heads.items() if len(names) >= _LEAST_GROUP}
        groups = [{"title": "Starting values", "names": states}]
        groups += [{"title": f"{head} …", "names": names} for head, names in large.items()]
        if few:
            groups.append({"title": "Other parameters" if large else "Parameters", "names": few})
        return groups

    def start(self) -> Settings:
        """Return the settings that the page opens with."""
        model = self.model
        outputs = (model.burden,) if model.burden else (outputs_of(model)[0].name,)
        return Settings(
            t_end=model.t_end, outputs=outputs, spread=dict.fromkeys(self._first_varied(), _SPREAD),
            values={k: float(v) for k, v in model.typical.items() if k in model.state_names},  # the infusion
            doses=self._own_doses(),
        )  # fmt: skip

    def _first_varied(self) -> list[str]:
        """Return parameters that vary at first: of the tumor and the effectors where these are known."""
        model, core = self.model, core_variables(self.model)
        named = {
            *(core.tumor if core else ()),
            *(core.effector if core else ()),
            *filter(None, [model.burden]),
        }
        summed = {name for s in model.constraints for name in s.parameters}
        defaults = model.defaults()
        free = [p for p in model.parameters if not callable(p.default) and p.name not in summed]
        free = [p for p in free if 0 < defaults[p.name] < p.range[1]]
        rates = [p for p in free if "1/" in p.unit] or free
        about = [p for p in rates if named & set(p.name.split("_"))] or rates
        first = [
            s for s in model.states if s.name in named and defaults[s.name] > 0 and not callable(s.default)
        ]
        chosen: list[Parameter | State] = [*about[: _VARIED - 1], *first[:1]]
        return [item.name for item in chosen]

    def _own_doses(self) -> tuple[DoseRow, ...]:
        """Return the doses that a model brings, as far as the table of the page can hold them."""
        given = models.doses(self.model)
        if given is None:
            return ()
        frame = as_frame(given)
        if not set(frame) <= _SIMPLE or any(frame[x].dtype.kind not in "iuf" for x in set(frame) - {"state"}):
            return ()
        return tuple(DoseRow(**{str(k): v for k, v in row.items()}) for row in frame.to_dict("records"))

    # --- answers ----------------------------------------------------------------------------------------

    def read(self, given: Mapping[str, Any]) -> Settings:
        """Check settings as the page or a file has them."""
        return read_settings(given, self.model, self.options)

    def solve(self, given: Mapping[str, Any]) -> bytes:
        """Return what the page draws, as `fastcart.exploring.summaries.packed` packs it."""
        begun, worked = time.perf_counter(), time.process_time()
        meta, arrays = self.answer(self.read(given))
        meta["ms"] = 1e3 * (time.perf_counter() - begun)
        meta["cpu_ms"] = 1e3 * (time.process_time() - worked)
        return packed(meta, arrays)

    def answer(self, settings: Settings) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Solve, and return what is said of all patients, and what is drawn, by name.

        ``t``; for each output ``band:<name>``, shape (quantiles, times), and ``line:<name>``, shape (lines,
        times); where the model has a burden, ``day`` and ``share`` without progression, and ``waterfall``.
        """
        model = self.model
        kept = tuple(dict.fromkeys([*settings.outputs, *filter(None, [model.burden])]))
        columns, values = self.patients(settings)
        solution = self._solver(settings, columns, kept)(values)
        ok, times = solution.status == 0, settings.times
        solved: Any = slice(None) if ok.all() else ok  # a slice copies nothing
        saved = {name: column.reshape(len(ok), times)[solved] for name, column in solution.saved.items()}
        arrays = {"t": np.linspace(0.0, settings.t_end, times)}
        meta: dict[str, Any] = {
            "patients": len(ok), "ok": int(ok.sum()), "status": solution.summary(),
            "settings": settings.plain(), "median": None, "censored": None,
        }  # fmt: skip
        if not ok.any():
            return meta, arrays
        shown: Any = thinned(int(ok.sum()), settings.lines) if settings.lines else []
        for name in settings.outputs:
            arrays[f"band:{name}"] = bands(saved[name], QUANTILES)
            arrays[f"line:{name}"] = saved[name][shown]
        if model.burden:
            pfs, censored = (solution.endpoints[name][ok] for name in ("pfs", "censored"))
            arrays["day"], arrays["share"], meta["median"] = survival(pfs, censored.astype(bool))
            meta["censored"] = float(censored.mean())
            cells = model.states[model.burden_index].unit == "cells"
            start = saved[model.burden][:, 0]
            arrays["waterfall"] = waterfall(start, solution.endpoints["nadir"][ok], cells=cells)
        return meta, arrays

    def patients(self, settings: Settings) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the columns that are not at their defaults, and their values, a row for each patient.

        Draws of a column follow from the seed and its name alone: a slider moves patients, and draws nobody.
        """
        varied = log_normal_of(settings, self.model)
        columns = tuple(sorted({*settings.values, *varied}))
        values = np.empty((settings.patients if varied else 1, len(columns)))
        for k, name in enumerate(columns):
            if name in varied:
                values[:, k] = _drawn(name, varied[name], settings.patients, settings.seed)
            else:
                values[:, k] = settings.values[name]
        return columns, values

    def _solver(self, settings: Settings, columns: Sequence[str], kept: Sequence[str]) -> Solver:
        """Return the solver of such settings; only the last ones are kept."""
        key = (columns, kept, settings.t_end, settings.times, settings.doses, settings.rtol)
        if key not in self._solvers:
            self._solvers[key] = prepare(
                self.model, columns, doses=settings.schedule(), save=kept, t_end=settings.t_end,
                rtol=settings.rtol,
                save_at=np.linspace(0.0, settings.t_end, settings.times),
            )  # fmt: skip
            while len(self._solvers) > _KEPT:
                self._solvers.popitem(last=False)
        self._solvers.move_to_end(key)
        return self._solvers[key]

    def python(self, given: Mapping[str, Any]) -> str:
        """Return settings as a program."""
        return as_python(self.read(given), self.model, self.name, self.options)

    def toml(self, given: Mapping[str, Any]) -> str:
        """Return settings as TOML."""
        return as_toml(self.read(given), self.model, self.options)

    def load(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that a text of TOML holds, in the types of JSON."""
        return self.read(read_toml_text(str(given.get("text", "")))).plain()

    def measured(self, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the measurements that a text of CSV holds, see `fastcart.exploring.measured`."""
        return read_measured(str(given.get("text", "")), self.model)


@lru_cache(maxsize=256)
def _drawn(name: str, column: tuple[float, ...], patients: int, seed: int) -> np.ndarray:
    """Return the values of a column that varies; the array is not to be changed."""
    return sample.log_normal({name: column}, patients, seed=seed)[name].to_numpy()


def _first_sentence(text: str) -> str:
    """Return the beginning of a description, up to the end of a sentence."""
    begin = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)\d]\.) (?=[A-Z])", begin, maxsplit=1)[0]
