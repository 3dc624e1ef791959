# Everything needs only python3 >= 3.11, git and make; the set-up brings the rest into .venv.
BIN := .venv/bin

.PHONY: help setup demo test test-slow bench docs lint format clean fuzz kills malformed sbml-suite

# how often or how long, and with which seed: make kills KILLS=60 SEED=3, make fuzz MINUTES=10 SEED=1
MINUTES ?= 10
KILLS ?= 60
MALFORMED ?= 1500
SEED ?= 0

help:
	@echo "make setup   install everything into .venv"
	@echo "make demo    reproduce Li & Lei 2025 into results/li-lei-2025"
	@echo "make test    run the tests"
	@echo "make test-slow   run the slow tests: other engines and methods, larger studies"
	@echo "make fuzz    try random models and patients for MINUTES; prints what does not hold"
	@echo "make kills   kill every command at random moments, go on, compare byte for byte"
	@echo "make malformed   try many malformed inputs"
	@echo "make sbml-suite  solve the cases of the SBML Test Suite in the folder SUITE"
	@echo "make bench   measure engines and the solvers of other packages into results/bench"
	@echo "make lint    linters and type checker"
	@echo "make docs    build the site into docs/_build/html and check its links"

setup:
	@sh .ci/setup.sh

demo: setup
	@$(BIN)/fastcart reproduce li-lei-2025 --out results/li-lei-2025 --force

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

fuzz: setup
	@$(BIN)/python tests/differential/fuzz.py --minutes $(MINUTES) --seed $(SEED)

kills: setup
	@FASTCART_KILLS=$(KILLS) FASTCART_KILLS_SEED=$(SEED) $(BIN)/python -m pytest tests/cli/test_kills.py

malformed: setup
	@$(BIN)/python tests/malformed.py $(MALFORMED) --seed $(SEED)

sbml-suite: setup
	@test -n "$(SUITE)" || { echo "make sbml-suite SUITE=FOLDER, which holds a folder for each case"; exit 2; }
	@$(BIN)/python tests/sbml_suite.py "$(SUITE)"

bench: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || \
		echo "Other packages could not be installed; those that are missing are left out."
	@$(BIN)/python benchmarks/compare.py
	@$(BIN)/python benchmarks/scale.py --stream 10_000_000
	@$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only

# warnings are errors; nothing outside is asked
docs: setup
	@$(BIN)/python -m sphinx -n -W --keep-going -q -j auto docs docs/_build/html
	@$(BIN)/python -m sphinx -n -W --keep-going -q -j auto -b linkcheck -d docs/_build/html/.doctrees docs docs/_build/links
	@$(BIN)/python docs/check_site.py
	@echo "docs/_build/html/index.html"

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf .venv build results *.egg-info docs/_build
