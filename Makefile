# What one does with this tree. All is installed into .venv/, .oracle/ and .node/, nowhere else.

PYTHON ?= python3
ARGS ?=
JOBS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed
# So many tests at once; those that share a server stay together.
AT_ONCE := -n $(JOBS) --dist loadgroup
SOURCES := $(wildcard federation homeserver tests benchmarks)

.DEFAULT_GOAL := help
.PHONY: help run test check format bench nightly oracle node

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  make PYTHON=python3.12 ... chooses the interpreter, make test ARGS='-k acl' some of the tests."

run: $(INSTALLED) ## start the server; as hearth.yaml says, else for localhost
	@test -e hearth.yaml || { \
	  export HEARTH__SERVER_NAME="$${HEARTH__SERVER_NAME:-localhost}"; \
	  echo "There is no hearth.yaml, so this serves $$HEARTH__SERVER_NAME on port 8008."; \
	  echo "For an account: HEARTH__SERVER_NAME=$$HEARTH__SERVER_NAME $(BIN)/hearth user create NAME"; \
	  exec $(BIN)/hearth serve; }
	@test ! -e hearth.yaml || exec $(BIN)/hearth serve

test: $(INSTALLED) oracle node ## run all tests
	$(BIN)/python -m pytest $(AT_ONCE) $(ARGS)

check: $(INSTALLED) oracle node ## format, lint, types, then all tests
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m pytest $(AT_ONCE) $(ARGS)

format: $(INSTALLED) ## format the code, mend what lint can mend
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: $(INSTALLED) ## measure the core
	$(BIN)/python benchmarks/core.py $(ARGS)

nightly: $(INSTALLED) oracle node ## all tests, with many more random inputs
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest $(AT_ONCE) $(ARGS)

# Synapse in an environment of its own, to compare ourselves with; quick when it stands already.
oracle: $(INSTALLED)
	@tests/oracle/setup $(BIN)/python

# Clients that run on Node.js, to drive a server with; quick when they stand already.
node:
	@tests/node/setup

# Made anew only when the dependencies may have changed.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Hearth needs Python 3.11 or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)" >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
