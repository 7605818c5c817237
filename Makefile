# One word for everything. Each target sets up what it needs; `make demo` is the place to start.
# Needs Python 3.11 or newer (or uv, which brings one). Everything stays inside this folder.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# More workers than two cores, because the end-to-end tests, which tests/conftest.py puts first, mostly wait; a
# file's tests stay together because they share its servers.
PYTEST_ARGS ?= -q -n 4 --dist loadfile --no-loadscope-reorder
# More words for the demo: make demo DEMO_ARGS="--keep --seed 7"
DEMO_ARGS ?=
# Compiled modules are kept: otherwise every process of the tests and of the demo compiles the project anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-campaign test test-soak-reconcile check static guards setup bench pictures clean help

help:
	@echo 'make demo            a small shop, four deploys, one of them broken: watch it being rolled back'
	@echo 'make demo-campaign   the same with 20 seeds, one line each'
	@echo 'make test            all tests (real servers where they are installed)'
	@echo 'make test-soak-reconcile   two databases under continuous writes for MINUTES=10: no false mismatch'
	@echo 'make check           format, lint, types, import contracts, all tests'
	@echo 'make guards          take every guard out of a copy, one at a time: a test must fail'
	@echo 'make bench           the benchmarks'
	@echo 'make pictures        judge three made-up deploys and draw them for docs/judging.md'
	@echo 'make setup           only the virtual environment, in $(VENV)'
	@echo 'make clean           remove the virtual environment and every cache'

demo: setup
	@$(BIN)/python -m watchdog demo $(DEMO_ARGS)

demo-campaign: setup
	@$(BIN)/python -m watchdog demo --seeds 20 $(DEMO_ARGS)

test: setup
	$(BIN)/pytest $(PYTEST_ARGS)

test-soak-reconcile: setup
	$(BIN)/python -m tests.soak.reconcile $(MINUTES)

check: static test

static: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

guards: setup
	$(BIN)/python -m tests.guards

bench: setup
	$(BIN)/python -m benchmarks

pictures: setup
	$(BIN)/python -m watchdog.demo.pictures docs/pictures

setup: $(STAMP)

# The stamp is written last, so an interrupted set-up starts again; it is redone when the lock changes.
$(STAMP): requirements-dev.lock pyproject.toml .ci/setup
	@.ci/setup $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
