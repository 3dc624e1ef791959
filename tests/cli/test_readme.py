"""The README and pages of the site: their examples run, their tables and figures are of this version."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import drawn_as_pixels

import fastcart
from fastcart import batch, cli, fit
from fastcart.fit.spec import read_spec as read_fit_spec
from fastcart.protocols import Visit
from fastcart.trial.spec import read_spec

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
FIGURE_LIMIT = 300_000  # bytes


def _scripts():
    """Return the scripts that run examples and write the generated parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import pages
        import readme

        for name in ("pages", "readme", "work", "compare", "peers"):
            sys.modules.pop(name, None)
        return pages, readme


pages, readme = _scripts()
PAGES = pages.pages()
TEXTS = {page: page.read_text("utf-8") for page in PAGES}
SHOWN_FIT = re.compile(r"^\$ fastcart fit (\S+\.toml)", re.MULTILINE)
RUN = [page for page in PAGES if pages.examples(TEXTS[page])]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def page_of(name: str) -> str:
    return TEXTS[ROOT / "docs" / name]


NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")


def assert_same_but_for_rounding(printed: str, shown: str, part: str) -> None:
    """Compare words exactly; numbers with decimals may differ as those of other processors do."""
    told = f"run: python benchmarks/readme.py {part}"
    new, old = printed.strip(), shown.strip().removeprefix("```text").removesuffix("```").strip()
    assert NUMBER.sub("#", new).split() == NUMBER.sub("#", old).split(), told
    # whole numbers count what may be otherwise on other processors, such as starts that came to the minimum
    numbers = [[float(x.replace(",", "")) for x in NUMBER.findall(text) if "." in x] for text in (new, old)]
    assert numbers[0] == pytest.approx(numbers[1], rel=2e-3, abs=1e-12), told


def test_what_a_page_shows_is_compared():
    assert_same_but_for_rounding("median 122.61 of 10,000", "```text\nmedian  122.6 of 10,000\n```", "x")
    for other in ("median 122.9 of 10,000", "mean 122.6 of 10,000", "median 122.6"):
        with pytest.raises(AssertionError, match=r"run: python benchmarks/readme.py x"):
            assert_same_but_for_rounding(other, "median 122.6 of 10,000", "x")


