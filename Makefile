# make demo, make test: on a bare machine with Python 3.11 or newer, each sets itself up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint fuzz
demo: $(VENV)/installed
	rm -rf outputs/demo
	$(BIN)/python -m pointseg.train experiment=demo hydra.run.dir=outputs/demo
	$(BIN)/python -m pointseg.evaluate run=outputs/demo colour_baseline=true

test: lint
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Ten thousand damaged inputs, for every night; a quarter of an hour on one core.
fuzz: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --count 10000

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pointseg needs Python 3.11 or newer; give one as in: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
