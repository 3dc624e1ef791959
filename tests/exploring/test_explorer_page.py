"""The page as its user meets it, in headless Chromium."""

from __future__ import annotations

import json
import threading
import tomllib
import xml.etree.ElementTree as ET
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

import fastcart
from fastcart.exploring.opening import Chosen
from fastcart.solvers import compile_clock

SMALL = Chosen(model="leon_triana")


def move(name: str, value: str, kind: str = "value") -> str:
    """Return a script that moves the slider of a parameter."""
    which = "input[type=range]" if kind == "value" else "#c_" + name
    return (
        f"const s = ROWS.get('{name}').box.querySelector('{which}'); s.value = {value};"
        "s.dispatchEvent(new Event('input', {bubbles: true}));"
    )


def test_the_first_picture(open_page):
    page = open_page(SMALL)
    assert page.status.startswith("1000 patients · median PFS")
    assert page.run("return document.title") == "leon_triana – fastcart explore"
    # two bands and a median; a curve; a waterfall
    assert page.run("return [...$('p0').querySelectorAll('path')].length") == 3
    assert page.run("return $('p2').querySelectorAll('path').length") == 1
    assert page.run("return $('p3').querySelectorAll('path').length") == 2
    assert page.complaints() == []


def test_nobody_else_is_asked(open_page):
    page = open_page(SMALL)
    for log in page.browser.get_log("performance"):
        message = json.loads(log["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            assert url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:", "chrome")), url
    assert page.run(
        "return performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin))"
    )


def test_sliders_change_the_numbers_of_fastcart(open_page):
    page = open_page(SMALL)
    page.answered(move("rho_L", "0.6"))
    value = page.run("return ROWS.get('rho_L').value")
    settings = page.run("return A.settings")
    assert settings["values"]["rho_L"] == value != fastcart.models.get("leon_triana").defaults()["rho_L"]
    page.answered(move("C", "0", "spread"))
    page.answered(move("rho_L", "0", "spread"))
    assert page.status.startswith("1 patient ·")
    solved = fastcart.solve("leon_triana", {"rho_L": [value]}, save_at=np.linspace(0, 365, 101), save=["L"])
    np.testing.assert_allclose(
        page.run("return Array.from(bandsOf(A, 'L')[2])"), solved.trajectories["L"], rtol=1e-9
    )


def test_two_quantities_single_patients_and_hover(open_page):
    page = open_page(SMALL)
    page.answered("$('output1').value = 'C'; $('output1').dispatchEvent(new Event('input'))")
    assert page.run("return $('p1').querySelectorAll('path').length") == 3
    page.answered("$('lines').click()")
    assert page.run("return $('p0').querySelectorAll('path').length") == 43
    for plot in ("p0", "p1", "p2", "p3"):
        page.run(
            f"const b = $('{plot}').getBoundingClientRect(); $('{plot}').dispatchEvent(new PointerEvent("
            "'pointermove', {clientX: b.left + b.width / 2}))"
        )
        assert ": " in page.run(f"return $('{plot}_readout').textContent"), plot
    median = page.run("return shown(bandsOf(A, 'L')[2][0])")
    page.run(
        "plots[0].look(null); for (let k = 0; k < 3; k++) $('p0').dispatchEvent(new KeyboardEvent('keydown', "
        "{key: k < 2 ? 'ArrowLeft' : 'ArrowLeft'}))"
    )
    assert page.run("return $('p0_readout').textContent").startswith(f"day 0: {median} (")


def test_doses_can_be_added_and_taken_off(open_page):
    page = open_page(SMALL)
    page.answered("$('addDose').click()")
    page.answered(
        "const d = $('doses').lastChild, f = d.querySelectorAll('input');"
        "d.querySelector('select').value = 'C';"
        "f[0].value = 30; f[1].value = '1e8'; d.dispatchEvent(new Event('input'))"
    )
    assert page.run("return A.settings.doses") == [
        {"time": 30, "state": "C", "amount": 1e8, "duration": 0, "every": 0, "repeats": 0}
    ]
    page.answered("$('doses').querySelector('button').click()")
    assert page.run("return A.settings.doses") == []


