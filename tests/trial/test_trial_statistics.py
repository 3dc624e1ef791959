"""Every statistic of a trial against an independent computation; coverage of every interval."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from fastcart.errors import InputError
from fastcart.trial.analysis import analyse, compare_pairs, survival_contrasts
from fastcart.trial.curves import cumulative_incidence, kaplan_meier, landmark_survival
from fastcart.trial.observe import CAUSES, observe
from fastcart.trial.power import fisher, power_table, replicate_trials
from fastcart.trial.proportions import (
    few_patients,
    number_needed,
    paired_interval,
    proportion,
    risk_difference,
    score_interval,
)
from fastcart.trial.randomize import Design
from fastcart.trial.survival import (
    cox,
    followed_to,
    hazard_ratio_limits,
    logrank,
    mean_difference,
    proportional_hazards,
    restricted_mean,
)

pytest.importorskip("statsmodels")
Z = 1.959963984540054


# ---- shares and their difference


@pytest.mark.parametrize(("patients", "reach"), [(1, 98), (60, 13), (999, 3), (1000, None)])
def test_few_patients_are_told_with_the_widest_interval_of_a_share(patients, reach):
    told = few_patients(patients)
    if reach is None:
        assert told == ""
    else:
        assert f"up to {reach} percentage points" in told
        assert reach == round(100 * Z * math.sqrt(0.25 / patients))


def log_likelihood(x1, n1, x0, n0, p1, p0):
    """Of two binomial counts; 0 log 0 = 0."""

    def part(x, p):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(x > 0, x * np.log(p), 0.0)

    return part(x1, p1) + part(n1 - x1, 1 - p1) + part(x0, p0) + part(n0 - x0, 1 - p0)


def direct_score_limits(x1, n1, x0, n0, alpha=0.05):
    """Miettinen and Nurminen's limits: golden section on the likelihood itself, then bisection."""
    ratio = (math.sqrt(5) - 1) / 2

    def statistic(d):
        a, b = np.maximum(0, -d), np.minimum(1, 1 - d)
        for _ in range(70):
            c, e = b - ratio * (b - a), a + ratio * (b - a)
            better = log_likelihood(x1, n1, x0, n0, c + d, c) >= log_likelihood(x1, n1, x0, n0, e + d, e)
            a, b = np.where(better, a, c), np.where(better, e, b)
        p0 = (a + b) / 2
        p1 = p0 + d
        variance = (p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0) * (n1 + n0) / (n1 + n0 - 1)
        return np.abs(x1 / n1 - x0 / n0 - d) / np.sqrt(np.maximum(variance, 1e-300))

    limits = []
    z = stats.norm.isf(alpha / 2)
    for end in (-1.0, 1.0):
        inside, outside = x1 / n1 - x0 / n0, np.full(len(x1), end)
        for _ in range(30):
            middle = (inside + outside) / 2
            out = statistic(middle) > z
            inside, outside = np.where(out, inside, middle), np.where(out, middle, outside)
        limits.append(np.where(x1 / n1 - x0 / n0 == end, end, (inside + outside) / 2))
    return limits


def random_tables(size: int, seed: int):
    rng = np.random.default_rng(seed)
    n1, n0 = (np.round(10 ** rng.uniform(0, 3.3, size)).astype(int) for _ in range(2))
    p1, p0 = rng.choice([0.0, 0.02, 0.3, 0.5, 0.9, 1.0], (2, size))
    return rng.binomial(n1, p1), n1, rng.binomial(n0, p0), n0


def test_score_intervals_are_those_of_the_restricted_likelihood():
    x1, n1, x0, n0 = random_tables(1000, 0)
    here = np.array([score_interval((c, m), (t, n)) for t, n, c, m in zip(x1, n1, x0, n0, strict=True)])
    assert np.isfinite(here).all()
    there = np.transpose(direct_score_limits(x1, n1, x0, n0))
    assert np.abs(here - there).max() < 1e-6


@pytest.mark.parametrize(
    ("control", "treatment", "limits"),
    [
        ((6, 20), (2, 20), (-0.4446, 0.0561)),
        ((14, 20), (7, 20), (-0.6007, -0.0368)),
        ((0, 10), (0, 10), (-0.2879, 0.2879)),
        # Newcombe 1998, Stat Med 17:873, table II: Mee's interval, which has no factor N / (N - 1)
        ((48, 80), (56, 70), (0.0528, 0.3382)),
    ],
)
def test_score_intervals_of_single_tables(control, treatment, limits):
    assert score_interval(control, treatment) == pytest.approx(limits, abs=6e-4)
    row = risk_difference(control, treatment)[1]
    assert (row["low"], row["high"]) == score_interval(control, treatment)


counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=40, deadline=None)
@given(control=counts, treatment=counts, alpha=st.floats(0.001, 0.5))
def test_laws_of_the_score_interval(control, treatment, alpha):
    low, high = score_interval(control, treatment, alpha=alpha)
    difference = treatment[0] / treatment[1] - control[0] / control[1]
    assert -1 <= low <= difference + 1e-12
    assert difference - 1e-12 <= high <= 1
    # arms exchanged; events exchanged with their absence
    assert score_interval(treatment, control, alpha=alpha) == pytest.approx((-high, -low), abs=1e-9)
    without = [(n - x, n) for x, n in (control, treatment)]
    assert score_interval(*without, alpha=alpha) == pytest.approx((-high, -low), abs=1e-9)
    # more certainty, wider
    wider = score_interval(control, treatment, alpha=alpha / 2)
    assert wider[0] <= low + 1e-12
    assert wider[1] >= high - 1e-12


