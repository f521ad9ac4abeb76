# Every target works on a machine with nothing but Python (3.11 to 3.13) and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# One thread a worker; compiled modules are kept, for the processes that tests start as well.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder
TESTS  := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=

.DEFAULT_GOAL := help
.PHONY: help install run test test-all test-lowest coverage mutate lint format types check bench docs clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY)  ## make the environment (.venv) with the locked versions

$(READY): requirements.lock pyproject.toml
	$(PYTHON) scripts/make_environment.py $(VENV)
	@touch $(READY)

run: $(READY)  ## both demonstration models on synthetic phantoms, all corruptions: 51 to 105 s on two cores
	$(BIN)/python run.py

test: $(READY)  ## the tests, those marked slow excepted
	$(TESTS) $(BIN)/python $(PYTEST) -m "not slow"

test-all: $(READY)  ## all tests
	$(TESTS) $(BIN)/python $(PYTEST)

test-lowest: .venv-lowest/.ready  ## the tests with the lowest versions that pyproject.toml allows
	$(TESTS) PYTEST_ADDOPTS="-o filterwarnings=default" \
		.venv-lowest/bin/python $(PYTEST) -m "not slow"

.venv-lowest/.ready: requirements-lowest.txt pyproject.toml
	$(PYTHON) scripts/make_environment.py .venv-lowest requirements-lowest.txt
	@touch $@

coverage: $(READY)  ## line and branch coverage of the tests, slow ones excepted: htmlcov/index.html
	$(TESTS) $(BIN)/python $(PYTEST) -m "not slow" --cov --cov-report=html --cov-report=json:htmlcov/coverage.json
	$(BIN)/python scripts/coverage_table.py htmlcov/coverage.json

MUTANTS ?= medrobust.metrics.*
mutate: $(READY)  ## change the metrics line by line: which tests notice? MUTANTS='medrobust.metrics.selective*' for one
	$(BIN)/python -m pip install -q "mutmut>=3.8"
	$(BIN)/mutmut run "$(MUTANTS)"
	$(BIN)/mutmut results

lint: $(READY)  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)  ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY)  ## check types
	$(BIN)/mypy

check: lint types test  ## lint, types and tests

bench: $(READY)  ## speed and memory, side by side with what a user would pick instead
	$(BIN)/python -m benchmarks

docs: $(READY)  ## these pages and the API, as a site that needs no network: site/index.html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs site

clean:  ## remove caches and builds; the environment and outputs stay
	rm -rf build dist site mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis htmlcov .coverage
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
