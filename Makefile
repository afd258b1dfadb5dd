# `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
CONSTRAINTS := $(abspath constraints.txt)

.PHONY: help demo test long lint wheel clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# pip applies PIP_CONSTRAINT in build environments too.
$(BIN)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(BIN)/ready  ## the tour: a sweep, a small GPT, instruction tuning; under four minutes, no network
	PATH="$(abspath $(BIN)):$$PATH" bash experiments/tour/run.sh

test: $(BIN)/ready  ## the tests, without those marked long
	$(BIN)/python -m pytest -n auto

long: $(BIN)/ready  ## the tests marked long: the published numbers, the tour, the wheel
	$(BIN)/python -m pytest -m long -n auto

lint: $(BIN)/ready  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(BIN)/ready  ## dist/seqlab-….whl
	$(BIN)/python -m build --wheel

clean:  ## remove the environment, built files and caches; runs stay
	rm -rf .venv dist build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
