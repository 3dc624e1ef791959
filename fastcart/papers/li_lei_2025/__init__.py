"""Figures of Li & Lei 2025: as published, with the published scheme, and solved accurately."""

from __future__ import annotations

from fastcart.papers.li_lei_2025.job import FIGURES, reproduce

__all__ = ["FIGURES", "reproduce"]
