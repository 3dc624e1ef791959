"""Theories of T-cell differentiation against sixteen facts, and what they say about CAR-T products."""

from __future__ import annotations

from fastcart.papers.t_cell_theories.job import reproduce

__all__ = ["reproduce"]
