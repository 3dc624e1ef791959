"""A page in headless Chromium; where there is none, its tests are skipped, and say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastcart.exploring.opening import Chosen, open_server

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    from browser import missing, open_browser

PHONE = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser whose downloads go to ``chromium.downloads``."""
    if missing():
        pytest.skip(missing())
    folder = tmp_path_factory.mktemp("downloads")
    made = open_browser(logged=True)
    made.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    made.downloads = folder
    yield made
    made.quit()


class Page:
    """A page of the explorer in a browser."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server

    def run(self, script: str, *arguments):
        """Run a script; what it returns comes back."""
        return self.browser.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 90.0):
        """Wait until a script gives something true, and return it."""
        end = time.monotonic() + seconds
        while not (found := self.run(f"return {script}")):
            assert time.monotonic() < end, (script, self.run("return $('status').textContent"))
            time.sleep(0.02)
        return found

    def answered(self, script: str):
        """Run a script that asks the server, and wait until the answer is painted and nothing is asked."""
        before = self.run("return asking.stats.length")
        self.run(script)
        self.wait(f"asking.stats.length > {before} && !asking.flight && !asking.wanted")

    def complaints(self) -> list[str]:
        """Return what the browser complained of since the last time."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def downloaded(self, name: str) -> Path:
        """Return a file that the page saved."""
        path = self.browser.downloads / name
        end = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < end, name
            time.sleep(0.02)
        return path

    @property
    def status(self) -> str:
        """What the page says."""
        return self.run("return $('status').textContent")


@pytest.fixture
def open_page(chromium) -> Callable[..., Page]:
    """Return a function that opens a page; all are closed at the end."""
    opened = []

    def open_one(chosen: Chosen, *, phone: bool = False, more: str = "") -> Page:
        server = open_server(chosen)
        thread = threading.Thread(target=server.run)
        thread.start()
        opened.append((server, thread))
        if phone:
            chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        chromium.get_log("browser")
        chromium.get(server.address + more)
        page = Page(chromium, server)
        page.wait("typeof asking === 'object' && asking.stats.length > 0 && !asking.flight")
        return page

    yield open_one
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    for server, thread in opened:
        server.shutdown()
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which looks for what keeps people from using a page."""
    package = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def violations(axe) -> Callable[[Page], list[str]]:
    """Return a function that says what axe finds wrong with a page."""

    def look(page: Page) -> list[str]:
        page.run(axe)
        found = page.browser.execute_async_script("axe.run().then(arguments[0])")
        assert len(found["passes"]) > 15
        return [f"{v['id']}: {node['html']}" for v in found["violations"] for node in v["nodes"]]

    return look
