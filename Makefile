# Everything starts here: `make tutorial` and `make test` need Python 3.11+, make and git, and nothing else by hand.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
# How many test processes run side by side.
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help tutorial test test-slow compatibility compatibility-blob conformance-blob bench lint format types imports check install lock wheel clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tutorial: $(VENV)/.runtime ## Run the whole tutorial on a server of its own
	$(BIN)/millpond tutorial --yes

test: $(VENV)/.dev ## Run the tests (minutes)
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m "not slow"

test-slow: $(VENV)/.dev ## Run the heavier suites
	$(BIN)/pytest -n $(JOBS) --dist loadfile -m slow

compatibility: $(VENV)/.dev ## Call every method of eight Batch SDKs and write the page that says what works
	$(BIN)/python -m tests.compatibility batch

compatibility-blob: $(VENV)/.dev ## Call every method of eight Blob libraries and write the page that says what works
	$(BIN)/python -m tests.compatibility blob

conformance-blob: $(VENV)/.dev ## Run the Blob client's own tests here and on Azurite (needs npm; 15 minutes)
	$(BIN)/python -m tests.conformance --page docs/reference/blob-conformance.md

bench: $(VENV)/.dev ## Measure, print a table and store a JSON line in benchmarks/results/
	$(BIN)/python -m benchmarks

lint: $(VENV)/.dev ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## Put the code in its normal form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

imports: $(VENV)/.dev ## Check the direction of imports
	$(BIN)/lint-imports

check: lint types imports ## All checks that run nothing

install: $(VENV)/.dev ## Make the virtual environment

# The lock names versions and hashes, never where to get them: that is for each machine's own pip settings.
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command "make lock" $(LOCK_FLAGS)

lock: $(VENV)/.dev ## Lock dependencies anew (LOCK_FLAGS=--upgrade for newer ones)
	$(LOCK) pyproject.toml --group build -o requirements/runtime.txt
	$(LOCK) pyproject.toml --group build --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(BIN)/python -m tests.clients lock $(LOCK_FLAGS)

wheel: $(VENV)/.dev ## Build the wheel in dist/
	$(BIN)/python -m pip wheel -qq --no-deps --no-build-isolation --wheel-dir dist .

clean: ## Remove everything that was made, environments included
	rm -rf $(VENV) .venvs build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found on PATH" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r requirements/runtime.txt
	$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
