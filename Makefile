# Everything happens in .venv, with the versions of constraints.txt.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check clean

# 50,000 samples, a grid picture and a few classified digits. Needs no PyTorch.
demo: $(VENV)/.installed-cpu
	$(PYTHON) docs/demo.py

# Everything the tests need, and the tests, on all cores.
test: $(VENV)/.installed-dev
	$(PYTHON) -m pytest -n 2

# Lint, format, types. mypy wants the package laid out as it is imported, so it checks a copy.
check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	rm -rf build/typing
	$(PIP) --no-deps --no-build-isolation --target build/typing .
	MYPYPATH=build/typing $(VENV)/bin/mypy -p igan_zoo

$(VENV)/bin/python:
	python3 -m venv $(VENV)

$(VENV)/.installed-cpu: pyproject.toml constraints.txt | $(VENV)/bin/python
	test -e $(VENV)/.installed-dev || $(PIP) --editable '.[cpu]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[cpu,train,dev]'
	touch $@ $(VENV)/.installed-cpu

clean:
	rm -rf $(VENV) build demo *.egg-info
