"""Global sensitivity: samples, estimators with intervals, and what must be known before indices are used."""
