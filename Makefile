# The two commands of the README: `make run` and `make test`. Everything they need is installed into .venv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
ARGS   ?=
# How many tests run at once; a file's tests stay together, because they share what they started.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test lint types laws check wheel-test bench crash thorough differential docs eval eval-migration late rollout interop clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "traced needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml $(VENV)/pyvenv.cfg
	$(PIP) install --quiet --editable '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/pyvenv.cfg
	$(PIP) install --quiet --editable '.[demo,test]'
	@touch $@

$(VENV)/.lint: pyproject.toml $(VENV)/pyvenv.cfg
	$(PIP) install --quiet --editable '.[demo,test,lint]'
	@touch $@

run: $(VENV)/.run ## the daemon with a small instrumented shop and planted faults, http://127.0.0.1:4320/
	$(BIN)/traced demo $(ARGS)

test: $(VENV)/.test ## all tests but the long proofs
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(VENV)/.lint ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint ## mypy, strict
	$(BIN)/mypy

laws: $(VENV)/.lint ## import laws, and that functions fit on a screen
	$(BIN)/lint-imports
	$(BIN)/python tests/laws/screen.py

check: lint types laws test wheel-test ## what CI runs

wheel-test: $(VENV)/.lint ## build the wheel and use it away from the checkout; build the sdist and run tests from it
	bash tests/wheel/test_wheel.sh $(PYTHON) $(BIN)/python

bench: $(VENV)/.test ## speeds and sizes, one figure a line (about four minutes)
	$(BIN)/python -m tests.bench.bench $(ARGS)

crash: $(VENV)/.test ## kill -9 under load, 100 times (about eight minutes)
	$(BIN)/python tests/crash/crash.py $(ARGS)

thorough: $(VENV)/.test ## the tests that draw their input or inject faults, with more rounds (about ten minutes)
	TRACED_THOROUGH=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/store/test_dedup.py tests/store/test_durability.py tests/graph/test_forest.py \
	  tests/graph/test_contexts.py tests/analysis/test_settling.py tests/detectors/test_through_the_store.py $(ARGS)

differential: $(VENV)/.test ## 5,000 generated requests a signal over gRPC, HTTP/protobuf and HTTP/JSON: the same rows (about five minutes)
	TRACED_DIFFERENTIAL_ROUNDS=50 $(BIN)/python -m pytest -n $(JOBS) tests/receiver/test_transports_agree.py $(ARGS)

docs: $(VENV)/.test ## the documents that are written from the code
	PYTHONPATH=tests $(BIN)/python -m documentation.generate

eval: $(VENV)/.test ## traces damaged in known ways: how right each detector is (about five minutes)
	$(BIN)/python -m tests.eval.eval --jobs $(JOBS) $(ARGS)

eval-migration: $(VENV)/.test ## worlds that migrate, simulated: how often SAFE is wrong, and how often it is said (about three minutes)
	PYTHONPATH=tests $(BIN)/python -m eval_migration.simulate --jobs $(JOBS) $(ARGS)

late: $(VENV)/.test ## a tenth of the batches comes late, or the daemon ends in between: the findings stay the same (about ten minutes)
	PYTHONPATH=tests $(BIN)/python -m late.late $(ARGS)

rollout: $(VENV)/.test ## a dual-publish migration of the shop over a real RabbitMQ, and what is said at each step (about six minutes)
	TRACED_THOROUGH=1 $(BIN)/python -m pytest tests/e2e/test_rollout.py $(ARGS)

interop: $(VENV)/.test ## unmodified OpenTelemetry SDKs of other languages (needs node and npm)
	$(BIN)/python -m pytest tests/interop $(ARGS)

clean: ## remove what was installed and built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
