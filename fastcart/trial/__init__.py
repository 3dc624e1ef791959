"""Simulated randomized trials: the course of each patient under each arm, outcomes, and what trials show."""