def test_score_intervals_of_extreme_tables():
    # nobody and everybody: the estimate is an end of the interval
    low, high = score_interval((0, 10), (10, 10))
    assert high == 1.0
    factor = Z**2 * 20 / 19
    # at a difference d the likelihood is largest at p0 = (1 - d) / 2 by symmetry, p1 = (1 + d) / 2
    d = optimize.brentq(lambda d: (1 - d) ** 2 - factor * 2 * (1 - d**2) / 4 / 10, -0.9, 0.999)
    assert low == pytest.approx(d, abs=1e-9)
    # no event: p0 = 0 and p1 = d, so that d^2 = z^2 N / (N - 1) d (1 - d) / n
    c = Z**2 * 40 / 39 / 30
    assert score_interval((0, 10), (0, 30))[1] == pytest.approx(c / (1 + c), abs=1e-9)
    # a large trial is as the normal approximation has it
    n = 10**9
    low, high = score_interval((4 * n // 10, n), (5 * n // 10, n))
    reach = Z * math.sqrt((0.25 + 0.24) / n)
    assert (low - 0.1, high - 0.1) == pytest.approx((-reach, reach), rel=1e-4)
    for events in product((0, 1), repeat=2):
        low, high = score_interval((events[0], 1), (events[1], 1))
        assert -1 <= low <= events[1] - events[0] <= high <= 1


def coverage(n1, n0, p1, p0, limits):
    """Probability that the interval holds the true difference, by all tables."""
    mass = np.outer(stats.binom.pmf(np.arange(n1 + 1), n1, p1), stats.binom.pmf(np.arange(n0 + 1), n0, p0))
    low, high = np.moveaxis(limits, -1, 0)
    return float(mass[(low - 1e-12 <= p1 - p0) & (p1 - p0 <= high + 1e-12)].sum())


def test_intervals_of_a_difference_cover_what_they_say():
    n1, n0 = 15, 20
    rng = np.random.default_rng(0)
    tables = {
        (x1, x0): risk_difference((x0, n0), (x1, n1)) for x1, x0 in product(range(n1 + 1), range(n0 + 1))
    }
    truths = rng.uniform(0.05, 0.95, (25, 2))
    for k in (0, 1):  # Newcombe, score
        limits = np.empty((n1 + 1, n0 + 1, 2))
        for key, rows in tables.items():
            limits[key] = rows[k]["low"], rows[k]["high"]
        covered = np.array([coverage(n1, n0, p1, p0, limits) for p1, p0 in truths])
        assert covered.min() > 0.925
        assert covered.mean() == pytest.approx(0.955, abs=0.012)


def test_newcombes_interval_is_the_square_and_add_of_wilsons():
    for x1, n1, x0, n0 in np.transpose(random_tables(200, 3)):
        row = risk_difference((int(x0), int(n0)), (int(x1), int(n1)))[0]
        wilson = []
        for x, n in ((x1, n1), (x0, n0)):
            # the ends solve (p - x/n)^2 = z^2 p (1 - p) / n
            roots = np.roots([1 + Z**2 / n, -2 * x / n - Z**2 / n, (x / n) ** 2])
            wilson.append((x / n, *sorted(roots.real)))
        (p1, l1, u1), (p0, l0, u0) = wilson
        assert row["low"] == pytest.approx(p1 - p0 - math.hypot(p1 - l1, u0 - p0), abs=1e-7)
        assert row["high"] == pytest.approx(p1 - p0 + math.hypot(u1 - p1, p0 - l0), abs=1e-7)
        assert row["p"] == pytest.approx(stats.fisher_exact([[x1, n1 - x1], [x0, n0 - x0]]).pvalue, rel=1e-9)


def test_intervals_of_a_share_cover_what_they_say():
    n = 30
    rows = [proportion(x, n) for x in range(n + 1)]
    # exact limits: the tails at the limits have half of the level each
    for x, row in enumerate(rows):
        if x:
            assert stats.binom.sf(x - 1, n, row["exact_low"]) == pytest.approx(0.025, abs=1e-9)
        if x < n:
            assert stats.binom.cdf(x, n, row["exact_high"]) == pytest.approx(0.025, abs=1e-9)
        assert 0 <= row["wilson_low"] <= x / n <= row["wilson_high"] <= 1
    assert (rows[0]["exact_low"], rows[n]["exact_high"]) == (0.0, 1.0)
    truths = np.linspace(0.05, 0.95, 91)
    mass = stats.binom.pmf(np.arange(n + 1)[:, None], n, truths)
    for name, least, mean in (("exact", 0.95, 0.97), ("wilson", 0.92, 0.953)):
        low, high = (np.array([row[f"{name}_{end}"] for row in rows]) for end in ("low", "high"))
        covered = (mass * ((low[:, None] <= truths) & (truths <= high[:, None]))).sum(axis=0)
        assert covered.min() >= least
        assert covered.mean() == pytest.approx(mean, abs=0.01)


def test_an_empty_arm_has_a_reason():
    for control, treatment, words in (
        ((0, 0), (1, 2), "no patient in the control arm"),
        ((1, 2), (0, 0), "no patient in the treatment arm"),
        ((0, 0), (0, 0), "no patient in either arm"),
    ):
        rows = risk_difference(control, treatment)
        assert [row["note"] for row in rows] == [words] * 3
        assert np.isnan([row[name] for row in rows for name in ("estimate", "low", "high", "p")]).all()
        with pytest.raises(InputError, match=words):
            score_interval(control, treatment)
    assert math.isnan(proportion(0, 0)["exact_high"])


@pytest.mark.parametrize(
    ("table", "sentence"),
    [((3, 2), "more events"), ((-1, 2), "from 0 on"), ((1.5, 2), "whole number"), ((0, -1), "from 0 on")],
)
def test_impossible_tables_get_one_sentence(table, sentence):
    for call in (
        lambda: risk_difference(table, (1, 2)),
        lambda: risk_difference((1, 2), table),
        lambda: proportion(*table),
    ):
        with pytest.raises(InputError, match=sentence):
            call()
    with pytest.raises(InputError, match="level alpha"):
        risk_difference((1, 2), (1, 2), alpha=1.0)


# ---- numbers needed


@pytest.mark.parametrize(
    ("control", "treatment", "harm", "words"),
    [
        ((48, 80), (56, 70), False, "NNT 5.0 (95 % interval: NNT 3.0 to 19)"),
        ((56, 70), (48, 80), True, "NNT 5.0 (95 % interval: NNT 3.0 to 19)"),
        ((56, 70), (48, 80), False, "NNH 5.0 (95 % interval: NNH 3.0 to 19)"),
        ((48, 80), (56, 70), True, "NNH 5.0 (95 % interval: NNH 3.0 to 19)"),
    ],
)
def test_numbers_needed_in_words(control, treatment, harm, words):
    # Newcombe's limits of this table are 0.0524 and 0.3339
    row = risk_difference(control, treatment, harm=harm)[2]
    assert row["note"] == words
    assert row["measure"] == f"number needed to {'treat' if words.startswith('NNT') else 'harm'}"
    assert (row["low"], row["estimate"], row["high"]) == pytest.approx((1 / 0.3339, 5, 1 / 0.0524), rel=1e-3)


def test_a_number_needed_may_run_through_infinity():
    # Altman 1998: a risk difference of 10 % (-5 % to 25 %) is NNTB 10 (NNTH 20 to infinity to NNTB 4)
    row = number_needed(0.10, -0.05, 0.25, 0.2, harm=False)
    assert row["note"] == "NNT 10 (95 % interval: NNT 4.0 to infinity to NNH 20)"
    assert (row["low"], row["estimate"], row["high"]) == pytest.approx((4, 10, np.inf))
    row = number_needed(0.10, -0.05, 0.25, 0.2, harm=True)
    assert row["note"] == "NNH 10 (95 % interval: NNH 4.0 to infinity to NNT 20)"
    assert row["measure"] == "number needed to harm"
    # no difference at all
    row = number_needed(0.0, -0.05, 0.1, 1.0, harm=False)
    assert row["note"] == "NNT infinity (95 % interval: NNT 10 to infinity to NNH 20)"
    assert row["estimate"] == np.inf
    row = number_needed(0.2, 0.0, 0.25, 0.05, harm=False)
    assert row["note"] == "NNT 5.0 (95 % interval: NNT 4.0 to infinity)"
    # one more or fewer of 160, as a trial had it: no claim without the interval
    row = risk_difference((127, 160), (128, 160))[2]
    assert row["estimate"] == pytest.approx(160)
    assert " to infinity to NNH " in row["note"]
    assert row["high"] == np.inf


def test_endpoints_are_oriented(monkeypatch):
    """More remission is a benefit, more CRS is harm, in the analysis of a trial."""
    trial = trial_table(
        CR28=[1, 1, 1, 0, 0, 0, 0, 0], CR90=[1, 1, 1, 0, 0, 0, 0, 0], crs3=[1, 1, 1, 0, 0, 0, 0, 0],
        crs4=[0, 0, 0, 0, 1, 1, 1, 0], toxic_death=[0, 0, 0, 0, 1, 1, 0, 0], treated=[1, 1, 1, 1, 0, 0, 0, 0],
    )  # fmt: skip
    table = analyse(trial, ("A0", "A5")).contrasts
    kinds = table[table["measure"].str.startswith("number needed")].set_index("endpoint")["measure"]
    assert kinds.str.removeprefix("number needed to ").to_dict() == {
        "CR28": "treat", "CR90": "treat", "crs3": "harm", "crs4": "treat", "toxic_death": "treat",
    }  # fmt: skip


# ---- pairs


def test_tangos_interval_is_that_of_the_restricted_likelihood():
    rng = np.random.default_rng(2)
    for _ in range(40):
        n = int(rng.integers(1, 200))
        b, c, _ = rng.multinomial(n, rng.dirichlet([0.5, 0.5, 1.0]))
        low, high = paired_interval(int(b), int(c), n)
        for limit in (low, high):
            if abs(limit) == 1.0 or abs(limit - (c - b) / n) < 1e-9:
                continue
            # Tango's closed form of the restricted estimate, Stat Med 17:891, equation (7)
            A, B, C = 2 * n, -b - c + (2 * n - c + b) * limit, -b * limit * (1 - limit)
            q = (math.sqrt(B * B - 4 * A * C) - B) / (2 * A)
            statistic = (c - b - n * limit) / math.sqrt(n * (2 * q + limit * (1 - limit)))
            assert abs(statistic) == pytest.approx(Z, rel=1e-6)
        assert paired_interval(int(c), int(b), n) == pytest.approx((-high, -low), abs=1e-9)
    # nobody differs: z^2 / (n + z^2)
    assert paired_interval(0, 0, 20)[1] == pytest.approx(Z**2 / (20 + Z**2))


def test_intervals_of_pairs_cover_what_they_say():
    rng = np.random.default_rng(5)
    n, cells = 40, (0.12, 0.05, 0.83)
    drawn = rng.multinomial(n, cells, size=4000)
    limits = {key: paired_interval(*key, n) for key in {(int(b), int(c)) for b, c, _ in drawn}}
    inside = [limits[b, c][0] <= 0.05 - 0.12 <= limits[b, c][1] for b, c, _ in drawn.tolist()]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_pairs_of_which_nobody_differs():
    same = pd.DataFrame({"CR90": [True, False, True]})
    row = compare_pairs(same, same).iloc[0]
    assert (row["difference"], row["p"]) == (0.0, 1.0)
    assert row["low"] == pytest.approx(-row["high"])
    assert row["high"] > 0.3  # three pairs tell little
    assert math.isnan(row["variance_ratio"]) or row["variance_ratio"] == np.inf
    one = compare_pairs(same.head(1), same.head(1)).iloc[0]
    assert one["patients"] == 1


# ---- survival


def partial_likelihood(beta, time, event, treated, *, slope=0.0, ranks=None):
    """Efron's log partial likelihood, patient by patient, with a log hazard ratio linear in ``ranks``."""
    total = 0.0
    for t in np.unique(time[event]):
        b = beta + slope * (ranks[t] if ranks else 0.0)
        risk = np.exp(b * treated)
        at_risk, dying = risk[time >= t].sum(), (time == t) & event
        d = dying.sum()
        total += (b * treated[dying]).sum()
        for k in range(d):
            total -= math.log(at_risk - k / d * risk[dying].sum())
    return total


def exact_logrank(time, event, treated):
    """Log-rank chi-square from the hypergeometric tables, one at a time."""
    difference = variance = 0.0
    for t in np.unique(time[event]):
        at_risk = time >= t
        n, a, d = int(at_risk.sum()), int((at_risk & treated).sum()), int(((time == t) & event).sum())
        values = np.arange(max(0, d - (n - a)), min(a, d) + 1)
        mass = stats.hypergeom.pmf(values, n, a, d)
        mean = float(mass @ values)
        difference += ((time == t) & event & treated).sum() - mean
        variance += float(mass @ (values - mean) ** 2)
    return difference**2 / variance if variance > 1e-12 else np.nan


small_trials = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), min_size=2, max_size=14)


