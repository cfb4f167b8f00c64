# What people and CI run. `make help` lists it; ARGS="…" goes to the program that is run.

# The newest Python from 3.11 to 3.13 on the PATH that can make an environment. Another: PYTHON=…
PYTHON ?= $(shell tools/find_python)
VENV := .venv
RUN := $(VENV)/bin/python
# Keeps uv from fetching an interpreter of its own.
export UV_PYTHON_DOWNLOADS := never
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test lint format types imports settings check mutations bench fairness faults classroom lock clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(VENV)/.project ## make .venv from requirements.lock (done once, renewed when the lock changes)

# Starts from an empty environment, so that nothing of an older lock remains.
$(VENV)/.packages: requirements.lock
	@[ -n "$(PYTHON)" ] && "$(PYTHON)" -c 'import ensurepip, sys, venv; assert (3, 11) <= sys.version_info < (3, 14)' 2>/dev/null || \
		{ echo "make env: needs Python 3.11, 3.12 or 3.13 with its venv module (Debian, Ubuntu: apt install python3 python3-venv); name another one with PYTHON=…" >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version) ($(PYTHON))"
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV)
	@awk '/^uv==/ { inside = 1 } inside { print } inside && !/\\$$/ { exit }' requirements.lock > $(VENV)/uv.lock
	@$(RUN) -m pip --disable-pip-version-check install --quiet --require-hashes -r $(VENV)/uv.lock
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --compile-bytecode --require-hashes -r requirements.lock || \
		{ echo "uv could not install; trying pip, which reads other settings" >&2; \
		$(RUN) -m pip --disable-pip-version-check install --require-hashes -r requirements.lock; }
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.packages
	@$(RUN) -m pip --disable-pip-version-check install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "$(VENV) is ready"

demo: env ## train and write, once, from start to end
	@$(VENV)/bin/quire demo $(ARGS)

test: env ## the whole suite, with its own Redis and PostgreSQL
	@$(RUN) -m pytest $(ARGS)

lint: env ## ruff: rules and format
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

format: env ## let ruff put the files in shape
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

types: env ## mypy, strict
	@$(RUN) -m mypy

imports: env ## who may import whom
	@$(VENV)/bin/lint-imports --no-logo

settings: env ## write docs/settings.md from shared/setting_fields.py
	@$(RUN) -m tools.settings_page

check: lint types imports test ## what to run before a commit; CI adds `make mutations`

mutations: env ## take out what the promises rest on, and see tests fail
	@$(RUN) -m tools.mutations

bench: env ## measure every figure again, and renew benchmarks/README.md
	@$(RUN) -m benchmarks $(ARGS)

fairness: env ## a day of thirty users on 1, 4 and 16 devices, beside first come, first served
	@$(RUN) -m benchmarks.fairness $(ARGS)

faults: env ## the same harm to Quire and to Celery alone: the table of docs/why-wakes.md
	@$(RUN) -m benchmarks.faults $(ARGS)

classroom: env ## thirty users for a quarter of an hour, while anything is killed; see docs/classroom.md
	@$(RUN) -m benchmarks.classroom $(ARGS)

lock: env ## resolve pyproject.toml again; ARGS=--upgrade takes newer releases
	@$(COMPILE) $(ARGS) --extra server --extra dev pyproject.toml --output-file requirements.lock
	@$(COMPILE) $(ARGS) --extra server --extra gpu --constraint requirements.lock pyproject.toml --output-file requirements-gpu.lock

clean: ## remove what was made here, .venv too
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
