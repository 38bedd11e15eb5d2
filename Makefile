# `make` alone lists the targets. Nothing but `system-deps` touches the system: all else stays in
# $(VENV), build/ and dist/.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?=

# A worker process a core, each of which takes whole files in the order of tests/workers.py.
WORKERS := -n auto --dist loadfile --no-loadscope-reorder
QUICK := not (slow or conversion or environment or full)

BIN := $(VENV)/bin
STAMP := $(VENV)/.edgekit-installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--root-user-action=ignore $(PIP_ARGS)
TORCH := torch==2.13.0

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup lint check test test-all demo tables benchmarks docs docs-generate screenshots wheel system-deps clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: PYTHON ($(PYTHON); 3.11 or newer), VENV ($(VENV)), PYTEST_ARGS, and PIP_ARGS for"
	@echo "pip: on x86-64 give the options that lead pip to the CPU build of PyTorch, several GB smaller."

setup: $(STAMP) ## make the virtual environment with edgekit and all that develops it

$(STAMP): pyproject.toml | $(BIN)/python
	@echo "setup: installing PyTorch ($(TORCH)) into $(VENV)"
	@$(PIP) "$(TORCH)" "hatchling>=1.25" "editables>=0.5"
	@echo "setup: installing edgekit and its development tools into $(VENV)"
	@$(PIP) --no-build-isolation -e ".[dev]"
	@touch $@
	@echo "setup: done, $$($(BIN)/edgekit --version)"

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null \
		|| { echo "setup: there is no $(PYTHON): install Python 3.11 or newer, or name one, as in make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "setup: $(PYTHON) is $$("$(PYTHON)" --version 2>&1), conversion needs 3.11 or newer: name another, as in make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "setup: $(PYTHON) cannot make virtual environments (no venv or ensurepip): apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv "$(VENV)"

lint: setup ## lint, types and the floor plan of the imports
	$(BIN)/ruff check --extend-exclude build .
	$(BIN)/ruff format --check --extend-exclude build .
	$(BIN)/mypy
	$(BIN)/mypy --config-file benchmarks/mypy.ini
	$(BIN)/lint-imports

check: lint ## lint and the quick tests: those without network, emulation and conversion
	$(BIN)/pytest $(WORKERS) -m "$(QUICK)" $(PYTEST_ARGS)

test: lint ## lint and all tests
	$(BIN)/pytest $(WORKERS) $(PYTEST_ARGS)

test-all: ## make test, and the networks at full resolution: about half an hour
	@$(MAKE) test PYTEST_ARGS="-m 'full or not full' $(PYTEST_ARGS)"

demo: setup ## convert, evaluate, run and measure the built-in demo model
	@mkdir -p build/demo
	$(BIN)/edgekit convert --target pi -o build/demo/digits.edgekit
	@echo
	$(BIN)/edgekit evaluate build/demo/digits.edgekit --images calibration/demo/test
	@echo
	$(BIN)/edgekit run build/demo/digits.edgekit --source calibration/demo/digits.mp4 --on-change
	@echo
	$(BIN)/edgekit benchmark build/demo/digits.edgekit --duration 3 -o build/demo/report
	@echo
	@echo "bundle: build/demo/digits.edgekit"
	@echo "report: build/demo/report/report.html"

tables: setup ## write the figures of benchmarks/results into the README and docs
	$(BIN)/python benchmarks/fill_tables.py

docs-generate: setup ## write docs/cli and docs/api from --help and the docstrings
	$(BIN)/python docs/generate.py

docs: setup ## build the documentation as a site into build/docs
	$(BIN)/python -m sphinx -q -n -W --keep-going -c docs -d build/docs-cache . build/docs
	@echo "site: build/docs/index.html"

screenshots: setup ## renew the pictures of the docs and the example report: about 2 minutes
	$(BIN)/python -m docs.screenshots

benchmarks: setup ## measure speed on a machine that does nothing else: about 18 minutes
	$(BIN)/python benchmarks/measure_speed.py
	@$(MAKE) tables

wheel: setup ## build the wheel into dist/
	@$(BIN)/python -m build -qq --wheel --no-isolation --outdir dist
	@ls -l dist/*.whl

system-deps: ## (root, Debian or Ubuntu) what the tests need from the system: qemu, OpenCV, …
	@tests/emulated_pi/install_system_deps.sh

clean: ## delete what was built, except the virtual environment
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache
	find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -exec rm -rf {} +
