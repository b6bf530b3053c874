PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: test quick demo notebook bench fresh

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@

$(VENV)/.ready-docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	touch $@

test: $(VENV)/.ready
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

# The tests of which all together take less than two minutes.
quick: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m quick

# A wheel in new environments of each of these versions that is at hand.
PYTHONS ?= 3.11 3.12 3.13

fresh: $(VENV)/.ready
	$(BIN)/python tests/fresh_install.py $(PYTHONS)

demo: $(VENV)/.ready
	$(BIN)/oti demo

# The notebook's source is text; it is executed into docs/_build, which is not kept.
notebook: $(VENV)/.ready-docs
	mkdir -p docs/_build
	$(BIN)/jupytext --to ipynb --output docs/_build/vertical-gradient.ipynb docs/tutorials/vertical-gradient.md
	cd docs/tutorials && ../../$(BIN)/jupyter nbconvert --to notebook --execute --inplace ../_build/vertical-gradient.ipynb

bench: $(VENV)/.ready
	$(BIN)/python benchmarks/compare.py