@settings(max_examples=80, deadline=None)
@given(patients=small_trials)
def test_batch_statistics_of_small_trials_are_those_of_the_likelihood(patients):
    """With ties, events at time 0, arms without events or patients, complete separation."""
    time, event, treated = (np.array(values) for values in zip(*patients, strict=True))
    time = time.astype(float)
    one = time[None], event[None], treated[None]
    np.testing.assert_allclose(
        logrank(*one)[0][0], exact_logrank(time, event, treated), rtol=1e-9, atol=1e-12
    )
    beta, error, p = (float(v[0]) for v in cox(*one))
    low, high = (float(v[0]) for v in hazard_ratio_limits(*one))
    like = lambda b: partial_likelihood(b, time, event, treated)  # noqa: E731
    if math.isnan(beta):  # the likelihood is flat
        assert like(-3.0) == pytest.approx(like(3.0), abs=1e-9)
        assert math.isnan(low)
        assert math.isnan(high)
    elif math.isinf(beta):  # it rises for ever
        side = math.copysign(1.0, beta)
        grid = [like(side * b) for b in (-4.0, 0.0, 4.0, 8.0, 14.0)]
        assert np.all(np.diff(grid) > 0)
        limit = math.log(high if beta < 0 else low)
        assert (low == 0.0) if beta < 0 else (high == np.inf)
        assert 2 * (like(side * 40.0) - like(limit)) == pytest.approx(Z**2, rel=1e-6)
        assert math.isnan(error)
        assert math.isnan(p)
    else:
        best = optimize.minimize_scalar(
            lambda b: -like(b), bracket=(beta - 0.5, beta + 0.7), options={"xtol": 1e-10}
        )
        assert beta == pytest.approx(best.x, abs=1e-6)
        h = 1e-3
        curvature = (like(beta + h) - 2 * like(beta) + like(beta - h)) / h**2
        assert error == pytest.approx(1 / math.sqrt(-curvature), rel=1e-4)
        assert (low, high) == pytest.approx((math.exp(beta - Z * error), math.exp(beta + Z * error)))
        assert p == pytest.approx(2 * stats.norm.sf(abs(beta / error)))
    # one trial alone, or beside others, and the two arms exchanged
    rows = {r["measure"]: r for r in survival_contrasts(time, event, treated, 5.0)}
    np.testing.assert_allclose(rows["hazard ratio"]["estimate"], np.exp(beta), rtol=1e-12)
    np.testing.assert_allclose(rows["hazard ratio"]["low"], low, rtol=1e-12)
    np.testing.assert_allclose(cox(time[None], event[None], ~treated[None])[0], -beta, atol=1e-8)
    said = not math.isfinite(beta) or math.isnan(
        rows["hazard ratio"]["p"]
    )  # the p value is the log-rank test's
    assert bool(rows["hazard ratio"]["note"]) == said
    missing = math.isnan(rows["proportional hazards"]["p"])
    assert missing == bool(rows["proportional hazards"]["note"])


