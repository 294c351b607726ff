# `make` lists the targets. Everything is installed into .venv, from requirements/dev.txt, by hash.

# The distribution's own Python where it will do: it is what servers run, and it is built with optimisations that one built
# by hand or by a version manager often lacks. Otherwise the first on the PATH.
FIT := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in /usr/bin/python3 python3; do $$python -c '$(FIT)' 2>/dev/null && { echo $$python; exit; }; done; echo python3)
JOBS ?= 2
VENV := .venv
SDK_VENV := .venv-sdk
LOCK_VENV := .venv-lock
ANSIBLE_VENV := .venv-ansible
SANITY_VENV := .venv-sanity
FUZZ_VENV := .venv-fuzz
# An hour for all of them together; `make fuzz FUZZ_SECONDS=60` for a look.
FUZZ_SECONDS := 3600
FUZZED := requests responses events fields configuration
# The lab's folder is the lab: another folder, another lab beside it.
export LAB ?= .lab
N ?= 4
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

MAKEFLAGS += --no-print-directory
# What `ai-client` loads at its start has its bytecode made at setup, as a real installation would: an environment that
# forbids Python to write any would otherwise pay for it at each start.
STARTED := click httptools msgspec prometheus_client typing_extensions.py uvloop
# Without --no-compile a third of the time goes into bytecode that nobody may ever load; Python compiles what it imports.
PIP := -m pip --disable-pip-version-check --quiet
# The locks are complete, so pip is given nothing to resolve (--no-deps): an old pip that meets `coverage[toml]` beside a locked
# `coverage` would take the newest instead, and then miss its hash.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test lint sanity format docs bench bench-quota faults bench-goodput bench-hedge lab lab-down ansible fleet-test fleet-demo fleet-bench fuzz release release-check lock clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready $(VENV)/.redis ## install everything into .venv (PYTHON=python3.12 chooses the interpreter)

run: setup ## simulator, daemon and a real batch through both; results in a folder that it names
	@$(BIN)/ai-client demo

test: setup $(SDK_VENV)/.ready $(ANSIBLE_VENV)/.ready ## all tests, with the coverage gate (JOBS=0 for one process)
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --cov --cov-report=term

lint: setup $(ANSIBLE_VENV)/.ready ## ruff, mypy --strict, import rules, ansible-lint
	@echo "ruff check" && $(BIN)/ruff check --quiet .
	@echo "ruff format" && { $(BIN)/ruff format --check --quiet . || { echo "Not formatted: run 'make format'." >&2; exit 1; }; }
	@echo "mypy --strict" && $(BIN)/mypy --no-error-summary
	@echo "import rules" && $(BIN)/lint-imports --no-logo
	@echo "ansible-lint" && PATH="$(CURDIR)/$(ANSIBLE_VENV)/bin:$$PATH" $(ANSIBLE_VENV)/bin/ansible-lint -q --offline ansible_collections/ai_client/fleet

format: setup ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

docs: setup ## generate what docs/reference takes from the code
	@$(BIN)/python -m tests.reference
	@$(BIN)/ai-client config keys --markdown > docs/reference/configuration.md

bench: setup ## measure the daemon and its peers side by side
	@$(BIN)/python -m bench

bench-goodput: setup ## measure what is answered, and how quickly, from half to five times of what can be
	@$(BIN)/python -m bench.goodput

bench-hedge: setup ## measure what second requests save of the slowest answers, and what they cost: three minutes
	@$(BIN)/python -m bench.hedge

bench-quota: setup ## measure how a fleet keeps one limit, beside peers (QUOTA_SECONDS=60 for a short run)
	@$(BIN)/python -m bench.quota

faults: setup ## every fault, wherever it can strike, through library, daemon and batch; sixteen published ones beside peers (PEERS=1)
	@$(BIN)/python -m faults --json faults.json
	@echo && $(BIN)/python -m faults.scorecard --json scorecard.json $(if $(PEERS),--peers)

.PHONY: soak
soak: setup ## an hour of mixed traffic, faults and reloads: does the daemon grow? (SOAK_SECONDS=60, SOAK_RATE=600)
	@$(BIN)/python -m endurance.soak

.PHONY: cancellations
cancellations: setup ## 100,000 calls given up at every point of their way: is anything left behind?
	@$(BIN)/python -m endurance.cancellations

