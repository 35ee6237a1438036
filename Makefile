# Everything a contributor runs. Needs make and Python 3.11 or newer; PYTHON=/path/to/python3.12 chooses one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_SECONDS ?= 1500
# Tests mostly wait for servers: two processes, each with servers of its own, a file to one of them.
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.PHONY: help venv demo test check bench chaos lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## create .venv from the hash-locked files; nothing to do the second time

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Headrace needs Python 3.11 or newer and '$(PYTHON)' is not that; run: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot create environments; on Debian and Ubuntu run: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' requirements-dev.lock > $(VENV)/installer.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/installer.lock
	@# uv installs five times as fast (16 s against 84 s, measured cold); pip stands in where only pip knows the way to the index.
	@# Compiled once: where Python is told to write no bytecode, every process would compile it all again, 4 s of CPU each.
	$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --python $(BIN)/python -r requirements-dev.lock || \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q schemas producers streams ops
	@touch $@

demo: $(STAMP) ## the whole pipeline on this machine, a fleet answered, the books compared
	$(BIN)/headrace demo

test: $(STAMP) ## every test, on real servers, in bounded time
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadfile --max-worker-restart=1 --session-timeout=$(TEST_SECONDS)

check: $(STAMP) ## lint, format, types, the published contract, the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/python -m schemas.documents --check
	$(BIN)/python -m streams.gateway_documents --check
	$(BIN)/python -m pytest -q tests/unit/test_imports.py

bench: $(STAMP) ## the measurements of the README, each against its baseline
	$(BIN)/headrace bench hits
	$(BIN)/headrace bench slow-model
	$(BIN)/headrace bench uncached
	$(BIN)/headrace bench sinks

chaos: $(STAMP) ## every fault once, the books compared; under 25 minutes
	$(BIN)/headrace chaos run --fault all --rounds 1

lock: $(STAMP) ## write the lock files after a change of pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra local pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## end the local stack, then remove .venv, .headrace and caches
	@if [ -x $(BIN)/headrace ]; then $(BIN)/headrace down || true; fi
	rm -rf $(VENV) .headrace .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