def test_batch_statistics_agree_with_lifelines_and_statsmodels():
    pytest.importorskip("lifelines")
    from lifelines import CoxPHFitter
    from lifelines.statistics import logrank_test
    from statsmodels.duration.hazard_regression import PHReg

    rng = np.random.default_rng(4)
    checked = 0
    for _ in range(25):
        n = int(rng.integers(8, 30))
        time, event = rng.integers(1, 9, n).astype(float), rng.random(n) < 0.7
        treated = rng.random(n) < 0.3  # unequal arms
        beta, error, p = (float(v[0]) for v in cox(time[None], event[None], treated[None]))
        if not math.isfinite(beta):
            continue
        checked += 1
        test = logrank_test(time[treated], time[~treated], event[treated], event[~treated])
        assert logrank(time[None], event[None], treated[None])[1][0] == pytest.approx(test.p_value, rel=1e-8)
        fit = PHReg(time, treated[:, None].astype(float), status=event, ties="efron").fit()
        assert (beta, error, p) == pytest.approx((fit.params[0], fit.bse[0], fit.pvalues[0]), abs=1e-6)
        frame = pd.DataFrame({"time": time, "event": event, "x": treated.astype(float)})
        close = CoxPHFitter().fit(frame, "time", "event", fit_options={"precision": 1e-10})
        assert beta == pytest.approx(close.params_["x"], abs=1e-5)
    assert checked > 15


def test_all_events_in_one_arm():
    """Four against four, all events in one arm: chi-square 7.344, p 0.0067; the hazard ratio is 0."""
    time = np.array([1.0, 2, 3, 4, 9, 9, 9, 9])
    event, treated = np.arange(8) < 4, np.arange(8) >= 4
    rows = {r["measure"]: r for r in survival_contrasts(time, event, treated, 9.0)}
    ratio, check, mean = rows["hazard ratio"], rows["proportional hazards"], rows["restricted mean"]
    assert ratio["p"] == pytest.approx(0.00673, abs=5e-6)
    assert (ratio["estimate"], ratio["low"]) == (0.0, 0.0)
    # log L = - sum log(4 x + k), k = 4..1, against its largest at x = 0
    fall = lambda x: 2 * sum(math.log1p(4 * x / k) for k in (4, 3, 2, 1)) - Z**2  # noqa: E731
    assert ratio["high"] == pytest.approx(optimize.brentq(fall, 1e-9, 10), rel=1e-9)
    assert ratio["note"] == "the log hazard ratio is infinite: all events are in the control arm"
    assert "profile likelihood" in ratio["method"]
    assert math.isnan(check["p"])
    assert check["note"] == ratio["note"]
    assert mean["note"] == "no event in the treatment arm: its variance counts as 0"
    rows = {r["measure"]: r for r in survival_contrasts(time, event, ~treated, 9.0)}
    assert rows["hazard ratio"]["estimate"] == rows["hazard ratio"]["high"] == np.inf
    assert rows["hazard ratio"]["low"] == pytest.approx(1 / ratio["high"], rel=1e-9)
    # both arms have events, but those of the treatment come when no control is left
    time = np.array([1.0, 2, 3, 4, 6, 7, 8, 9])
    rows = {r["measure"]: r for r in survival_contrasts(time, np.ones(8, bool), treated, 9.0)}
    assert rows["hazard ratio"]["estimate"] == 0.0
    assert rows["hazard ratio"]["note"].endswith("all events with both arms at risk are in the control arm")


