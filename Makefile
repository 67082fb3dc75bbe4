# make demo: the whole line on the corpus that ships inside the package, in minutes: a model from scratch as Poro 34B,
# then one that learns a language and keeps what it knew, as Poro 2.
# make test: everything that CI checks. Both make the virtual environment if it is not there or stale.
PYTHON ?= python3
VENV   := .venv
STAMP  := $(VENV)/.installed
BIN    := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile

.PHONY: demo test test-fast lint bench clean

demo: $(STAMP)
	$(BIN)/tokka run recipes/demo.yaml --out runs/demo
	$(BIN)/tokka run recipes/demo-poro2.yaml --out runs/demo-poro2

# One test process a core, one thread each: threads that wait for a busy core spin.
test: lint
	$(PYTEST)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python benchmarks/tokenize.py
	$(BIN)/python benchmarks/train_cpu.py

# torch comes first and pinned: a range would bring gigabytes that a CPU has no use for.
$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tokka needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet torch==2.13.0
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs
