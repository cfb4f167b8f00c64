# The commands for people and CI; `make help` lists them. ARGS="…" is passed to the program.

# The newest Python from 3.11 to 3.13 on the PATH that can make an environment. Another: PYTHON=…
PYTHON ?= $(shell tools/find_python)
VENV := .venv
# The clients of docs/clients.md, apart from the server's packages.
CLIENTS := .clients
RUN := $(VENV)/bin/python
# Keeps uv from fetching an interpreter of its own.
export UV_PYTHON_DOWNLOADS := never
COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test quick attacks clients lint format types imports settings client web page check mutations audit containers bench fairness faults classroom lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(VENV)/.project ## make .venv from requirements.lock, once and after each change of the lock

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

demo: env ## train a model and generate texts, once, from start to end
	@$(VENV)/bin/quire demo $(ARGS)

test: env ## run the whole suite as two processes; with ARGS, one pytest with these arguments
	@$(RUN) -m $(if $(ARGS),pytest $(ARGS),tools.run_tests)

quick: env ## run a part of the suite, in about three minutes
	@$(RUN) -m tools.run_tests --quick

attacks: env ## attack a server as strangers and members would, and see others answered
	@$(RUN) -m pytest tests/attacks $(ARGS)

$(CLIENTS)/.packages: requirements-clients.lock $(VENV)/.packages
	@rm -rf $(CLIENTS)
	@"$(PYTHON)" -m venv --without-pip $(CLIENTS)
	@$(VENV)/bin/uv pip install --quiet --python $(CLIENTS)/bin/python --compile-bytecode --require-hashes -r $<
	@touch $@

clients: env $(CLIENTS)/.packages ## use a real server with the clients of docs/clients.md
	@$(RUN) -m pytest tests/clients $(ARGS)

lint: env ## check rules and format with ruff
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

format: env ## fix and format the files with ruff
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

types: env ## check types with mypy, strictly
	@$(RUN) -m mypy

imports: env ## check which package imports which
	@$(VENV)/bin/lint-imports --no-logo

settings: env ## write docs/settings.md from shared/setting_fields/
	@$(RUN) -m tools.settings_page

client: env ## write quire/client/sync/ from quire/client/aio/
	@$(RUN) -m tools.sync_client

web: env ## build the page from web/ into api/static/, which is committed
	@tools/build_page

page: web ## test the page in real browsers, each with a real server and worker
	@$(RUN) -m $(if $(ARGS),pytest tests/page $(ARGS),tools.run_tests --page)

check: lint types imports test ## run all checks before a commit; CI adds `make mutations`

mutations: env ## break the code on purpose, and check that tests fail
	@$(RUN) -m tools.mutations

audit: env ## look for known vulnerabilities in the locks, where an index answers
	@$(RUN) -m tools.audit $(ARGS)

containers: ## build and run the Docker files for real; needs root on Debian 12
	@.ci/containers

bench: env ## measure all figures again, and rewrite benchmarks/README.md
	@$(RUN) -m benchmarks $(ARGS)

fairness: env ## simulate a day of thirty users, and compare with first come, first served
	@$(RUN) -m benchmarks.fairness $(ARGS)

faults: env ## inject the same faults into Quire and plain Celery: the table of docs/why-wakes.md
	@$(RUN) -m benchmarks.faults $(ARGS)

classroom: env ## load a server with thirty users while processes are killed; see docs/classroom.md
	@$(RUN) -m benchmarks.classroom $(ARGS)

lock: env ## write the locks from pyproject.toml; ARGS=--upgrade takes newer releases
	@$(COMPILE) $(ARGS) --extra server --extra otel --extra dev pyproject.toml --output-file requirements.lock
	@$(COMPILE) $(ARGS) --extra server --extra gpu --constraint requirements.lock pyproject.toml --output-file requirements-gpu.lock
	@$(COMPILE) $(ARGS) --python-version 3.11 tests/clients/requirements.in --output-file requirements-clients.lock

clean: ## remove everything that was made here, .venv included
	@rm -rf $(VENV) $(CLIENTS) .node web/node_modules build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