def test_the_interval_of_an_infinite_hazard_ratio_covers():
    """Small trials, a third of them without an event in one arm."""
    rng = np.random.default_rng(8)
    trials, n, ratio = 4000, 12, 0.35
    treated = np.broadcast_to(np.arange(2 * n) < n, (trials, 2 * n))
    time = rng.exponential(np.where(treated, 1 / ratio, 1.0))
    event = time <= 0.35
    time = np.minimum(time, 0.35)
    low, high = hazard_ratio_limits(time, event, treated)
    endless = np.isinf(cox(time, event, treated)[0])
    assert 0.2 < endless.mean() < 0.6
    known = ~np.isnan(low)
    assert known.mean() > 0.99
    inside = (low <= ratio) & (ratio <= high)
    assert inside[known].mean() == pytest.approx(0.955, abs=0.02)


def test_the_check_of_proportional_hazards_is_the_score_test():
    """Slope and information of the likelihood with a log hazard ratio linear in rank, by differences."""
    rng = np.random.default_rng(3)
    for _ in range(12):
        n = 18
        time, event = rng.integers(1, 8, n).astype(float), rng.random(n) < 0.8
        treated = rng.random(n) < 0.5
        one = time[None], event[None], treated[None]
        beta = float(cox(*one)[0][0])
        chi_square, p = (float(v[0]) for v in proportional_hazards(*one))
        if not math.isfinite(beta):
            assert math.isnan(p)
            continue
        middle = dict(zip(time[event], stats.rankdata(time[event]), strict=True))
        like = lambda v: partial_likelihood(v[0], time, event, treated, slope=v[1], ranks=middle)  # noqa: B023, E731
        h = 1e-4
        e = np.eye(2) * h
        at = np.array([beta, 0.0])
        slope = (like(at + e[1]) - like(at - e[1])) / (2 * h)
        information = -np.array(
            [
                [
                    (like(at + a + b) - like(at + a - b) - like(at - a + b) + like(at - a - b)) / (4 * h * h)
                    for b in e
                ]
                for a in e
            ]
        )
        assert chi_square == pytest.approx(slope**2 * np.linalg.inv(information)[1, 1], rel=1e-3, abs=1e-4)
        assert p == pytest.approx(stats.chi2.sf(chi_square, 1))
        # the order of patients within ties does not matter
        order = rng.permutation(n)
        shuffled = proportional_hazards(time[None, order], event[None, order], treated[None, order])
        assert shuffled[0][0] == pytest.approx(chi_square, rel=1e-9)


def test_the_check_of_proportional_hazards_keeps_its_level():
    rng = np.random.default_rng(1)
    trials, n = 3000, 80
    treated = np.broadcast_to(np.arange(n) < n // 2, (trials, n))
    time = np.ceil(20 * rng.exponential(np.where(treated, 1.6, 1.0), (trials, n)))
    event = rng.random((trials, n)) < 0.8
    assert (proportional_hazards(time, event, treated)[1] < 0.05).mean() == pytest.approx(0.05, abs=0.013)


# ---- curves


@settings(max_examples=60, deadline=None)
@given(
    patients=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=25),
    day=st.sampled_from([0.0, 2.0, 4.5, 9.0, 12.0]),
)
def test_curves_are_what_the_definitions_say(patients, day):
    """Against redistribution to the right, which knows no product and no competing risk."""
    time, cause = (np.array(values) for values in zip(*patients, strict=True))
    order = np.lexsort((cause == 0, time))  # at equal times events first
    mass = np.full(len(time), 1 / len(time))
    share = np.zeros(4)
    for k in order:
        if cause[k] > 0:
            if time[k] <= day:
                share[cause[k]] += mass[k]
            continue
        later = order[list(order).index(k) + 1 :]  # the share of who is lost goes to those still at risk
        mass[later] += mass[k] / max(len(later), 1)
    rows = cumulative_incidence(time.astype(float), cause, [day])
    alive = landmark_survival(time.astype(float), cause > 0, [day])[0]
    last = time.max()
    if day > last and not (cause > 0).all():
        assert math.isnan(alive["survival"])
        assert all(math.isnan(row[name]) for row in rows for name in ("incidence", "low", "high"))
        assert (
            alive["note"]
            == rows[0]["note"]
            == (f"nobody is followed to day {day:g}; the last follow-up is day {last:g}")
        )
        return
    for row in rows:
        assert row["incidence"] == pytest.approx(share[CAUSES.index(row["cause"])], abs=1e-12)
    assert alive["survival"] == pytest.approx(1 - share.sum(), abs=1e-12)
    assert alive["at_risk"] == (time >= day).sum()


def test_kaplan_meier_agrees_with_lifelines():
    pytest.importorskip("lifelines")
    from lifelines import KaplanMeierFitter

    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(3, 40))
        time, event = rng.integers(0, 12, n).astype(float), rng.random(n) < 0.6
        curve = kaplan_meier(time, event)
        fit = KaplanMeierFitter().fit(time, event)
        np.testing.assert_allclose(curve.survival, fit.survival_function_at_times(curve.day), atol=1e-12)
        inside = (curve.survival > 0) & (curve.survival < 1)
        limits = fit.confidence_interval_.loc[curve.day[inside]].to_numpy()
        np.testing.assert_allclose(np.stack([curve.low, curve.high])[:, inside].T, limits, rtol=1e-9)


def test_medians_do_not_hang_on_rounding():
    """Without censoring, the median of 2 m patients is the m-th; lifelines has the next for some m."""
    for m in range(1, 60):
        days = np.arange(1.0, 2 * m + 1)
        assert kaplan_meier(days, np.ones(2 * m, bool)).median == m
    assert kaplan_meier(np.arange(1.0, 9), np.arange(8) < 3).median == np.inf


