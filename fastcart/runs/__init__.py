"""Runs that are kept: manifests, checksums, journals, and what a killed run left."""
