# `make demo` and `make test` do all the set-up themselves, in .venv (or .venv-X for
# another PYTHON=X).

PYTHON ?= python3
VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/ready
DEMO := runs/demo

# In as many processes as there are cores, but not more than memory is sure to hold.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-slow test-all lint docs bench clean

demo: $(READY)
	rm -rf $(DEMO)
	@echo "System 1" && $(BIN)/python -m mtl.sweep --config digits \
	  --workdir $(DEMO)/mtl --seeds 0,1 \
	  --grid method=baseline,baseline_matched,exponential
	@echo && $(BIN)/python -m mtl.compare --figure $(DEMO)/mtl/curves.png \
	  $(DEMO)/mtl/method=*/seed?
	@echo && echo "Figures: $(DEMO)/mtl/curves.png," \
	  "$(DEMO)/mtl/method=exponential/seed0/*.png"
	@echo && echo "System 2" && $(BIN)/python -m structured.compare \
	  --config digits --workdir $(DEMO)/structured --seeds 0,1
	@echo && echo "System 3" && $(BIN)/python -m l3spot.phantom --n 3 --size 256 \
	  --out $(DEMO)/phantoms
	$(BIN)/python -m l3spot.predict --scans $(DEMO)/phantoms --out $(DEMO)/l3
	$(BIN)/python -m l3spot.evaluate --results $(DEMO)/l3/results.csv \
	  --labels $(DEMO)/phantoms/labels.csv

# Without the tests marked as slow. JAX compiles with less optimization, which saves time
# (tests/conftest.py); slow tests are compiled as users' programs are.
test: export JAX_DISABLE_MOST_OPTIMIZATIONS = 1
test: $(READY)
	$(PYTEST) -m "not slow"

test-slow: $(READY)
	$(PYTEST) -m slow

test-all: $(READY)
	$(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/python -m tests.words

# The site of the documentation, in site/; a warning is an error.
docs: .venv-docs/ready
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

.venv-docs/ready: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements/docs.txt
	@touch $@

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m benchmarks.mtl_vs_torch
	$(BIN)/python -m benchmarks.structured_vs_torch
	$(BIN)/python -m benchmarks.project_vs_simpleitk

# The pinned set of the Python at hand; made again when it or the package changes.
# Modules are compiled when they are first imported, as most never are.
$(READY): pyproject.toml setup.py $(wildcard requirements/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) does not run, or is older than 3.11;" \
	    "try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
	  -r requirements/$$($(BIN)/python -c \
	  'import sys; print("py311" if sys.version_info < (3, 12) else "py312")').txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv .venv-* runs build site *.egg-info
