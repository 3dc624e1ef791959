"""A population: means, spreads, covariates and errors that make all measurements most likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fastcart.checks import count, number, seed_of, shown
from fastcart.engines import as_model
from fastcart.errors import InputError
from fastcart.fit.complete import Complete, solves_of_slopes
from fastcart.fit.data import FitData, check_data
from fastcart.fit.effects import Effects, Values, check_effects, check_start, with_errors
from fastcart.fit.estimates import typical_errors
from fastcart.fit.expected import Expected, OneStart
from fastcart.fit.keeping import Keeper, content_of, keeping
from fastcart.fit.likelihood import PreparedLikelihood, prepare
from fastcart.fit.maximum import DRAWS, Accuracy, Ended, adapt, climb, know, proposal_of, rounds_to_come
from fastcart.fit.observations import check_distinct
from fastcart.fit.population_fit import PopulationFit
from fastcart.fit.saem import Saem, Schedule, State, decode, encode
from fastcart.model import Model
from fastcart.options import SolveOptions
from fastcart.solvers.threads import in_threads
from fastcart.telling import progress_bar
from fastcart.typing_names import ModelName

_SOLVES = 400  # chains of all patients together, where nobody says how many
_LEAST_CHAINS = 4
_FACTOR = np.log(3.0)  # apart, in which the second start lies from the first
_SPREAD = 1.0  # of a random effect at the start, in its scale
_WIDER = 1.5  # the second start's
_ROUGH = 0.1  # Monte Carlo error of -2 ln L that is enough to compare starts
_LITTLE, _MUCH = 2e-4, 1.0  # of -2 ln L that a further step promises
_STREAM = 7  # of random numbers
_OF_ERROR = 0.5  # of its typical size, where an error parameter starts


@dataclass(frozen=True)
class _Task:
    """One start, from beginning to end.

    Parameters
    ----------
    saem : Saem
        On a likelihood of its own: starts run at once.
    accuracy : Accuracy
    seed : int
    start : ndarray
    number : int
    keeper : Keeper
    """

    saem: Saem
    accuracy: Accuracy
    seed: int
    start: np.ndarray
    number: int
    keeper: Keeper

    def begin(self) -> State:
        """Return where it begins, or where it was."""
        kept = self.keeper.state(self.number)
        if kept is not None:
            return decode(kept, self.saem.complete)
        return self.saem.begin(self.start, (self.seed, self.number))

    def run(self, state: State, expected: OneStart) -> Ended:
        """Return where it ended, and what is known of that."""
        complete, number = self.saem.complete, self.number
        expected.begin(state.iteration)
        self.saem.run(state, lambda one: self.keeper.keep(number, encode(one)))
        expected.likelihood()
        row = self.saem.estimate(state)
        accuracy = _accuracy(self.accuracy, self.seed, number)
        rough = replace(accuracy, error=max(accuracy.error, _ROUGH))
        proposal = proposal_of(complete, row, state.chains.mean, state.chains.covariance)
        best, proposal = climb(complete, row, proposal, accuracy)
        known = know(complete, best, proposal, rough)
        expected.end()
        return Ended(self.start, row, known, state.switched, state.stationary, np.array(state.trace))


def _run_all(tasks: list[_Task], expected: Expected, threads: int) -> list[Ended]:
    """Run all starts: at once, where there are threads; who is left has those of who is over.

    Between its solves a start leaves a thread alone, which would wait for it; the other start does not.
    """
    every = [task.saem.complete.prepared for task in tasks]
    states = [task.begin() for task in tasks]  # what cannot begin says so before anything runs
    ended: dict[int, Ended] = {}

    def share() -> None:
        left = max(1, len(tasks) - len(ended))
        for prepared in every:
            prepared.work_in(max(1, threads // left))

    def run(k: int) -> None:
        ended[k] = tasks[k].run(states[k], expected.start(k))
        share()

    if threads == 1 or len(tasks) == 1:
        for k in range(len(tasks)):
            run(k)
    else:
        share()
        in_threads([partial(run, k) for k in range(len(tasks))], threads, np.zeros(1, dtype=np.int64))
    return [ended[k] for k in range(len(tasks))]


def _finish(
    complete: Complete, ended: list[Ended], given: tuple[Accuracy, int], expected: Expected
) -> list[Ended]:  # fmt: skip
    """Draw more where the best start ended."""
    number = int(np.argmin([one.known.minus2LL for one in ended]))
    known, out = ended[number].known, list(ended)
    accuracy = _accuracy(*given, number)
    step = _LITTLE < known.gain < _MUCH
    expected.further(rounds_to_come(known, accuracy, anew=step))
    if step:  # one more step, by more draws than it was climbed with
        proposal = adapt(complete, known.row + known.step, known.proposal, accuracy.random(3))
        known = know(complete, known.row + known.step, proposal, replace(accuracy, seed=(*accuracy.seed, 4)))
    else:
        known = know(complete, known.row, known.proposal, accuracy, known)
    out[number] = replace(out[number], known=known)
    return out


def _accuracy(wanted: Accuracy, seed: int, number: int) -> Accuracy:
    return replace(wanted, seed=(seed, number, _STREAM))


def population(
    model: ModelName | str | Model,
    data: FitData,
    *,
    observations: Any,
    random: Sequence[str],
    fixed: Sequence[str] = (),
    omega: Any = "diagonal",
    covariates: Mapping[str, Any] | None = None,
    scales: Mapping[str, str] | None = None,
    method: str = "saem",
    chains: int | str = "auto",
    starts: Any = None,
    iterations: tuple[int, int] | None = None,
    accuracy: float = 0.03,
    draws: int = 65_536,
    seed: int = 1,
    keep: Any = None,
    threads: int | None = None,
    progress: bool | None = None,
    options: SolveOptions | None = None,
) -> PopulationFit:
    """Fit a population with random effects to the measurements of its patients.

    By the stochastic approximation of EM from starts that are far apart, then by Newton's steps on the
    likelihood itself, which importance sampling gives with its error, score and information.

    Parameters
    ----------
    model : str or Model
    data : FitData
    observations : Observation or sequence of Observation
        Error parameters with a value keep it, those without are estimated.
    random : sequence of str
        Parameters (or initial values of states) that differ between patients.
    fixed : sequence of str
        Parameters that are the same in all patients, and estimated. All others have their defaults, or the
        data's values.
    omega : "diagonal", "full", or list of lists of str
        Which random effects are correlated: blocks of names.
    covariates : mapping, optional
        ``{"CL": "WT"}`` or ``{"CL": ["WT", "SEX"]}``. A positive covariate counts as ``ln(WT / median)``, one
        with two values (the smaller one 0) or one of texts as 0 and 1, any other as its distance from the
        median.
    scales : mapping, optional
        In which a parameter is normally distributed: ``"log"`` (default), ``"normal"``, or ``"logit"`` of its
        range in the model.
    method : "saem"
    chains : int or "auto"
        Of each patient.
    starts : mapping or sequence of mappings, optional
        ``{"CL": 2.8, "omega_CL": 0.5, "a_cp": 1.0}``, any of the names of the estimates. Default: the model's
        defaults, and a second one a factor of three away from each of them; also where one mapping is given.
        A list is taken as it is.
    iterations : (int, int), optional
        So many that explore and average. Default: it explores until nothing drifts (150 to 400), then
        averages 150.
    accuracy : float
        Monte Carlo error of -2 ln L at which no more is drawn.
    draws : int
        At most so many of each patient.
    seed : int
    keep : path, optional
        A folder in which the run is kept; called again with the same inputs it goes on where it was.
    threads : int, optional
        Results do not depend on it.
    progress : bool, optional
        As for `fastcart.solve`.
    options : SolveOptions, optional
        As for `fastcart.fit.prepare`.

    Returns
    -------
    PopulationFit

    Raises
    ------
    InputError
        For bad input, and where a patient cannot be solved near a start.
    """
    model = as_model(model)
    if method != "saem":
        raise InputError(f"The method must be 'saem', not {shown(method)}.")
    check_data(data, measured=True)
    effects = check_effects(model, data, random, fixed, omega=omega, covariates=covariates, scales=scales)
    prepared = prepare(
        model, data, list(effects.columns), observations=observations, threads=threads, options=options
    )
    effects = with_errors(effects, prepared)
    others = [*effects.names, *effects.error_names]
    for name in effects.columns:
        others.remove(name)
    check_distinct(model, others)
    if len(data.ids) < 2:
        raise InputError("A population needs at least two patients; fastcart.fit.individual fits one.")
    complete = Complete(prepared, effects)
    schedule = _schedule(chains, iterations, data.patients)
    wanted = Accuracy(number(accuracy, "The accuracy", positive=True), count(draws, "The draws"), ())
    rows = _starts(effects, prepared, model, starts, seed_of(seed))
    with (
        keeping(
            keep, lambda: content_of(prepared, effects, options, schedule, wanted, rows, int(seed))
        ) as keeper,
        progress_bar(data.patients * DRAWS * len(rows), progress, unit="solves") as bar,
    ):
        per_iteration = Saem(complete, schedule).solves
        draws = data.patients * DRAWS * solves_of_slopes(len(fixed))
        expected = Expected(bar, per_iteration, schedule.most, draws, len(rows))
        tasks = []
        for k, row in enumerate(rows):
            own = Complete(prepared.beside(prepared.threads), effects, expected.start(k).solved)
            tasks.append(_Task(Saem(own, schedule), wanted, int(seed), row, k, keeper))
        ended = _run_all(tasks, expected, prepared.threads)
        for task in tasks:
            prepared.told(task.saem.complete.prepared)
        counted = replace(complete, solved=expected.solved)
        ended = _finish(counted, ended, (wanted, int(seed)), expected)
        return PopulationFit(complete, ended, int(seed), wanted.error)


def _schedule(chains: int | str, iterations: Any, patients: int) -> Schedule:
    if isinstance(chains, str):
        if chains != "auto":
            raise InputError(f"The chains must be 'auto' or a whole number from 1 on, not {shown(chains)}.")
        per_patient = max(_LEAST_CHAINS, -(-_SOLVES // patients))
    else:
        per_patient = count(chains, "The chains of a patient")
    if iterations is None:
        return Schedule(per_patient)
    if not isinstance(iterations, tuple | list) or len(iterations) != 2:
        raise InputError(f"The iterations must be two numbers, such as (300, 200), not {shown(iterations)}.")
    explore, average = (count(x, "The iterations") for x in iterations)
    return Schedule(per_patient, (explore, explore), average)


def _starts(
    effects: Effects, prepared: PreparedLikelihood, model: Model, given: Any, seed: int
) -> list[np.ndarray]:
    """Return rows from which to start."""
    if given is None or isinstance(given, Mapping):
        near = _start(effects, prepared, model, check_start(effects, model, given or {}))
        return [near, _far(effects, near, seed)]
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise InputError(f"The starts must be a mapping, or a list of mappings, not {shown(given)}.")
    return [_start(effects, prepared, model, check_start(effects, model, one)) for one in given]


def _start(
    effects: Effects, prepared: PreparedLikelihood, model: Model, given: Mapping[str, float]
) -> np.ndarray:
    """Return a row, what is not given being usual."""
    defaults = model.defaults()
    natural = np.array([given.get(name, defaults[name]) for name in effects.columns], dtype=float)
    for k, name in enumerate(effects.columns):
        low, high = effects.low[k], effects.high[k]
        if (effects.scales[k] == "log" and not natural[k] > 0) or (
            effects.scales[k] == "logit" and not low < natural[k] < high
        ):
            raise InputError(
                f"The default {natural[k]:g} of {name!r} is no start in the scale {effects.scales[k]!r}; "
                f"give one, starts={{{name!r}: ...}}."
            )
    phi = effects.scaled(natural)
    b = np.array([given.get(name, 0.0) for name in effects.coefficients], dtype=float)
    for k, name in enumerate(effects.random):
        b[effects.coefficients.index(name)] = phi[k]
    size = np.array(
        [
            given.get(f"omega_{name}", _SPREAD if scale != "normal" else max(0.3 * abs(x), 1e-3))
            for name, scale, x in zip(effects.random, effects.scales, natural, strict=False)
        ]
    )
    correlation = np.eye(len(size))
    for j, k in effects.pairs:
        r = given.get(f"corr_{effects.random[j]}_{effects.random[k]}", 0.0)
        correlation[j, k] = correlation[k, j] = r
    if np.linalg.eigvalsh(correlation).min() <= 0:
        raise InputError("The correlations of a start are not those of any covariance; give smaller ones.")
    errors = effects.known_errors.copy()
    usual = _OF_ERROR * typical_errors(prepared)
    for k in effects.free_errors:
        errors[k] = given.get(effects.error_names[k], usual[k])
    return effects.pack(Values(b, phi[len(effects.random) :], correlation * np.outer(size, size), errors))


def _far(effects: Effects, near: np.ndarray, seed: int) -> np.ndarray:
    """Return a start far from another one: a factor of three in every parameter, up or down by chance."""
    signs = np.random.default_rng((seed, 99)).choice([-1.0, 1.0], size=len(near))
    far, at = near.copy(), effects.slices
    shift = np.where([name.startswith("beta_") for name in effects.coefficients], 0.0, _FACTOR)
    moved: list[float] = []
    for name, size in zip(effects.coefficients, shift, strict=True):
        scale = effects.scales[effects.columns.index(name)] if name in effects.columns else "log"
        k = len(moved)
        moved.append(size if scale != "normal" else _FACTOR * max(abs(near[k]), 1e-3) / 3 * (size > 0))
    far[at["b"]] += signs[at["b"]] * np.array(moved)
    scales = effects.scales[len(effects.random) :]
    sizes = [
        _FACTOR if scale != "normal" else abs(x) / 3
        for scale, x in zip(scales, near[at["fixed"]], strict=True)
    ]
    far[at["fixed"]] += signs[at["fixed"]] * np.array(sizes)
    far[at["omega"]] += np.log(_WIDER)
    far[at["errors"]] += np.log(_WIDER)
    return far
