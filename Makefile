# FluxHero Pipeline: `make` lists what there is. Needs Python 3.11 or newer, git and make.

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test tests lint types format lock engine-locks bench crash night-kills flips clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := flows tasks config fluxhero
CODE := $(PACKAGES) tests $(wildcard benchmarks)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DO_NOT_TRACK := 1

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install everything into .venv (again only when the lock changed)

$(STAMP): requirements.lock pyproject.toml
	@python=; for name in python3.13 python3.12 python3.11 python3; do \
	    if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	        >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "setup: no working Python 3.11 or newer with venv found; install one (Debian: python3-venv)" >&2; \
	    exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    echo "setup: creating $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV); \
	fi
	@echo "setup: installing the packages of requirements.lock (a few minutes the first time)"
	@# The lock is already resolved, and resolving it again is where pip's hash mode trips over extras.
	@# Compiled afterwards, on all cores.
	@$(BIN)/python -m pip install -qq --no-deps --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || :
	@echo "setup: installing fluxhero-pipeline itself"
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check > $(VENV)/pip-check.log || { cat $(VENV)/pip-check.log >&2; exit 1; }
	@touch $(STAMP)
	@echo "setup: done; the command is $(BIN)/fluxhero"

demo: setup  ## Run the whole pipeline on real shipped data
	@$(BIN)/fluxhero demo

up: setup  ## Start the night shift: schedules, runs, alerts, pages (Ctrl-C ends it)
	@$(BIN)/fluxhero up

down: setup  ## End the night shift, wherever it was started
	@$(BIN)/fluxhero down

test: setup  ## Lint, check types, run the tests with coverage
	@# Types are checked on one core, and the tests often wait: side by side they take less time.
	@$(MAKE) --no-print-directory -j 2 lint types tests

tests: setup
	@echo "test: running the tests"
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations=15 --cov --cov-report=term:skip-covered

lint: setup  ## Check style and import rules
	@echo "lint: ruff, import rules"
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/ruff format --quiet --check $(CODE)
	@$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

types: setup  ## Check types (mypy, strict)
	@echo "types: mypy"
	@$(BIN)/mypy --no-error-summary

format: setup  ## Format the code and fix what can be fixed
	@$(BIN)/ruff check --quiet --fix $(CODE)
	@$(BIN)/ruff format --quiet $(CODE)

lock:  ## Resolve requirements.lock afresh (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
	    --all-extras --custom-compile-command "make lock" pyproject.toml -o requirements.lock

engine-locks:  ## Resolve the locks of the backtesting engines afresh (needs uv)
	@for input in fluxhero/backtest/locks/*.in; do \
	    oldest=3.11; if [ "$$input" = fluxhero/backtest/locks/nautilus.in ]; then oldest=3.12; fi; \
	    uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	        --python-version $$oldest "$$input" -o "$${input%.in}.txt" || exit 1; \
	done

bench: setup  ## Measure speed and memory against the baselines
	@$(BIN)/python -m benchmarks

crash: setup  ## Run the whole kill matrix and write its figures to docs (half an hour)
	@$(BIN)/python -m tests.crash.matrix --kills 640 --seed 1 --out docs/crash-matrix.json

night-kills: setup  ## Kill a night shift's parts during 50 nightly runs and write its figures to docs (an hour)
	@$(BIN)/python -m tests.night.chaos --rounds 50 --seed 1 --jobs 2 --out docs/night-kills.json

flips: setup  ## Flip 500 bits of an archive, one at a time, and write what found them to docs
	@$(BIN)/python -m tests.integrity.flips --flips 500 --seed 1 --out docs/bit-flips.json

clean:  ## Remove the environment, caches and build leftovers; data stays
	@rm -rf $(VENV) .engines build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
	    .hypothesis .coverage .coverage.* htmlcov
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