def test_intervals_of_a_curve_without_or_with_only_events():
    # nobody has an event: all of those at risk are alive
    row = landmark_survival(np.array([3.0, 8, 8, 9]), np.zeros(4, bool), [5.0])[0]
    assert (row["survival"], row["high"]) == (1.0, 1.0)
    assert row["low"] == pytest.approx(stats.binomtest(3, 3).proportion_ci(method="exact").low)
    # everyone has: Clopper and Pearson's limit, as long as nobody was lost
    row = landmark_survival(np.array([1.0, 2, 3]), np.ones(3, bool), [5.0])[0]
    assert (row["survival"], row["low"], row["note"]) == (0.0, 0.0, "")
    assert row["high"] == pytest.approx(stats.binomtest(0, 3).proportion_ci(method="exact").high)
    on, after = landmark_survival(np.array([1.0, 2, 3]), np.array([True, False, True]), [3.0, 5.0])
    assert (on["survival"], on["low"]) == (0.0, 0.0)
    assert math.isnan(on["high"])
    assert "lost" in on["note"]
    assert math.isnan(after["survival"])  # of the one who was lost on day 2 nobody knows
    # a cause without events
    rows = cumulative_incidence(np.array([1.0, 2, 9, 9]), np.array([1, 1, 0, 0]), [5.0])
    assert (rows[1]["incidence"], rows[1]["low"]) == (0.0, 0.0)
    assert rows[1]["high"] == pytest.approx(stats.binomtest(0, 4).proportion_ci(method="exact").high)
    # no patients
    row = landmark_survival(np.empty(0), np.empty(0, bool), [5.0])[0]
    assert row["note"] == "no patient in this arm"
    assert math.isnan(row["survival"])
    assert cumulative_incidence(np.empty(0), np.empty(0, int), [5.0])[0]["note"] == "no patient in this arm"


def test_intervals_of_curves_cover_what_they_say():
    """Survival and cumulative incidence at a landmark, with drop-out and ties of days."""
    rng = np.random.default_rng(11)
    rates = np.array([0.004, 0.002, 0.003])
    day, total = 150.0, rates.sum()
    truth = rates / total * -np.expm1(-total * day)
    inside = np.zeros(4)
    trials = 1500
    for _ in range(trials):
        days = np.ceil(rng.exponential(1 / total, 60))  # seen to the day
        lost = np.ceil(rng.exponential(500.0, 60)) + 0.5
        cause = np.where(days <= lost, rng.choice([1, 2, 3], 60, p=rates / total), 0)
        time = np.minimum(days, lost)
        row = landmark_survival(time, cause > 0, [day])[0]
        inside[0] += row["low"] <= math.exp(-total * day) <= row["high"]
        for k, row in enumerate(cumulative_incidence(time, cause, [day])):
            inside[k + 1] += row["low"] <= truth[k] <= row["high"]
    assert np.abs(inside / trials - 0.95).max() < 0.02, inside / trials


# ---- follow-up that ends before the horizon


def test_nothing_is_reported_beyond_the_last_follow_up():
    rng = np.random.default_rng(0)
    n = 80
    treated = np.arange(n) % 2 == 0
    death = rng.exponential(400.0, n)
    time, event = np.minimum(death, 300.0), death <= 300.0
    trial = trial_table(treated=treated, efs=time, efs_event=event, cause=np.where(event, 1, 0))
    result = analyse(trial, ("A0", "A5"))
    for table, name in ((result.survival, "survival"), (result.competing, "incidence")):
        late = table["day"] > 300
        assert late.any()
        late &= table.get("endpoint", "efs") == "efs"
        assert table.loc[late, [name, "low", "high"]].isna().all(axis=None)
        assert (
            table.loc[late, "note"] == "nobody is followed to day 365; the last follow-up is day 300"
        ).any()
        assert table.loc[table["day"] < 300, name].notna().all()
    mean = result.contrasts[result.contrasts["measure"] == "restricted mean"].set_index("endpoint").loc["efs"]
    assert mean["method"] == "days to 300; Greenwood"
    assert mean["note"].startswith("to the last follow-up of the arm that ends first, day 300, not to")
    # as if 300 had been asked for; and as without censoring the mean is one of numbers
    short = [np.minimum(death[g], 300.0).mean() for g in (treated, ~treated)]
    assert mean["estimate"] == pytest.approx(short[0] - short[1])


def test_the_arm_that_is_followed_for_less_time_decides():
    time = np.array([[5.0, 10, 20, 8, 9, 12]])
    event = np.array([[True, False, False, True, True, False]])
    treated = np.array([[False, False, False, True, True, True]])
    difference, error, until = mean_difference(time, event, treated, 30.0)
    assert until[0] == 12.0
    # S0 = 2/3 from day 5 on, S1 = 2/3 from 8, 1/3 from 9
    assert difference[0] == pytest.approx((8 + 2 / 3 + 3 / 3) - (5 + 7 * 2 / 3))
    v0 = (7 * 2 / 3) ** 2 * 1 / (3 * 2)
    v1 = (2 / 3 + 1) ** 2 / (3 * 2) + 1.0**2 / (2 * 1)
    assert error[0] == pytest.approx(math.sqrt(v0 + v1))
    # an arm in which everyone has had the event is known for ever
    event[0, 5] = True
    assert mean_difference(time, event, treated, 30.0)[2][0] == 20.0
    assert followed_to(time[:, 3:], event[:, 3:])[0] == np.inf
    # beyond what is known there is no mean
    assert np.isnan(restricted_mean(time[:, :3], event[:, :3], 21.0)).all()
    mean, _ = restricted_mean(
        np.vstack([time[:, :3], time[:, :3]]), event[[0, 0], :3], np.array([20.0, 21.0])
    )
    assert mean[0] == pytest.approx(5 + 15 * 2 / 3)
    assert math.isnan(mean[1])


