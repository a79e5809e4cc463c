# Everything happens in this checkout (.venv, build) and in the state folder ($HOLDFAST_STATE, default
# ~/.local/state/holdfast). No system package is installed and no service is registered.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPEC := examples/phonebill/cache.yaml
LOCKS := requirements/build.txt requirements/run.txt requirements/dev.txt
SOURCES := setup.py pyproject.toml $(wildcard src/holdfast/codec/*.py src/holdfast/codec/*.pxd src/holdfast/codec/*/*.py src/holdfast/codec/*/*.pxd) $(wildcard src/holdfast/client/*.pxd) $(wildcard $(patsubst %.pxd,%.py,$(wildcard src/holdfast/client/*.pxd)))
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: up intro down install engines dev test test-long check peers fuzz bench lock docs clean help

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

up: intro install engines ## Bring the phonebill cache up on this machine.
	@$(BIN)/holdfast up $(SPEC) --show-failover --prove

intro:
	@echo "Holdfast brings the phonebill cache up on this machine: 3 shards x 2 nodes over three zones."
	@echo "It changes two places only: this checkout (.venv, build) and the state folder"
	@echo "($${HOLDFAST_STATE:-$${XDG_STATE_HOME:-$$HOME/.local/state}/holdfast}). No system package, no service. make down stops it."

down: ## Stop what `make up` started; data stays.
	@$(BIN)/holdfast down $(SPEC)

$(VENV)/.made:
	@$(PYTHON) tools/preflight.py
	@echo "Python parts: into $(CURDIR)/$(VENV), from the locked requirements/*.txt, hashes checked"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run-installed: $(VENV)/.made requirements/build.txt requirements/run.txt
	@$(PIP) install --require-hashes -r requirements/build.txt -r requirements/run.txt
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.run-installed requirements/dev.txt
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.compiled: $(VENV)/.run-installed $(SOURCES)
	@echo "Compiling the codec"
	@HOLDFAST_REQUIRE_COMPILED=1 $(PIP) install --no-build-isolation --no-deps --no-index -e .
	@touch $@

install: $(VENV)/.compiled

engines: install
	@echo "Engines:"
	@$(BIN)/holdfast engines add --for $(SPEC) --best-effort

dev: install $(VENV)/.dev-installed

test: dev ## All tests that take seconds.
	@$(BIN)/python tools/run_tests.py

test-long: dev ## The tests that take minutes.
	@$(BIN)/python tools/run_tests.py --long

check: dev ## Lint, types and the house's arrows.
	@$(BIN)/ruff check src tests benchmarks tools setup.py
	@$(BIN)/ruff format --check src tests benchmarks tools setup.py
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

$(VENV)/.peers-installed: $(VENV)/.dev-installed requirements/bench.txt
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@touch $@

peers: $(VENV)/.peers-installed

FUZZ_S ?= 60
fuzz: dev peers ## Fuzz the RDB codec for FUZZ_S seconds (60) as it is written, where coverage guides it, then as compiled.
	@$(BIN)/python -m tests.fuzz.rdb --written $(FUZZ_S)
	@$(BIN)/python -m tests.fuzz.rdb $(FUZZ_S)

bench: dev peers ## Measure; results in benchmarks/RESULTS.md.
	@$(BIN)/python -m benchmarks

lock: ## Lock what pyproject.toml and requirements/*.in name, with hashes and without any registry's address.
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip --quiet --disable-pip-version-check install pip-tools
	@cd requirements && for set in build run dev bench; do \
	  if [ $$set = run ]; then from="--extra run ../pyproject.toml"; else from=$$set.in; fi; \
	  ../build/lock/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	    --strip-extras --allow-unsafe --no-header -o $$set.txt $$from; done

docs: install ## Generate docs/cli.md and the man pages from the commands' own help.
	@$(BIN)/holdfast docs cli --output docs/cli.md
	@$(BIN)/holdfast docs man --output man

clean: ## Remove the virtual environment and what was built.
	rm -rf $(VENV) build dist src/*.egg-info src/holdfast/codec/*.so src/holdfast/codec/*/*.so src/holdfast/client/*.so