def test_a_against_b(open_page):
    page = open_page(SMALL)
    page.run("$('pin').click()")
    first = page.run("return A.settings.values")
    page.answered(move("rho_L", "0.7"))
    assert page.run("return $('p2').querySelectorAll('path').length") == 2
    assert page.run("return B.settings.values") == first
    page.answered("$('swap').click()")
    assert page.run("return A.settings.values") == first
    page.run("$('drop').click()")
    assert page.run("return $('p2').querySelectorAll('path').length") == 1


def test_the_address_and_toml_bring_settings_back(open_page, tmp_path):
    page = open_page(SMALL)
    page.answered(move("rho_L", "0.55"))
    page.answered("$('seed').value = 9; $('seed').dispatchEvent(new Event('input'))")
    settings = page.run("return A.settings")
    page.browser.refresh()
    page.wait("typeof A === 'object' && A && !asking.flight")
    assert page.run("return A.settings") == settings
    page.run("document.querySelector('[data-text=toml]').click()")
    text = page.wait("$('text').textContent")
    assert tomllib.loads(text)["seed"] == 9
    page.run("$('saveText').click()")
    file = page.downloaded("leon_triana.toml")
    page.answered("apply(FACTS.start); changed()")
    before = page.run("return asking.stats.length")
    page.browser.find_element("id", "load").send_keys(str(file))
    page.wait(f"asking.stats.length > {before} && !asking.flight")
    assert page.run("return A.settings") == settings
    file.unlink()
    bad = tmp_path / "bad.toml"
    bad.write_text("pateints = 3")
    page.browser.find_element("id", "load").send_keys(str(bad))
    assert "Did you mean 'patients'" in page.wait(
        "$('status').className === 'bad' && $('status').textContent"
    )


def test_measurements_are_laid_over(open_page, tmp_path):
    data = tmp_path / "seen.csv"
    data.write_text("time,quantity,value,sd\n0,C,1e7,1e6\n30,C,1e8,1e7\n")
    page = open_page(SMALL)
    page.browser.find_element("id", "data").send_keys(str(data))
    page.wait("$('p1').querySelectorAll('circle').length === 2")  # what is not shown yet is shown
    assert page.run("return A.settings.outputs") == ["L", "C"]
    page.run("$('noData').click()")
    assert page.run("return $('p1').querySelectorAll('circle').length") == 0


def test_figures_and_numbers_are_saved(open_page):
    page = open_page(SMALL)
    page.run("$('svg').click()")
    svg = page.downloaded("leon_triana_over_time.svg")
    assert ET.parse(svg).getroot().tag.endswith("svg")
    page.run("$('png').click()")
    assert page.downloaded("leon_triana_over_time.png").read_bytes().startswith(b"\x89PNG")
    page.run("$('csv').click()")
    table = pd.read_csv(page.downloaded("leon_triana_bands.csv"))
    assert list(table) == ["t", "L_q05", "L_q25", "L_q50", "L_q75", "L_q95"]
    np.testing.assert_allclose(table["L_q50"], page.run("return Array.from(bandsOf(A, 'L')[2])"), rtol=1e-15)
    share = pd.read_csv(page.downloaded("leon_triana_progression_free.csv"))
    assert list(share) == ["t", "share"]


def test_find_and_reset(open_page):
    page = open_page(SMALL)
    page.run("$('find').value = 'rho'; $('find').oninput()")
    shown = page.run(
        "return [...document.querySelectorAll('.input')].filter(x => !x.hidden)"
        ".map(x => x.dataset.find.split(' ')[0])"
    )
    assert "rho_l" in shown
    assert "alpha" not in shown
    page.answered(move("rho_L", "0.9"))
    page.answered("ROWS.get('rho_L').box.querySelector('button').click()")
    assert "rho_L" not in page.run("return A.settings.values")


def test_parameters_that_add_up_stay_so(open_page):
    page = open_page(Chosen(model="t_cell"))
    name = page.run("return FACTS.sums[0].names[0]")
    page.answered(move(name, "0.5"))
    values = page.run("return FACTS.sums[0].names.map(n => A.settings.values[n])")
    assert values[0] == 0.5
    assert abs(sum(values) - 1) < 1e-12


