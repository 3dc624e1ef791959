"""A few hundred malformed inputs; ``make malformed`` tries more, see `malformed`."""

from __future__ import annotations

import os

import pytest
from malformed import campaign

NUMBER = int(os.environ.get("FASTCART_MALFORMED", "300"))
PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_malformed_inputs_are_one_sentence(tmp_path, part):
    number = NUMBER // PARTS
    faults, counts = campaign(number, 0, tmp_path, first=part * number)
    assert faults == [], "\n\n".join(faults)
    assert counts["exit code 2"] > number // 2  # most are refused, and the others are no error