def test_the_difference_of_restricted_means_covers_with_a_cut_off():
    """Accrual over 400 days, analysis on day 700: the means to day 730 cannot be had."""
    rng = np.random.default_rng(21)
    trials, n = 4000, 60
    rates = np.array([1 / 500, 1 / 260])
    treated = np.broadcast_to(np.arange(2 * n) < n, (trials, 2 * n))
    death = rng.exponential(1 / np.where(treated, *rates))
    followed = 700.0 - rng.uniform(0, 400, (trials, 2 * n))
    time, event = np.minimum(death, followed), death <= followed
    difference, error, until = mean_difference(time, event, treated, 730.0)
    last = np.minimum(*(np.where(group, time, 0.0).max(axis=1) for group in (treated, ~treated)))
    np.testing.assert_array_equal(until, last)  # in no trial and arm does everyone have an event
    truth = -np.expm1(-rates[0] * until) / rates[0] + np.expm1(-rates[1] * until) / rates[1]
    covered = np.abs(difference - truth) <= Z * error
    assert 0.93 <= covered.mean() <= 0.97


def test_a_death_after_the_end_of_follow_up_is_not_seen():
    given = {
        "CR28": [True], "CR90": [True], "crs3": [True], "crs4": [False], "toxic_death": [True],
        "efs": [200.0], "efs_event": [True],
        "os": [200.0], "os_event": [True], "t_relapse": [np.inf], "relapse_type": [""],
    }  # fmt: skip
    arrays = {name: np.array(values) for name, values in given.items()}
    assert observe(arrays, np.array([300.0]))["toxic_death"][0]
    assert not observe(arrays, np.array([100.0]))["toxic_death"][0]


# ---- arms without patients or events, in every table


def trial_table(**columns) -> pd.DataFrame:
    """Return a trial as `run_trial` makes it, with nothing of note in the columns that are not given."""
    n = len(next(iter(columns.values())))
    blank = {
        "treated": np.arange(n) % 2 == 0, "CR28": False, "CR90": False, "crs3": False, "crs4": False,
        "toxic_death": False, "efs": 730.0, "efs_event": False, "os": 730.0, "os_event": False, "cause": 0,
        "grade_known": True,
    }  # fmt: skip
    table = pd.DataFrame({**{name: np.broadcast_to(value, n) for name, value in blank.items()}, **columns})
    flags = [name for name in table if name not in ("efs", "os", "cause")]
    return table.astype(dict.fromkeys(flags, bool))


def check_whole(result) -> None:
    """Every table has all its rows, and what is NaN has a reason or is beyond a test."""
    assert len(result.proportions) == 10
    assert len(result.contrasts) == 5 * 3 + 2 * (3 + 2)
    assert len(result.survival) == 2 * 2 * 3
    assert len(result.competing) == 2 * 3 * 3
    for table, names in (
        (result.contrasts, ["estimate"]),
        (result.survival, ["survival", "low", "high"]),
        (result.competing, ["incidence", "low", "high"]),
    ):
        missing = table[names].isna().any(axis=1)
        assert (table.loc[missing, "note"] != "").all(), table[missing]


@pytest.mark.parametrize("side", [True, False])
def test_an_arm_without_patients_is_no_traceback(side):
    rng = np.random.default_rng(1)
    time = rng.uniform(1, 700, 6)
    trial = trial_table(treated=[side] * 6, efs=time, efs_event=[True] * 6, cause=[1, 2, 3, 1, 2, 3])
    result = analyse(trial, ("A0", "A5"))
    check_whole(result)
    empty = "no patient in the control arm" if side else "no patient in the treatment arm"
    assert (result.contrasts["note"] == empty).all()
    alone = result.survival[
        (result.survival["arm"] == ("A5" if side else "A0")) & (result.survival["endpoint"] == "efs")
    ]
    assert alone["survival"].notna().all()


def test_trials_of_few_patients_and_events():
    nothing = trial_table(treated=[0, 1])
    result = analyse(nothing, ("A0", "A5"))
    check_whole(result)
    means = result.contrasts[result.contrasts["measure"] == "restricted mean"]
    assert means["note"].tolist() == ["one patient in the control arm: no interval"] * 2
    assert means[["low", "high", "p"]].isna().all(axis=None)
    check_whole(analyse(trial_table(treated=np.arange(8) < 4), ("A0", "A5")))
    # events at time 0, everyone censored at 0, one event
    for time, event in (([0.0] * 8, [1, 0] * 4), ([0.0] * 8, [0] * 8), ([730.0] * 7 + [5.0], [0] * 7 + [1])):
        trial = trial_table(
            treated=np.arange(8) < 3, efs=time, efs_event=np.array(event, bool), os=time,
            os_event=np.array(event, bool), cause=3 * np.array(event),
        )  # fmt: skip
        check_whole(analyse(trial, ("A0", "A5")))
    with pytest.raises(InputError, match="needs its own name"):
        analyse(nothing, ("A0", "A0"))


