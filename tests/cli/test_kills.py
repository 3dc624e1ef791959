"""Commands that are killed at random moments go on to the same bytes; ``make kills`` kills more often."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest
from conftest import drawn_as_pixels
from kills import COMMANDS, Study, disturbed

KILLS = int(os.environ.get("FASTCART_KILLS", "1"))
SEED = int(os.environ.get("FASTCART_KILLS_SEED", "0"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", COMMANDS)
def test_killed_and_gone_on_with(tmp_path, kind):
    if kind in ("trial", "reproduce", "sensitivity") and KILLS == 1:
        pytest.skip("it takes its time: make kills")
    with drawn_as_pixels() if KILLS == 1 else nullcontext():  # processes are forked from this one
        disturbed(Study(kind, tmp_path), KILLS, SEED)
