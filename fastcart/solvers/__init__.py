"""Numerics only: flat arrays in, flat arrays and a status out. Imports nothing from upper layers."""
