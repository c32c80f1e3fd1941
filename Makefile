# Everything happens in .venv, with the versions of constraints.txt.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What an installation is made from: it is made again when these change.
SETUP := pyproject.toml constraints.txt setup.py $(wildcard zoo/ops/csrc/*)

.PHONY: demo test check clean

# 50,000 samples with a picture, and a few classified digits. Installs no PyTorch and trains nothing.
demo: $(VENV)/.installed-cpu
	$(BIN)/igan-zoo sample --n 50000 --out demo/samples.npz
	$(BIN)/igan-zoo classify docs/digits

# Everything that the tests need, and the tests.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

# Lint, format and types. mypy wants the package laid out as it is imported, so it reads a copy.
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(PIP) --no-deps --no-build-isolation --target build/typing .
	MYPYPATH=build/typing $(BIN)/mypy -p igan_zoo

clean:
	rm -rf $(VENV) build demo *.egg-info zoo/ops/*.so

$(BIN)/python:
	python3 -m venv $(VENV)

$(VENV)/.installed-cpu: $(SETUP) | $(BIN)/python
	test -e $(VENV)/.installed-dev || $(PIP) --editable '.[cpu]'
	touch $@

$(VENV)/.installed-dev: $(SETUP) | $(BIN)/python
	$(PIP) --editable '.[cpu,train,dev]'
	touch $@
