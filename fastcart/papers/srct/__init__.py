"""The simulated randomized trial of the specification: its experiments, repeated and extended."""

from __future__ import annotations

from fastcart.papers.srct.job import reproduce

__all__ = ["reproduce"]
