# Every target installs the project into .venv first, when pyproject.toml is newer than the last time.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check bench torture

demo: .venv/.installed
	$(BIN)/jqueue demo

test: .venv/.installed
	$(BIN)/pytest -n 2

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict jqueue archive_tools
	$(BIN)/lint-imports

bench: .venv/.installed
	$(BIN)/python -m bench

torture: .venv/.installed
	$(BIN)/pytest -m torture

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@
