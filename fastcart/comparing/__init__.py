"""The same question to many models: a dose of CAR-T cells, and what becomes of them and of the tumor."""
