"""Headless Chromium for the tests of the explorer and for its measurement."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Any


def missing() -> str:
    """Say what is not installed; nothing where all is there."""
    if find_spec("selenium") is None:
        return "selenium is not installed"
    return "" if all(_programs()) else "chromium and chromedriver are not installed"


def open_browser(*, patience: float = 120.0, logged: bool = False) -> Any:
    """Return a driver of selenium.

    Parameters
    ----------
    patience : float
        Seconds that a script may take.
    logged : bool
        Whether the browser keeps what it complains of and what it asks for.
    """
    from selenium import webdriver

    browser, driver = _programs()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,900")
    if logged:
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    opened.set_script_timeout(patience)
    return opened


def _programs() -> tuple[Any, Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
