# edviz: every target sets up what it needs in .venv (Python >= 3.11, make and git are enough to start).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: help demo test fuzz lint bench lab clean
help:            ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "edviz needs Python 3.11 or newer; this is " + sys.version + ". Try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lab,test]'
	@touch $@

demo: $(VENV)/ready   ## train, roll out, compare on the bundled AIMD; writes demo/report.html
	$(BIN)/python scripts/demo.py --out demo

test: $(VENV)/ready   ## all tests, tutorials and notebooks included
	$(BIN)/python -m pytest tests --ignore=tests/benchmarks
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=900 tutorials notebooks

fuzz: $(VENV)/ready   ## thousands of damaged files for every reader
	EDVIZ_FUZZ=2000 $(BIN)/python -m pytest tests/io -k mutated

lint: $(VENV)/ready   ## ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: $(VENV)/ready  ## benchmarks, beside what one would use instead
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only --benchmark-group-by=group
	$(BIN)/python scripts/measure_training.py

lab: $(VENV)/ready    ## JupyterLab on the tutorials
	$(BIN)/python -m jupyterlab tutorials

clean:           ## remove the virtual environment and everything generated
	rm -rf $(VENV) demo runs .pytest_cache .mypy_cache .ruff_cache
