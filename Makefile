# `make` shows what there is. Needs Debian 12 or alike: python3 (3.11 or newer, with venv), git, make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Passed on to pytest: make test ARGS='-k slots'
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check format clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name what; \
	  do printf '  make %-8s %s\n' "$$name" "$$what"; done

demo: $(VENV)/engine.stamp  ## install into .venv and register a small made-up study on this machine
	$(BIN)/tbss-hpc demo

# Both, whatever the first one says: a line that is too long must not hide a broken test.
test: $(VENV)/test.stamp  ## `make check`, and every test this machine can run (ARGS='-k slots' goes to pytest)
	@failed=0; \
	$(MAKE) check || failed=1; \
	$(BIN)/python -m pytest $(ARGS) || failed=$$((failed + 2)); \
	[ $$failed != 1 ] || echo "The tests passed, but \`make check\` complains: see above."; \
	exit $$failed

check: $(VENV)/test.stamp  ## ruff, mypy and the rules about who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_architecture.py

format: $(VENV)/test.stamp  ## let ruff lay out the code, and mend what it can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean:  ## remove .venv and everything else that `make` made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says: installed since pyproject.toml last changed. The code itself is not copied (editable).
$(VENV)/engine.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[engine]'
	@touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[engine,test]'
	@touch $(VENV)/engine.stamp $@

# `venv` without `ensurepip` is what Debian ships when python3-venv is missing.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)," >&2; \
	  echo "or name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tbss-hpc needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
	  echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: its venv module is missing." >&2; \
	  echo "On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