def test_another_model_is_a_choice_away(open_page):
    page = open_page(SMALL)
    page.run("$('switch').value = 'kimmel'; $('switch').onchange()")
    page.wait(
        "typeof FACTS === 'object' && FACTS.model === 'kimmel' && typeof asking === 'object' "
        "&& asking.stats.length > 0"
    )
    assert page.status.startswith("1000 patients")


def test_what_is_slow_is_drafted_while_dragging_and_whole_behind(open_page):
    page = open_page(SMALL)
    page.run("asking.took = 5000; asking.dragging = true;")
    page.answered(move("rho_L", "0.6"))
    assert page.run("return [A.patients, A.draft]") == [50, True]
    assert "a draft" in page.status
    page.answered("asking.took = 0; asking.released()")
    assert page.run("return [A.patients, A.draft]") == [1000, False]


def test_the_newest_question_wins(open_page):
    page = open_page(Chosen(model="li_lei"))
    page.answered("$('patients').value = 4.3; changed()")
    before = page.run("return asking.stats.length")
    page.run(move("k_TE", "0.5"))
    page.wait("asking.flight && performance.now() - asking.flight.begun > 20")
    page.run("asking.flight.abort.abort(); " + move("k_TE", "0.6"))
    page.wait(f"asking.stats.length > {before} && !asking.flight")
    assert page.run("return A.settings.values.k_TE === ROWS.get('k_TE').value && A.patients === 19953")


def test_what_goes_wrong_is_said(open_page):
    page = open_page(SMALL)
    page.run("$('horizon').value = -1; changed()")
    assert "horizon" in page.wait("$('status').className === 'bad' && $('status').textContent")
    page.server.shutdown()
    page.server.server_close()
    page.run("$('horizon').value = 10; changed()")
    page.wait("$('status').textContent.includes('does not answer')")


def test_a_page_that_is_closed_leaves_no_thread(open_page):
    page = open_page(Chosen(model="li_lei"))
    page.run("$('patients').value = 4.3; changed()")
    page.browser.get("about:blank")
    import time

    end = time.monotonic() + 30
    while any("process_request_thread" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("phone", [False, True])
@pytest.mark.parametrize("model", ["leon_triana", "cart_kinetics"])
def test_everyone_can_use_it(open_page, violations, phone, model):
    page = open_page(Chosen(model=model), phone=phone)
    page.answered(
        "for (const d of document.querySelectorAll('details')) d.open = true;"
        "$('addDose').click(); $('pin').click();"
        "$('output1').selectedIndex = 2; $('output1').dispatchEvent(new Event('input')); "
        "document.querySelector('[data-text=python]').click()"
    )
    page.wait("$('text').textContent")
    assert violations(page) == []
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints() == []


def test_compiling_is_told_with_its_seconds_and_else_solving(open_page, monkeypatch):
    page = open_page(SMALL)
    explored = page.server.explored(None)
    solve = type(explored).solve
    let_go, compiles = threading.Event(), threading.Event()

    def slow(self, given):
        with compile_clock.compiling() if compiles.is_set() else nullcontext():
            let_go.wait(30)
        return solve(self, given)

    monkeypatch.setattr(type(explored), "solve", slow)
    page.run(move("rho_L", "0.6"))
    page.wait("/^solving … [1-9] s$/.test($('status').textContent)")
    let_go.set()
    page.wait("!asking.flight && $('status').textContent.startsWith('1000 patients')")
    let_go.clear()
    compiles.set()
    page.run(move("rho_L", "0.5"))
    page.wait("/compiling the model, once .*: [1-9] s so far/.test($('status').textContent)")
    let_go.set()
    page.wait("!asking.flight && $('status').textContent.startsWith('1000 patients')")


def test_what_has_no_description_is_named_once(open_page, tmp_path):
    (tmp_path / "plain.py").write_text(
        "import fastcart\n\ndef rhs(t, y, p):\n    return (-p.k_T * y.T + 0 * p.lambda_C,)\n\n"
        "model = fastcart.Model('plain', {'T': 1.0}, {'k_T': 0.1, 'lambda_C': 1.0}, rhs, t_end=10.0)\n"
    )
    page = open_page(Chosen(model=f"{tmp_path / 'plain.py'}:model"))
    names = "[...document.querySelectorAll('.input .name label')].map(x => x.textContent.trim())"
    assert page.run(f"return {names}") == ["T", "kT", "λC lambda_C"]
