# The commands for people and for CI. Needs Python 3.11+; uv is used when present, venv and pip otherwise.

PY := .venv/bin/python
SETUP := .ci/setup
PINS := pyproject.toml constraints.txt .ci/setup $(if $(wildcard .venv/bin/python),,broken-venv)
JOBS ?= 2
export PYTHON

.PHONY: broken-venv help demo test lint types bench bench-store crash soak proof trials storage-faults cancels venv install pins clean clean-venv
.DEFAULT_GOAL := help

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.installed-demo ## Run the examples, one of them a DAG, on real weather data and kill a worker in the middle
	@$(PY) examples/demo.py

test: .venv/.installed-test ## Run the tests: in JOBS=2 processes, and those that kill and count alone
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --durations=20 --ignore tests/faults
	@$(PY) -m pytest --durations=10 tests/faults

lint: .venv/.installed-dev ## Check style and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: .venv/.installed-dev ## Check types with mypy and pyright, both strict
	@$(PY) -m mypy
	@$(PY) -m mypy examples
	@$(PY) -m pyright

bench: .venv/.installed-test ## Measure Holdfast beside raw temporalio (minutes; the machine should be idle)
	@HOLDFAST_INDEXER=off $(PY) -m benchmarks
	@$(PY) -m benchmarks.executors_http
	@$(PY) -m benchmarks.executors_transform
	@$(PY) -m benchmarks.executors_llm
	@$(PY) -m benchmarks.indexer
	@$(PY) -m benchmarks.events

bench-store: .venv/.installed-test ## Measure the history with 1,000,000 runs on both databases; RUNS=20000 for a look
	@$(PY) -m benchmarks.store --runs $(or $(RUNS),1000000)

crash: .venv/.installed-test ## Kill workers and servers again and again (about half an hour); prints seeds and figures
	@FAULTS=thorough $(PY) -m pytest -s --timeout 0 tests/faults tests/client/test_exit.py tests/analytics/test_exact.py

soak: .venv/.installed-test ## Start, send and cancel for MINUTES=10 while processes are killed; then compare all records
	@$(PY) -m tests.crash --rate 5 --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

cancels: .venv/.installed-test ## Cancel a run of every shape at every boundary of its history (about a minute)
	@$(PY) -m tests.crash.cancels

proof: .venv/.installed-test ## The same with RUNS=10000 and KILLS=120 (about half an hour)
	@$(PY) -m tests.crash --rate 6 --runs $(or $(RUNS),10000) --kills $(or $(KILLS),120) $(if $(SEED),--seed $(SEED))

storage-faults: .venv/.installed-test ## Full disks, locked databases, losses of power and clocks that jump, each for MINUTES=1
	@set -e; for kind in disk-full locked power-loss clocks; do echo "$$kind"; \
	$(PY) -m tests.crash.storage $$kind --rate 4 --minutes $(or $(MINUTES),1) $(if $(SEED),--seed $(SEED)); done

trials: .venv/.installed-test ## Try single promises, one after the other (about two hours; an idle machine); NAME=steady for one
	@$(PY) -m tests.crash.trials $(or $(NAME),all) $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

venv: .venv/.installed-demo ## Make .venv with the smallest set that runs the demo

install: .venv/.installed-dev ## Make .venv with everything that work on Holdfast needs

pins: ## Write constraints.txt anew (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --upgrade --all-extras \
	  --group test --group lint --group setup --no-emit-index-url --no-header --no-annotate --output-file constraints.txt pyproject.toml

clean: ## Remove what the tools and builds left behind
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-venv: ## Remove .venv
	@rm -rf .venv

.venv/.installed-demo: $(PINS)
	@$(SETUP) demo
	@touch $@

.venv/.installed-test: $(PINS)
	@$(SETUP) demo,compression,encryption,s3,postgres,telemetry test
	@touch $@ .venv/.installed-demo

.venv/.installed-dev: $(PINS)
	@$(SETUP) demo,compression,encryption,s3,postgres,telemetry test lint
	@touch $@ .venv/.installed-test .venv/.installed-demo
