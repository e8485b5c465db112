# Everything a person or CI runs. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 3

.PHONY: help run test check bench chaos race docs docker-test clean venv lab-vsphere lab-openstack
help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

venv: $(VENV)/.runtime ## the virtual environment of a user

$(VENV)/.runtime: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

run: $(VENV)/.runtime ## start everything on embedded defaults, with a demo; Ctrl-C ends it
	@exec $(BIN)/vai up --demo

test: $(VENV)/.dev ## unit, contract, API and integration tests on real servers
	$(BIN)/python -m tests.lab.debian
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder --durations 15

check: $(VENV)/.dev ## ruff, mypy, import-linter, codespell, pip-audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m tests.audit

chaos: $(VENV)/.dev ## 200 creates and deletes while processes are killed; SEED=n repeats; OPENSTACK=n more there
	$(BIN)/python -m tests.lab.debian
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(OPENSTACK),--openstack $(OPENSTACK))

race: $(VENV)/.dev ## 64 clients, 10,000 requests for the last room and quota while workers are killed; SEED=n repeats
	$(BIN)/python -m tests.lab.debian
	$(BIN)/python -m tests.chaos.race $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.dev ## measure against hand-written programs; writes bench/results/*.json
	$(BIN)/python -m tests.lab.debian
	$(BIN)/python -m bench

docs: $(VENV)/.dev ## write the generated pages of the documentation
	$(BIN)/python -m docs.generate

docker-test: $(VENV)/.dev ## build the image, bring the compose file up, make and delete a machine there
	PYTHON=$(BIN)/python bash tests/lab/docker/run.sh

lab-vsphere: $(VENV)/.dev ## a simulated vCenter, registered in the VAI that runs here, until Ctrl-C; COUNT=2 for two
	@$(BIN)/python -m tests.lab vsphere $(if $(COUNT),--count $(COUNT))

lab-openstack: $(VENV)/.dev ## an OpenStack cloud with two hosts, registered likewise, until Ctrl-C; COUNT=2 for two
	@$(BIN)/python -m tests.lab openstack $(if $(COUNT),--count $(COUNT))

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