.PHONY: chaos
chaos: setup ## kill -9, SIGTERM and SIGHUP at random, under load and with a batch (CHAOS_SECONDS=120, CHAOS_SEED)
	@$(BIN)/python -m endurance.chaos

lab: ## boot N real nodes on this machine (root); JUMP=1 puts a jump host in front, LAB=folder makes another one
	@$(PYTHON) -m lab up --nodes $(N) $(if $(JUMP),--jump)

lab-down: ## stop the nodes and remove them
	@$(PYTHON) -m lab down

ansible: $(ANSIBLE_VENV)/.ready ## install ansible-core and ansible-lint into .venv-ansible, from their lock

# It makes an environment for each of its tools, below its home.
sanity: $(SANITY_VENV)/.ready ## all of ansible-test's sanity tests, for this Python: some minutes
	@cd ansible_collections/ai_client/fleet && HOME="$(CURDIR)/$(SANITY_VENV)" $(CURDIR)/$(ANSIBLE_VENV)/bin/ansible-test sanity \
	  --color no --python "$$($(CURDIR)/$(ANSIBLE_VENV)/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"

fuzz: $(FUZZ_VENV)/.ready ## look for bytes that break a parser, FUZZ_SECONDS (3600) for all; finds go to tests/fuzz/corpus
	@for target in $(FUZZED); do \
	  echo "fuzzing $$target for $$(( $(FUZZ_SECONDS) / $(words $(FUZZED)) )) s"; \
	  PYTHONPATH=. $(FUZZ_VENV)/bin/python -m fuzz $$target $$(( $(FUZZ_SECONDS) / $(words $(FUZZED)) )) || exit 1; \
	done

release: setup ## sdist, wheel, SBOM and SHA256SUMS of the last commit into dist/, the same bytes each time
	@$(BIN)/python -m release make dist

release-check: setup ## look over what lies in dist/, without a network
	@$(BIN)/python -m release check dist

# FLEET takes more words of `python -m bench.fleet`, such as FLEET="--keep --only deploy,upgrade".
fleet-test: setup $(ANSIBLE_VENV)/.ready ## the collection on 6 real nodes (root)
	@$(BIN)/python -m bench.fleet test $(if $(NODES),--nodes $(NODES)) $(FLEET)

fleet-demo: setup $(ANSIBLE_VENV)/.ready ## boot 5 nodes, deploy, upgrade under load, take bad releases back, clean up (root)
	@$(BIN)/python -m bench.fleet demo $(if $(NODES),--nodes $(NODES)) $(FLEET)

fleet-bench: setup $(ANSIBLE_VENV)/.ready ## every figure of the fleet, on NODES=50 nodes (root)
	@$(BIN)/python -m bench.fleet bench $(if $(NODES),--nodes $(NODES)) $(FLEET)

lock: $(LOCK_VENV)/.ready ## resolve the locked environments anew
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/uv pip compile --quiet --universal --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --python-version 3.11 \
	  --all-extras --group dev -o requirements/dev.txt pyproject.toml
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/uv pip compile --quiet --universal --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --python-version 3.11 \
	  -o requirements/sdk-1.12.0.txt pyproject.toml requirements/sdk-1.12.0.in
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/uv pip compile --quiet --universal --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --python-version 3.11 -o requirements/ansible.txt requirements/ansible.in
	@$(MAKE) ansible && UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/uv pip compile --quiet --universal --generate-hashes \
	  --no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11 -o requirements/sanity.txt \
	  $(ANSIBLE_VENV)/lib/python3*/site-packages/ansible_test/_data/requirements/sanity.*.txt
	@for python in 3.11 3.12 3.13; do \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/uv pip compile --quiet --upgrade --generate-hashes --no-annotate \
	    --no-emit-index-url --no-emit-find-links --python-version $$python --python-platform x86_64-manylinux_2_28 \
	    --no-emit-package pygments --no-emit-package markdown-it-py --no-emit-package mdurl \
	    --extra fleet -c requirements/dev.txt -o src/ai_client/bundle/locks/py$$python.txt pyproject.toml || exit 1; \
	done
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(LOCK_VENV)/bin/uv pip compile --quiet --universal --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --python-version 3.11 \
	  -o requirements/fuzz.txt pyproject.toml requirements/fuzz.in
	@echo "Locked: requirements/*.txt, src/ai_client/bundle/locks"

