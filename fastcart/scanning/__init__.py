"""Scans: any number of patients in chunks, here or on a cluster, to a folder; a killed run can go on."""
