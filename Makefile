# cellplane: `make up` runs everything on this machine, `make test` runs all tests,
# `make down` takes everything away again.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help up down test test-full check format gen lock baseline clean

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /|/' | column -t -s'|'

up: $(VENV)/.run ## Bring everything up and run the samples.
	@$(BIN)/cellplane up $(ARGS)

down: ## Stop everything and remove its state.
	@if [ -x $(BIN)/cellplane ]; then $(BIN)/cellplane down; fi

test: $(VENV)/.dev ## Run all tests.
	$(BIN)/python -m pytest $(ARGS)

test-full: $(VENV)/.dev ## Run all tests, the long ones too.
	CELLPLANE_FULL=1 $(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev ## Check style, types, layers and contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf lint
	$(BIN)/buf breaking proto --against proto/baseline.binpb

format: $(VENV)/.dev ## Format the code and the contracts.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format -w

gen: $(VENV)/.dev ## Generate the code and the reference of the contracts.
	tools/generate.sh
	$(BIN)/python tools/reference.py

lock: $(VENV)/.dev ## Lock the dependencies anew.
	$(BIN)/uv pip compile --upgrade --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra sandbox pyproject.toml -o requirements.lock --quiet --custom-compile-command "make lock"
	$(BIN)/uv pip compile --upgrade --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--all-extras --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock --quiet --custom-compile-command "make lock"

baseline: $(VENV)/.dev ## Take the contracts as they are for what must not break. At a release only.
	$(BIN)/buf build proto --exclude-source-info -o proto/baseline.binpb

clean: down ## Remove the virtual environment and what tools left.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.run: requirements.lock pyproject.toml
	@tools/install.sh $(PYTHON) $(VENV) requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml
	@tools/install.sh $(PYTHON) $(VENV) requirements-dev.lock
	@touch $(VENV)/.run $@