def small_outcomes(n: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    death = rng.exponential(500.0, n)
    return pd.DataFrame(
        {
            "CR28": rng.random(n) < 0.7, "CR90": rng.random(n) < 0.8, "crs3": rng.random(n) < 0.4,
            "crs4": rng.random(n) < 0.2, "toxic_death": False, "efs": np.minimum(death, 730.0),
            "efs_event": death <= 730.0, "os": np.minimum(1.5 * death, 730.0),
            "os_event": 1.5 * death <= 730.0,
            "t_relapse": np.where(death <= 730.0, death, np.inf), "relapse_type": "CD19+",
        }
    )  # fmt: skip


@pytest.mark.parametrize("n_per_arm", [1, 2, 4])
def test_replicates_with_an_empty_arm_are_counted_and_named(n_per_arm):
    a, b = small_outcomes(seed=1), small_outcomes(seed=2)
    burden = np.full(200, 1e11)
    design = Design(n_per_arm=n_per_arm, randomization="simple")
    table = replicate_trials(a, b, burden, design, seed=3, replicates=300)
    expected = {0: "no patient in the treatment arm", 2 * n_per_arm: "no patient in the control arm"}
    assert table["note"].tolist() == [expected.get(k, "") for k in table["treated"]]
    empty = table["note"] != ""
    # a coin falls on one side 2 n times
    assert stats.binomtest(int(empty.sum()), 300, 2 * 0.5 ** (2 * n_per_arm)).pvalue > 0.001
    for name in ("CR90_p", "crs3_p", "efs_logrank_p", "efs_rmst_p", "os_logrank_p", "efs_log_hr", "efs_rmst"):
        assert table.loc[empty, name].isna().all()
    assert table.loc[~empty, "CR90_p"].notna().all()
    power = power_table(a, b, burden, design, sizes=[n_per_arm], seed=3, replicates=300)
    assert (power["empty_arm"] == empty.sum()).all()
    assert (power["untested"] >= empty.sum()).all()
    fisher_row = power.set_index("endpoint").loc["CR90"]
    assert fisher_row["untested"] == empty.sum()
    assert fisher_row["rejected"] == (table["CR90_p"] < 0.05).sum()
    wilson = stats.binomtest(int(fisher_row["rejected"]), 300).proportion_ci(method="wilson")
    assert (fisher_row["low"], fisher_row["high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-12)


def test_replicates_agree_with_the_analysis_of_each_trial():
    """Batch against single, in trials so small that arms are without events or patients."""
    from fastcart.trial.observe import run_trial

    a, b = small_outcomes(seed=1), small_outcomes(seed=2)
    burden = 10 ** np.random.default_rng(5).normal(10.7, 0.65, 200)
    for method in ("simple", "blocks", "stratified"):
        design = Design(n_per_arm=3, randomization=method, accrual=100, cutoff=300, dropout=0.3)
        table = replicate_trials(a, b, burden, design, seed=9, replicates=12)
        for k, row in table.iterrows():
            trial = run_trial(a, b, burden, design, seed=9, replicate=k)
            one = analyse(trial, ("a", "b"), stratified=method == "stratified").contrasts
            one = one.drop_duplicates(["endpoint", "measure"])
            one = one.set_index(["endpoint", "measure"])
            for endpoint in ("efs", "os"):
                ratio = one.loc[(endpoint, "hazard ratio")]
                assert np.exp(row[f"{endpoint}_log_hr"]) == pytest.approx(ratio["estimate"], nan_ok=True)
                assert row[f"{endpoint}_hr_low"] == pytest.approx(ratio["low"], nan_ok=True)
                assert row[f"{endpoint}_hr_high"] == pytest.approx(ratio["high"], nan_ok=True)
                assert row[f"{endpoint}_logrank_p"] == pytest.approx(ratio["p"], nan_ok=True)
            mean = one.loc[("efs", "restricted mean")]
            assert row["efs_rmst"] == pytest.approx(mean["estimate"], nan_ok=True)
            assert row["efs_rmst_p"] == pytest.approx(mean["p"], nan_ok=True)
            assert (
                row["efs_rmst_to"] <= 300 or math.isnan(row["efs_rmst_to"]) or "days to 730" in mean["method"]
            )
            assert row["CR90_p"] == pytest.approx(one.loc[("CR90", "risk difference"), "p"], nan_ok=True)


def test_fisher_without_patients_in_an_arm():
    np.testing.assert_array_equal(np.isnan(fisher([0, 1, 0], [0, 2, 0], [1, 1, 0], [2, 2, 0])), [1, 0, 1])


def test_pairs_that_are_copies_are_not_independent():
    rng = np.random.default_rng(3)
    inside, rejected, alone = [], [], []
    for _ in range(400):
        # 150 draws with one to four copies; three in four copies do as the first
        kinds = rng.choice([-1, 0, 1], size=150, p=[0.1, 0.8, 0.1])
        clusters = np.repeat(np.arange(150), rng.integers(1, 5, 150))
        fresh = rng.choice([-1, 0, 1], size=len(clusters), p=[0.1, 0.8, 0.1])
        paired = np.where(rng.random(len(clusters)) < 0.75, kinds[clusters], fresh)
        a, b = pd.DataFrame({"x": paired == -1}), pd.DataFrame({"x": paired == 1})
        row = compare_pairs(a, b, clusters=clusters).iloc[0]
        inside.append(row["low"] <= 0 <= row["high"])
        rejected.append(row["p"] < 0.05)
        alone.append(compare_pairs(a, b).iloc[0]["p"] < 0.05)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.035)
    assert np.mean(alone) > 0.1  # as if copies were patients of their own
    # each patient a cluster: McNemar; every patient twice: the chi-square of one
    a, b = pd.DataFrame({"x": [1, 1, 1, 0, 0, 1]}), pd.DataFrame({"x": [0, 0, 0, 1, 0, 1]})
    assert compare_pairs(a, b, clusters=np.arange(6)).equals(compare_pairs(a, b))
    twice = [pd.concat([t, t], ignore_index=True) for t in (a, b)]
    row = compare_pairs(*twice, clusters=np.tile(np.arange(6), 2)).iloc[0]
    assert row["p"] == pytest.approx(stats.chi2.sf((3 - 1) ** 2 / (3 + 1), 1))
    assert (row["low"], row["high"]) == pytest.approx(paired_interval(3, 1, 6))


@pytest.mark.parametrize("n", [1, 3, 34, 48, 100, 160])
def test_incidence_of_the_only_cause_has_the_edge_of_clopper_and_pearson(n):
    """The sum of the steps is 1 but for rounding; the count says so, and the interval is that of n of n."""
    time = np.arange(1.0, n + 1)
    rows = cumulative_incidence(time, np.full(n, 2), [float(n)])
    exact = stats.binomtest(n, n).proportion_ci(0.95, method="exact")
    for row in rows:
        if row["cause"] == CAUSES[2]:
            assert (row["incidence"], row["high"], row["note"]) == (1.0, 1.0, "")
            assert row["low"] == pytest.approx(exact.low, rel=1e-12)
        else:
            assert (row["incidence"], row["low"]) == (0.0, 0.0)
            assert row["high"] == pytest.approx(1 - exact.low, rel=1e-9)


@pytest.mark.parametrize("censored", [0, 4])
def test_log_rank_test_of_events_on_one_day_says_why_it_has_no_p(censored):
    time = np.concatenate([np.full(6, 5.0), np.full(censored, 3.0)])
    treated = np.arange(len(time)) % 2 == 0
    rows = survival_contrasts(time, time == 5.0, treated, 5.0)
    assert [row["measure"] for row in rows if math.isnan(row["p"]) and not row["note"]] == []
    assert "same time" in rows[0]["note"]
