"""Optimization: what is varied, the swarms and other searches, and how their points are judged."""