clean: ## remove what tools and tests left behind
	@rm -rf build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## the same, and the environments
	@rm -rf $(VENV) $(SDK_VENV) $(LOCK_VENV) $(ANSIBLE_VENV) $(SANITY_VENV) $(FUZZ_VENV) .fuzz

# ------------------------------------------------------------------------------------------------------- environments

# $(call venv,DIR): make the environment unless a working one stands there.
define venv
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)'. ai-client needs Python 3.11 or newer; name it: make setup PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "ai-client needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Install a newer one, and name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(1)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(1)
endef

$(VENV)/.locked: requirements/dev.txt
	$(call venv,$(VENV))
	@echo "Installing the locked development environment into $(VENV) (half a minute or so) ..."
	@$(BIN)/python $(PIP) install --no-compile --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.locked pyproject.toml
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src $(foreach name,$(STARTED),$(VENV)/lib/python3*/site-packages/$(name))
	@touch $@

# Looked for once: a server of its own is what the tests of the fleet's limits and bench-quota start, and nothing else needs it. Debian
# starts what it installs; nobody asked for that.
$(VENV)/.redis: $(VENV)/.locked
	@if command -v redis-server >/dev/null || command -v valkey-server >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing redis-server, for the tests of the fleet's limits ..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server >/dev/null \
	    && { ! command -v systemctl >/dev/null || systemctl disable --now --quiet redis-server 2>/dev/null || true; } \
	    || echo "It could not be installed: the tests of the fleet's limits will be skipped." >&2; \
	else \
	  echo "There is no redis-server: the tests of the fleet's limits will be skipped, and bench-quota cannot run." >&2; \
	  echo "On Debian and Ubuntu, as root: apt-get install redis-server (or valkey-server)" >&2; \
	fi
	@touch $@

$(SDK_VENV)/.ready: requirements/sdk-1.12.0.txt
	$(call venv,$(SDK_VENV))
	@echo "Installing openai 1.12.0, for the compatibility tests, into $(SDK_VENV) ..."
	@$(SDK_VENV)/bin/python $(PIP) install --no-compile --no-deps --require-hashes -r requirements/sdk-1.12.0.txt
	@echo "$(CURDIR)/src" > "$$($(SDK_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ai_client.pth"
	@touch $@

$(ANSIBLE_VENV)/.ready: requirements/ansible.txt
	$(call venv,$(ANSIBLE_VENV))
	@echo "Installing ansible-core and ansible-lint into $(ANSIBLE_VENV) ..."
	@$(ANSIBLE_VENV)/bin/python $(PIP) install --no-deps --require-hashes -r requirements/ansible.txt
	@touch $@

# ansible-test hands no variable of pip's on, so that its tools come from the lock is said in a file. And it fetches pip itself from
# a server of Ansible's own, unless it has it already: Python brings one along.
$(SANITY_VENV)/.ready: requirements/sanity.txt $(ANSIBLE_VENV)/.ready
	@echo "Fetching the tools of ansible-test into $(SANITY_VENV) ..."
	@rm -rf $(SANITY_VENV) && mkdir -p $(SANITY_VENV)/.ansible/test/cache $(SANITY_VENV)/.config/pip
	@printf '[global]\nno-index = true\nfind-links = %s\n' "$(CURDIR)/$(SANITY_VENV)/wheels" > $(SANITY_VENV)/.config/pip/pip.conf
	@echo "import ensurepip; ensurepip.bootstrap()" > $(SANITY_VENV)/.ansible/test/cache/get_pip_24_2.py
	@$(ANSIBLE_VENV)/bin/python $(PIP) download --no-deps --require-hashes --only-binary=:all: --dest $(SANITY_VENV)/wheels -r requirements/sanity.txt
	@touch $@

$(FUZZ_VENV)/.ready: requirements/fuzz.txt
	$(call venv,$(FUZZ_VENV))
	@echo "Installing the fuzzer into $(FUZZ_VENV) ..."
	@$(FUZZ_VENV)/bin/python $(PIP) install --no-compile --no-deps --require-hashes -r requirements/fuzz.txt
	@echo "$(CURDIR)/src" > "$$($(FUZZ_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ai_client.pth"
	@touch $@

$(LOCK_VENV)/.ready: Makefile
	$(call venv,$(LOCK_VENV))
	@$(LOCK_VENV)/bin/python $(PIP) install uv==$(UV_VERSION)
	@touch $@
