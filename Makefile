# make demo, make test, make bench: on a bare machine with Python 3.11 or newer, each sets itself up first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs audit robustness fuzz mutants bench evidence
demo: $(VENV)/installed
	rm -rf outputs/demo
	$(BIN)/python -m pointseg.train experiment=demo hydra.run.dir=outputs/demo
	$(BIN)/python -m pointseg.evaluate run=outputs/demo colour_baseline=true

test: lint docs
	$(BIN)/python -m pytest -n auto

# Hours; a row alone or another size: see benchmarks/__main__.py.
bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks --size full

# The figures of README.md and docs/results.md; goes on where it was stopped. Five hours on two idle cores, most of them
# `folds`. Where ImageNet's weights cannot be downloaded: make evidence ENCODER=mobilenet_v2-imagenet.pth
ENCODER ?= default
evidence: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks alternatives areas smoothing --size full
	$(BIN)/python -m pointseg.active dataset=aerial dataset.unlabeled=ignore model.weights=$(ENCODER) output=experiments/active
	$(BIN)/python -m pointseg.train -m experiment=folds seed=0,1,2,3,4 model.weights=$(ENCODER)
	$(BIN)/python -m pointseg.evaluate run=outputs/folds
	$(BIN)/python -m pointseg.report sweep=outputs/folds
	$(BIN)/python docs/results.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in outputs/site; warnings are errors. The documents' tables must be those of experiments/.
docs: $(VENV)/installed
	$(BIN)/python docs/results.py --check
	$(BIN)/mkdocs build --quiet

# Known weaknesses of the installed packages. It asks the packages' index, and fails where that cannot tell.
audit: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[audit]'
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/frozen.txt
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $(VENV)/frozen.txt || \
		(echo 'Either the weaknesses above, or the database could not be reached ("not found", "ConnectionError"): then nothing was audited.'; exit 1)

# docs/robustness.md; an hour on two cores.
robustness: $(VENV)/installed
	$(BIN)/python -m benchmarks.robustness

# Ten thousand damaged inputs, for every night; a quarter of an hour on one core.
fuzz: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --count 10000

# Breaks the mathematics in 1,200 small ways and says in docs/robustness.md how many the tests notice; half an hour of one core.
# Afterwards `mutmut show <name>` shows a survivor, `mutmut run <name>` tries it again.
mutants: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[mutants]'
	rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/python -m benchmarks.robustness "Mutation testing"

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pointseg needs Python 3.11 or newer; give one as in: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