@drawn_as_pixels()
@pytest.mark.parametrize("page", RUN, ids=named)
def test_examples_run(page, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    try:
        for example, printed in pages.run(page):
            if example.kind == pages.PYTHON:
                assert bool(printed) == bool(example.name), f"{printed!r} is shown nowhere"
                if printed:
                    shown = pages.blocks(TEXTS[page])[example.name]
                    assert_same_but_for_rounding(printed, shown, example.name)
            for command in example.commands if example.kind == pages.COMMANDS else ():
                for option in ("--out", "--trajectories"):
                    if option in command:
                        assert Path(command[command.index(option) + 1]).exists(), command
        for name in SHOWN_FIT.findall(TEXTS[page]):  # which takes too long here
            spec = read_fit_spec(name)
            data = fit.read(spec.data, spec.model, **spec.reading)
            assert set(data.kinds) == {item.dvid for item in spec.observations}
    finally:
        plt.close("all")
    made = {file.name for file in tmp_path.iterdir()}
    shown = {picture.name for picture in pages.pictures_of(page)}
    drawn = {name for name in made if name.endswith((".svg", ".png"))}
    assert drawn <= shown, "a picture is drawn and not shown"


@pytest.mark.slow
def test_the_fit_that_is_shown_only_finds_what_its_data_are_made_of(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "guides" / "fits.md"
    for _ in pages.run(page):
        pass
    (name,) = SHOWN_FIT.findall(TEXTS[page])
    assert cli.main(["fit", name, "--out", "cart"]) == 0
    assert "\nconverged\n" in capsys.readouterr().out
    found = pd.read_csv("cart/tables/estimates.csv", index_col="parameter")["scaled"]
    spread = {"foldx": 0.8, "Tmax": 0.2, "Cmax": 0.7, "alpha": 0.4, "FB": 0.7, "beta": 0.5}
    usual = fastcart.models.get("cart_kinetics").defaults()
    error = pd.read_csv("cart/tables/estimates.csv", index_col="parameter")["scaled_se"]
    truth = {parameter: np.log(usual[parameter]) for parameter in spread}
    truth |= {f"omega_{parameter}": np.log(sd) for parameter, sd in spread.items()}
    for parameter, value in truth.items():
        assert abs(found[parameter] - value) < 3.5 * error[parameter], parameter


def test_pages_have_examples_of_all_kinds():
    kinds = [example.kind for page in RUN for example in pages.examples(TEXTS[page])]
    assert kinds.count(pages.PYTHON) >= 25
    commands = {
        command[0] for page in RUN for e in pages.examples(TEXTS[page]) if e.kind == pages.COMMANDS
        for command in e.commands
    }  # fmt: skip
    assert {"models", "run", "compare", "reproduce", "scan", "sensitivity", "optimize"} <= commands
    for page, text in TEXTS.items():  # no example is missed because its fence has another form
        marked = (
            text.count("\n```python\n")
            + text.count("\n```sh\n")
            + len(re.findall(r"\n:caption: \S+\n\n", text))
        )
        marked += text.count("<!-- file: ")
        assert marked == len(pages.examples(text)), page


def test_a_page_says_where_a_command_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```sh\nfastcart models no_such_model\n```\n")
    with pytest.raises(RuntimeError, match="ends with 2"):
        list(pages.run(page))


def test_a_page_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```sh\nfastcart explore li_lei\n```\n")
    with pytest.raises(RuntimeError, match="console"):
        list(pages.run(page))


def test_the_first_example_is_that_of_the_site(tmp_path):
    first = next(e for e in pages.examples(TEXT) if e.kind == pages.PYTHON)
    assert first.source == next(
        e.source for e in pages.examples(page_of("start.md")) if e.kind == pages.PYTHON
    )
    assert sum(bool(line.strip()) for line in first.source.splitlines()) <= 15


def test_the_readme_is_short():
    assert len(TEXT.splitlines()) <= 150


def test_numbers_of_the_readme_are_those_of_the_site():
    measured = page_of("benchmarks.md")
    rows = re.findall(r"^\| .*? \| ([\d.,]+) \| ([\d.,]+) \| (\d[\d.]*) times \|$", TEXT, flags=re.M)
    assert len(rows) == 3
    for own, other, ratio in rows:
        one, two = (float(number.replace(",", "")) for number in (own, other))
        assert f"| {own} |" in measured
        assert f"| {other} |" in measured
        assert float(ratio) == pytest.approx(max(one / two, two / one), rel=0.025)  # two digits


def test_specification_of_the_guide_to_trials(tmp_path):
    """Its files are read, and its rule never asks for more than is left."""
    for example in pages.examples(page_of("guides/trials.md")):
        (tmp_path / example.name).write_text(example.source, encoding="utf-8")
    spec = read_spec(tmp_path / "trial.toml")
    assert [arm.name for arm in spec.arms] == ["A0", "A5", "calendar", "mine"]
    mine = spec.arms[-1]
    burdens, il6 = np.array([[10.0, 5.0, 0.5]] * 2), np.array([[0.0, 100.0, 100.0], [0.0, 900.0, 100.0]])
    given = np.array([[0.2, 0.4, 0.0], [0.2, 0.0, 0.0]])
    visit = Visit(2, np.array([0.0, 7.0, 14.0]), burdens, il6, given, np.zeros((2, 3)), np.arange(2))
    effectors, memory = mine.rule(visit)
    np.testing.assert_allclose(effectors, [0.4, 0.4])
    np.testing.assert_allclose(memory, [1.0, 1.0])
    assert (visit.effectors_total + effectors <= 1 + 1e-9).all()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = {name for text in TEXTS.values() for name in re.findall(r"\bmake ([a-z]+)\b(?= +#|`)", text)}
    assert {"demo", "test", "bench", "setup", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_every_endpoint_has_a_row():
    ends = fastcart.solve("li_lei", 1, engine="published").endpoints
    section = page_of("guides/patients.md").split("## Endpoints")[1].split("\n## ")[0]
    explained = {
        name for cell in re.findall(r"^\| (.*?) \|", section, flags=re.M) for name in cell.split(", ")
    }
    for column in ends.columns:
        shown = "final_<state>" if column.startswith("final_") else column
        assert f"`{shown}`" in explained, f"the table of endpoints has no row for {shown}"


def test_every_engine_has_a_row():
    section = page_of("theory/methods.md").split("## Engines")[1].split("\n## ")[0]
    for engine in batch.ENGINES:
        if engine != "auto":
            assert f"| `{engine}` |" in section, f"the table of engines has no row for {engine}"


@pytest.mark.parametrize(
    ("part", "page"), [("status", "guides/patients.md"), ("plan-a", "papers/li_lei_2025.md")]
)
def test_generated_parts_are_current(part, page):
    written = pages.blocks(page_of(page))[part].strip()
    assert written == readme.PARTS[part]().strip(), f"run: python benchmarks/readme.py {part}"


def test_all_parts_are_marked_and_filled():
    found = [name for text in TEXTS.values() for name in pages.blocks(text)]
    printed = {e.name for page in RUN for e in pages.examples(TEXTS[page]) if e.kind == pages.PYTHON} - {""}
    assert sorted(found) == sorted({*readme.PARTS, *printed})
    for text in TEXTS.values():
        bodies = pages.blocks(text).values()
        assert text.count("<!-- begin generated") == text.count("<!-- end generated -->") == len(bodies)
        assert all(len(body.strip()) > len("```text\n```") for body in bodies)


def test_only_the_named_parts_are_rewritten():
    text = page_of("guides/patients.md")
    new = pages.replace_blocks(text, {"status": "\\1 new text"})
    assert pages.blocks(new)["status"] == "\\1 new text\n"
    assert pages.replace_blocks(new, pages.blocks(text)) == text


def test_unknown_part_is_an_error():
    script = ROOT / "benchmarks" / "readme.py"
    done = subprocess.run([sys.executable, script, "plan-b"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such part: plan-b" in done.stderr


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_figures(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", TEXTS[page]):
        made = target.endswith(".ipynb") or "models/" in named(page) + target
        if not target.startswith("http") and not made:
            assert (page.parent / target).exists(), target


def test_figures_are_small():
    for figure in (ROOT / "docs" / "pictures").iterdir():
        assert 0 < figure.stat().st_size < FIGURE_LIMIT, figure


def test_completion_line_knows_all_commands():
    from fastcart.cli.command_line import COMMANDS

    line = next(line for line in page_of("start.md").splitlines() if line.startswith("complete "))
    script = f'fastcart() {{ {sys.executable} -m fastcart "$@"; }}\ncomplete() {{ echo "$4"; }}\n{line}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(COMMANDS)


def test_citation_is_of_this_version():
    assert f"\nversion: {fastcart.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
