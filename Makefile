# Every target installs the project into .venv first, when pyproject.toml is newer than the last time.
PYTHON ?= python3
BIN := .venv/bin

# Sets are gone through, and calls of the disk made, in the same order each time: failures repeat.
# Other orders: tests/crash/test_hash_seeds.py, or a number given here.
export PYTHONHASHSEED ?= 0

.PHONY: demo test check bench torture ganeti-client

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

# Debian's Ganeti, unpacked and not installed, and the Python packages that it wants: for
# tests/acceptance/test_ganeti_client.py, which finds it there.
GANETI_PYTHON := bitarray openssl paramiko psutil pycurl pyinotify pyparsing simplejson
ganeti-client:
	apt-get install -y --no-install-recommends $(addprefix python3-,$(GANETI_PYTHON))
	mkdir -p .ganeti
	cd .ganeti && apt-get download ganeti-3.0 && dpkg-deb -x ganeti-3.0_*.deb .

torture: .venv/.installed
	$(BIN)/pytest -m torture

.venv/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@
