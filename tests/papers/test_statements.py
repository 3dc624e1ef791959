"""Verdicts on the text of Li & Lei 2025: on computed data, and on data where they must be another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fastcart.papers.li_lei_2025 import (
    figure2,
    figure2_study,
    figure4,
    figure5,
    figure6,
    figure7,
    figure8,
    optima,
    plans,
)
from fastcart.papers.li_lei_2025 import (
    published_values as paper,
)
from fastcart.papers.li_lei_2025.errata import ERRATA
from fastcart.papers.li_lei_2025.runs import ACCURATE, PUBLISHED, solve_both
from fastcart.papers.li_lei_2025.statements import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    Assessment,
    Finding,
    Statement,
    by_parts,
    by_range,
    combined,
)
from fastcart.papers.li_lei_2025.statements import figure2 as on_2
from fastcart.papers.li_lei_2025.statements import figure4 as on_4
from fastcart.papers.li_lei_2025.statements import figure5 as on_5
from fastcart.papers.li_lei_2025.statements import figure6 as on_6
from fastcart.papers.li_lei_2025.statements import figure7 as on_7
from fastcart.papers.li_lei_2025.statements import figure8 as on_8
from fastcart.papers.li_lei_2025.statements import figure10 as on_10

pytest.importorskip("matplotlib")
pytest.importorskip("pymoo")
pytest.importorskip("SALib")

BURDENS = 20
SOLUTIONS = (PUBLISHED, ACCURATE)


# --- what is judged --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coarse():
    runs = solve_both("li_lei_coarse", plans.coarse_runs(), save_at=figure4.SAVE_AT, progress=False)
    pfs = solve_both("li_lei_coarse", plans.coarse_pfs_runs(), progress=False)
    days = [float(day) for day in range(201)]
    late = solve_both("li_lei_coarse", plans.coarse_default(), save_at=days, t_end=200.0, progress=False)
    scan = solve_both("li_lei_coarse", plans.threshold_scan(), progress=False)
    return {s: figure4.evidence(s, runs, pfs, late, figure4._threshold(scan, s)) for s in SOLUTIONS}


@pytest.fixture(scope="module")
def control():
    runs = solve_both("li_lei", plans.control(), save_at=figure5.SAVE_AT, progress=False)
    variants = solve_both("li_lei", plans.subtype_variants(), save_at=figure5.SAVE_AT, progress=False)
    return {s: figure5.evidence(s, runs, variants) for s in SOLUTIONS}


@pytest.fixture(scope="module")
def treated():
    table = plans.treatment_plans()
    runs = solve_both("li_lei", table, save_at=figure6.SAVE_AT, progress=False)
    both = solve_both("li_lei", plans.more_of_both(), progress=False)
    scan = solve_both("li_lei", plans.total_scan(), progress=False)
    return {s: figure6.evidence(s, runs, table, both, scan) for s in SOLUTIONS}


@pytest.fixture(scope="module")
def found():
    return optima.optima(burdens=BURDENS, threads=2, progress=False)


@pytest.fixture(scope="module")
def dosed(found):
    """Doses of Figure 7 by protocol, with the PFS of an accurate solution."""
    runs = figure7.dose_runs(found, progress=False)
    others = figure7.plan_runs(found, progress=False)
    return figure7.evidence(ACCURATE, runs, others, dict(found.doses), pd.DataFrame([plans.CONTROL]))


@pytest.fixture(scope="module")
def pair(found):
    runs = figure8.regimen_runs(BURDENS, threads=2, progress=False)
    return dict(zip(SOLUTIONS, figure8.both_solutions(runs), strict=True))


@pytest.fixture(scope="module")
def study():
    return figure2_study.run_study(sample=2000, progress=False)


def statement(module, name):
    groups = [value for value in vars(module).values() if isinstance(value, tuple | Statement)]
    flat = [s for group in groups for s in (group if isinstance(group, tuple) else (group,))]
    return next(s for s in flat if isinstance(s, Statement) and s.name == name)


def verdict(module, name, numbers):
    finding = statement(module, name).judge(numbers)
    assert finding.numbers
    return finding.verdict


# --- the mechanism ---------------------------------------------------------------------------------


def test_a_range_holds_when_both_ends_do():
    assert by_range(71, 99, (70, 100), 2.5) == HOLDS
    assert by_range(74, 101, (70, 100), 2.5) == IN_PART  # one end
    assert by_range(80, 90, (70, 100), 2.5) == IN_PART  # inside, neither end
    assert by_range(60, 110, (70, 100), 2.5) == FAILS
    assert by_range(np.float64(71), np.float64(99), (70, 100), 2.5) == HOLDS


def test_parts_of_any_type_are_counted():
    assert by_parts([np.True_, np.True_]) == HOLDS
    assert by_parts([np.True_, False]) == IN_PART
    assert by_parts(pd.Series([False, False])) == FAILS


def test_solutions_that_disagree_give_a_verdict_in_part():
    assert combined(HOLDS, HOLDS) == HOLDS
    assert combined(HOLDS, FAILS) == IN_PART
    assert combined(OPEN, FAILS) == FAILS
    assert combined(OPEN, OPEN) == OPEN
    one = Statement("0.0", "", "", lambda x: Finding(HOLDS, ""))
    assert Assessment(one, Finding(HOLDS, ""), Finding(FAILS, "")).verdict == IN_PART


def test_errata_that_statements_name_are_there():
    numbers = {erratum.number for erratum in ERRATA}
    assert numbers == set(range(1, 14))


# --- computed data ---------------------------------------------------------------------------------

ON_FIGURE_4 = {
    "4.1": FAILS, "4.2": HOLDS, "4.3": HOLDS, "4.4": HOLDS, "4.5": HOLDS, "4.6": HOLDS, "4.7": HOLDS,
    "4.8": FAILS, "4.9": FAILS, "4.10": HOLDS, "4.11": HOLDS, "4.12": HOLDS, "4.13": HOLDS,
}  # fmt: skip
ON_FIGURE_5 = {
    "5.1": HOLDS, "5.2": HOLDS, "5.3": HOLDS, "5.4": IN_PART, "5.5": IN_PART, "5.6": IN_PART, "5.7": HOLDS,
    "5.8": HOLDS, "5.9": IN_PART, "5.10": IN_PART, "5.11": FAILS, "5.12": FAILS, "5.13": HOLDS,
}  # fmt: skip
ON_FIGURE_6 = {
    "6.1": HOLDS, "6.2": IN_PART, "6.3": HOLDS, "6.4": IN_PART, "6.5": HOLDS, "6.6": IN_PART, "6.7": IN_PART,
    "6.8": HOLDS, "6.9": IN_PART, "6.10": HOLDS, "6.11": IN_PART, "6.12": IN_PART,
}  # fmt: skip
ON_FIGURES_8_9 = {
    "8.1": HOLDS, "8.2": IN_PART, "8.3": HOLDS, "9.1": HOLDS, "9.2": HOLDS, "9.3": HOLDS, "9.4": HOLDS,
    "9.5": IN_PART,
}  # fmt: skip


@pytest.mark.parametrize("solution", SOLUTIONS)
def test_verdicts_on_the_figures(coarse, control, treated, pair, solution):
    for module, expected, numbers in (
        (on_4, ON_FIGURE_4, coarse), (on_5, ON_FIGURE_5, control), (on_6, ON_FIGURE_6, treated),
        (on_8, ON_FIGURES_8_9, pair),
    ):  # fmt: skip
        assert {name: verdict(module, name, numbers[solution]) for name in expected} == expected


def test_no_statement_is_left_out():
    for module, names in ((on_4, ON_FIGURE_4), (on_5, ON_FIGURE_5), (on_6, ON_FIGURE_6)):
        assert [s.name for s in module.STATEMENTS] == list(names)
    assert [s.name for s in on_8.STATEMENTS_8 + on_8.STATEMENTS_9] == list(ON_FIGURES_8_9)


def test_the_untreated_tumor_of_the_published_file_and_of_the_printed_parameters(coarse):
    assert on_4.equilibrium(pd.Series(paper.UNTREATED)).verdict == HOLDS
    tumor = coarse[ACCURATE].untreated
    assert tumor.iloc[-1] == pytest.approx((3.3 / 0.075 - 1) * 5e7, rel=2e-3)
    assert tumor[30.0] < 0.9 * tumor.iloc[-1]


def test_memory_cells_shorten_progression_free_survival(coarse, control):
    pfs = coarse[ACCURATE].memory["pfs"]
    assert (pfs[1e3], pfs[1e4]) == pytest.approx((53.7, 42.2), abs=0.05)
    pfs = control[ACCURATE].variants["pfs"]
    few = [pfs[name] for name in (on_5.NO_MEMORY_DOSE, on_5.CONTROL, on_5.MORE_MEMORY)]
    assert few == pytest.approx([75.9, 75.6, 73.3], abs=0.05)
    assert pfs[on_5.NO_MEMORY] > 120


def test_memory_cells_peak_on_day_37(control):
    for found in control.values():
        assert "peak on day 37" in on_5.memory_course(found).numbers


def test_plan_b_responds_from_below_two_million_cells(treated):
    for found in treated.values():
        low, high = on_6.onset(found.scan)
        assert 1e6 < low < high < 2e6
        assert found.scan[5e6] > found.pfs["B5"]


def test_plan_c_is_that_of_the_result_file_one_later(treated):
    assert paper.PLAN_C_FILE == (76, 73, 74, 72, 80, 83, 71)
    scheme = treated[PUBLISHED].pfs
    assert [scheme[plan] for plan in ("C7", "C1", "C2", "C3", "C4", "C5", "C6")] == list(paper.PLAN_C_FILE)
    published = on_6.published(on_6.by_file(), treated[PUBLISHED].doses)
    text = on_6.effector_rich(published).numbers
    assert "C5 83.0 d (more effector, fewer pre-CD8+)" in text
    assert "C4 80.0 d (more memory, fewer CD4+)" in text
    assert "not longer: C6 71.0 d" in text


def test_the_plan_that_the_text_recommends_is_no_better_than_cd4_alone(treated):
    pfs = treated[ACCURATE].pfs
    assert pfs["A3"] < pfs["A1"]
    assert pfs[plans.MORE_OF_BOTH] == pytest.approx(pfs["A2"], abs=0.1)


def test_statements_on_figure_7(found, dosed):
    def of(*names):
        return replace(dosed, doses={name: dosed.doses[name] for name in names})

    assert verdict(on_7, "7.1", of(optima.PROTOCOL)) == HOLDS
    assert verdict(on_7, "7.1", of(optima.BOX, optima.LIMITED)) == IN_PART
    assert verdict(on_7, "7.2", of(optima.PROTOCOL)) == HOLDS
    assert verdict(on_7, "7.2", of(optima.LIMITED)) == IN_PART
    assert verdict(on_7, "7.3", of(optima.PROTOCOL)) == IN_PART  # not constant: drawn from a box
    assert verdict(on_7, "7.3", of(optima.BOX)) == HOLDS  # the true optimum is
    assert verdict(on_7, "7.6", dosed) == FAILS
    start = on_7.with_total(found.doses[optima.PROTOCOL])
    change = replace(of(optima.LIMITED), start=start)
    assert verdict(on_7, "7.7", change) == IN_PART  # CD4+ yes, pre-CD8+ no
    assert (found.doses[optima.LIMITED]["TP"] < 1.1 * optima.LIMITS[0]).all()


def test_regulatory_doses_of_the_result_file_are_not_constant_above_the_stated_burden(published_results):
    table = pd.read_csv(published_results / "optimal_doses_001_200.csv")
    doses = on_7.with_total(table[["C", *plans.SUBTYPES]])
    empty = pd.DataFrame()
    numbers = on_7.Doses({"file": doses}, empty, "file", empty, empty)
    assert verdict(on_7, "7.1", numbers) == HOLDS
    assert verdict(on_7, "7.2", numbers) == HOLDS
    assert verdict(on_7, "7.3", numbers) == IN_PART
    pfs = table["published_pfs_day"]
    assert (pfs.min(), pfs.max()) == paper.FILE_PFS_RANGE


def test_statements_on_figure_2(study):
    verdicts = {a.statement.name: a.verdict for a in figure2.judged(study)}
    assert verdicts["2.1"] == HOLDS
    assert verdicts["2.2"] == IN_PART  # a published coefficient of another parameter is -0.225
    assert verdicts["2.3"] == verdicts["2.4"] == verdicts["2.5"] == verdicts["2.8"] == HOLDS
    assert verdicts["2.6"] == verdicts["2.7"] == IN_PART  # intervals hold 0
    assert verdicts["2.9"] == IN_PART


def test_table_3_is_one_ahead_from_its_28th_name_on():
    varied = tuple(paper.PFS_CORRELATION)
    assert paper.TABLE_3[:26] == varied[:26]
    assert paper.TABLE_3[27:] == varied[26:]
    assert "No. 27, K_TM" in on_2.TABLE_3.judge(paper.TABLE_3).numbers
    assert on_2.TABLE_3.judge(varied).verdict == HOLDS


# --- constructed data: another verdict ---------------------------------------------------------------


def changed(frame, column, values):
    return frame.assign(**{column: values})


def decaying(path):
    """A tumor that falls for ever."""
    return changed(path, "C", 1e6 * np.exp(-0.1 * path.index))


FLIPS_4 = {
    "4.1": (lambda d: replace(d, untreated=pd.Series(paper.UNTREATED)), HOLDS),
    "4.2": (lambda d: replace(d, default=changed(d.default, "C", 1e6)), FAILS),
    "4.3": (lambda d: replace(d, default=decaying(d.default)), FAILS),
    "4.4": (lambda d: replace(d, default=changed(d.default, "TE", 1e7)), IN_PART),
    "4.5": (lambda d: replace(d, default=changed(d.default, "TM", 1e3 + d.default.index)), FAILS),
    "4.6": (lambda d: replace(d, pfs=d.pfs * 0 + 50.0), IN_PART),
    "4.7": (lambda d: replace(d, threshold=0.9e6), FAILS),
    "4.8": (lambda d: replace(d, threshold=0.9e6), HOLDS),
    "4.9": (lambda d: replace(d, threshold=0.85e6), HOLDS),
    "4.10": (lambda d: replace(d, memory=changed(d.memory, "pfs", d.memory["pfs"].to_numpy()[::-1])), FAILS),
    "4.11": (lambda d: replace(d, memory=changed(d.memory, "pfs", d.memory["pfs"] - 5)), IN_PART),
    "4.12": (lambda d: replace(d, memory=d.memory.assign(killing_TE=np.arange(len(d.memory)))), FAILS),
    "4.13": (lambda d: replace(d, memory=changed(d.memory, "TM", 1e3)), FAILS),
}  # fmt: skip


def shifted(path, column, day):
    """A course that peaks on a given day."""
    return changed(path, column, np.exp(-0.5 * ((path.index - day) / 10.0) ** 2))


def variant(d, name, column, value):
    table = d.variants.copy()
    table.loc[name, column] = value
    return replace(d, variants=table)


MORE_IS_BETTER = pd.Series(
    {
        on_5.CONTROL: 70.0, on_5.NO_MEMORY_DOSE: 60.0, on_5.MORE_MEMORY: 80.0, on_5.NO_MEMORY: 50.0,
        on_5.NO_REGULATORY: 70.0,
    }
)  # fmt: skip
FLIPS_5 = {
    "5.1": (lambda d: replace(d, path=changed(d.path, "C", 1e6)), FAILS),
    "5.2": (lambda d: replace(d, path=decaying(d.path)), FAILS),
    "5.3": (lambda d: replace(d, path=changed(d.path, "T4", 1e4 * np.exp(-0.1 * d.path.index))), IN_PART),
    "5.4": (lambda d: replace(d, path=shifted(d.path, "TP", 2.0)), HOLDS),
    "5.5": (lambda d: replace(d, path=shifted(d.path, "TE", 17.0)), HOLDS),
    "5.6": (lambda d: replace(d, path=shifted(d.path, "TM", 30.0)), HOLDS),
    "5.7": (lambda d: replace(d, path=changed(d.path, "Tr", d.path["Tr"].to_numpy()[::-1])), FAILS),
    "5.8": (lambda d: replace(d, path=changed(d.path, "Tb", 1.0)), IN_PART),
    "5.9": (lambda d: replace(d, path=shifted(d.path, "Ig", 17.0)), HOLDS),
    "5.10": (lambda d: replace(d, path=changed(d.path, "Ig", 0.01 * d.path["Ig"])), HOLDS),
    "5.11": (lambda d: replace(d, variants=d.variants.assign(pfs=MORE_IS_BETTER)), HOLDS),
    "5.12": (lambda d: replace(d, path=changed(d.path, "TM", 1e10)), HOLDS),
    "5.13": (lambda d: variant(d, on_5.NO_REGULATORY, "peak_TE", 1e6), FAILS),
}  # fmt: skip


def with_pfs(d, **pfs):
    new = d.pfs.copy()
    for plan, days in pfs.items():
        new[plan] = days
    return replace(d, pfs=new)


def with_peak(d, plan, **ratios):
    new = d.peaks.copy()
    for name, ratio in ratios.items():
        new.loc[plan, name] = ratio * new.loc["A1", name]
    return replace(d, peaks=new)


def with_dose(d, plan, **cells):
    new = d.doses.copy()
    for name, dose in cells.items():
        new.loc[plan, name] = dose
    return replace(d, doses=new)


FLIPS_6 = {
    "6.1": (lambda d: with_pfs(d, A2=60.0), FAILS),
    "6.2": (lambda d: with_pfs(d, A3=75.0), HOLDS),
    "6.3": (lambda d: with_pfs(d, A6=50.0), FAILS),
    "6.4": (lambda d: replace(d, scan=d.scan.where(d.scan.index > 5e6, 0.0)), HOLDS),
    "6.5": (lambda d: with_pfs(d, B4=100.0), IN_PART),
    "6.6": (lambda d: with_pfs(d, C6=90.0), HOLDS),
    "6.7": (lambda d: with_dose(d, "C6", T4=2e4, TP=1.5e7), HOLDS),
    "6.8": (lambda d: with_peak(d, "A2", I2=1.0), IN_PART),
    "6.9": (lambda d: with_pfs(d, A3=90.0), HOLDS),
    "6.10": (lambda d: with_pfs(d, A5=90.0), FAILS),
    "6.11": (lambda d: with_peak(d, "A4", I6=2.0), HOLDS),
    "6.12": (
        lambda d: with_pfs(d, A3=90.0, C1=90.0, C2=90.0, C3=90.0), HOLDS,
    ),
}  # fmt: skip


def dose_path(d, **columns):
    return replace(d, dose=d.dose.assign(**columns))


FLIPS_8_9 = {
    "8.1": (lambda d: replace(d, pfs=(75.6, 70.0)), FAILS),
    "8.2": (lambda d: dose_path(d, TP=0.5 * d.control["TP"]), HOLDS),
    "8.3": (lambda d: dose_path(d, I2=2 * d.control["I2"]), IN_PART),
    "9.1": (lambda d: dose_path(d, killing_T4=d.dose["killing_TE"]), IN_PART),
    "9.2": (lambda d: dose_path(d, killing_TE=0.0), FAILS),
    "9.3": (lambda d: replace(d, control=d.control.assign(Tr=0.0)), IN_PART),
    "9.4": (lambda d: dose_path(d, TM=2 * d.control["TM"], Tr=2 * d.control["Tr"]), FAILS),
    "9.5": (lambda d: dose_path(d, TM=d.control["TM"]), FAILS),
}  # fmt: skip


@pytest.mark.parametrize("name", FLIPS_4)
def test_another_verdict_on_figure_4(coarse, name):
    check_flip(on_4, name, FLIPS_4, coarse[ACCURATE], ON_FIGURE_4)


@pytest.mark.parametrize("name", FLIPS_5)
def test_another_verdict_on_figure_5(control, name):
    check_flip(on_5, name, FLIPS_5, control[ACCURATE], ON_FIGURE_5)


@pytest.mark.parametrize("name", FLIPS_6)
def test_another_verdict_on_figure_6(treated, name):
    check_flip(on_6, name, FLIPS_6, treated[ACCURATE], ON_FIGURE_6)


@pytest.mark.parametrize("name", FLIPS_8_9)
def test_another_verdict_on_figures_8_and_9(pair, name):
    check_flip(on_8, name, FLIPS_8_9, pair[ACCURATE], ON_FIGURES_8_9)


def check_flip(module, name, flips, numbers, real):
    change, expected = flips[name]
    assert expected != real[name]
    assert verdict(module, name, change(numbers)) == expected


def test_every_statement_has_another_verdict_somewhere():
    for flips, real in (
        (FLIPS_4, ON_FIGURE_4), (FLIPS_5, ON_FIGURE_5), (FLIPS_6, ON_FIGURE_6), (FLIPS_8_9, ON_FIGURES_8_9)
    ):  # fmt: skip
        assert set(flips) == set(real)


def table(lambda_C, k_TE, d_C, d_TE=0.0, width=0.05):
    value = pd.Series({"lambda_C": lambda_C, "k_TE": k_TE, "d_C": d_C, "d_TE": d_TE, "K_1": 0.0, "K_2": 0.0})
    return pd.DataFrame({"value": value, "low": value - width, "high": value + width})


def test_another_verdict_on_figure_2():
    early, late = table(0.5, -0.5, -0.4), table(0.5, -0.1, -0.6)
    good = on_2.Correlations(table(-0.5, 0.5, 0.0), {80: early, 200: late})
    assert {s.name: s.judge(good).verdict for s in on_2.STATEMENTS} == dict.fromkeys(
        ["2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8"], HOLDS
    )
    bad = on_2.Correlations(
        table(0.1, -0.1, 0.3, -0.3, 0.21), {80: table(-0.5, 0.5, 0.4), 200: table(-0.5, 0.1, 0.3)}
    )
    assert {s.name: s.judge(bad).verdict for s in on_2.STATEMENTS} == dict.fromkeys(
        ["2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7"], FAILS
    ) | {"2.8": HOLDS}
    swapped = on_2.Correlations(good.pfs, {80: table(0.5, 0.0, -0.4), 200: table(0.5, -0.4, 0.0)})
    assert verdict(on_2, "2.8", swapped) == FAILS


def test_an_interval_that_holds_zero_is_no_moderate_effect():
    early, late = table(0.5, -0.5, -0.03), table(0.5, -0.1, -0.6)
    finding = on_2.death_of_tumor(on_2.Correlations(late, {80: early, 200: late}))
    assert finding.verdict == IN_PART
    assert "day 80: -0.030 [-0.080, 0.020], the interval holds 0" in finding.numbers


def test_another_verdict_on_figure_7(dosed):
    C = np.linspace(1e6, 6e6, 50)
    doses = pd.DataFrame(
        {"C": C, "T4": C, "TP": C, "TE": C, "TM": C, "Tr": np.where(C < 2.3e6, C / 1e3, 5.0)}
    )
    ideal = replace(dosed, doses={"ideal": on_7.with_total(doses)})
    flat = replace(
        dosed, doses={"flat": on_7.with_total(doses.assign(T4=1.0, TP=1.0, TE=1.0, TM=1.0, Tr=1.0))}
    )
    random = replace(dosed, doses={"random": on_7.with_total(doses.assign(Tr=np.tile([1.0, 9.0], 25)))})
    assert [verdict(on_7, name, ideal) for name in ("7.1", "7.2", "7.3")] == [HOLDS] * 3
    assert [verdict(on_7, name, flat) for name in ("7.1", "7.2", "7.3")] == [FAILS, FAILS, IN_PART]
    assert verdict(on_7, "7.3", random) == IN_PART

    def with_protocol(pfs):
        return replace(dosed, pfs=dosed.pfs.assign(**{dosed.protocol: pfs}))

    assert verdict(on_7, "7.4", with_protocol(np.linspace(70, 100, len(dosed.pfs)))) == HOLDS
    assert verdict(on_7, "7.4", with_protocol(np.linspace(50, 120, len(dosed.pfs)))) == FAILS
    assert verdict(on_7, "7.5", with_protocol(199.0)) == HOLDS
    assert verdict(on_7, "7.5", with_protocol(0.0)) == FAILS
    assert verdict(on_7, "7.6", with_protocol(199.0)) == HOLDS
    better = replace(
        ideal, start=on_7.with_total(doses), doses={"more": on_7.with_total(doses.assign(T4=2 * C, TP=2 * C))}
    )
    less = replace(
        ideal, start=on_7.with_total(doses), doses={"less": on_7.with_total(doses.assign(T4=C / 2, TP=C / 2))}
    )
    assert (verdict(on_7, "7.7", better), verdict(on_7, "7.7", less)) == (HOLDS, FAILS)


def test_another_verdict_on_figure_10():
    single = np.linspace(70.0, 100.0, 40)
    middle = {f"share_{name}": [sum(ends) / 2] * 3 for name, ends in paper.PROPORTION_RANGES.items()}
    good = on_10.Simplified(
        single, single, np.stack([np.linspace(66.0, 99.0, 40)] * 5, axis=1), {"all": pd.DataFrame(middle)}
    )
    names = ["10.1", "10.2", "10.3", "10.4", "10.5"]
    assert [verdict(on_10, name, good) for name in names] == [HOLDS] * 5
    bad = on_10.Simplified(single, single * 0, good.random * 0, {"all": pd.DataFrame(middle) * 5})
    assert [verdict(on_10, name, bad) for name in names] == [FAILS] * 5
    narrow = replace(good, averaged=np.clip(single, 74, 96), random=np.maximum(0.88 * single, 66.0)[:, None])
    assert [verdict(on_10, name, narrow) for name in names] == [IN_PART, HOLDS, HOLDS, IN_PART, IN_PART]
