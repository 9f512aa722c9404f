# One entry point for people and CI. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Your own uv, or a private one in .uv/ when there is none.
UV_VERSION := 0.13.9
UV ?= $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
PYTHON ?= $(or $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null | head -n 1),python3)
RUN := $(UV) run --frozen
# Each worker of the tests has services of its own, at times two whole platforms.
WORKERS ?= 2

.PHONY: help demo test check audit bench clean uv java

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: uv java ## Two minutes of a grocery chain, live, proved at the end
	$(RUN) --no-default-groups tillstream demo

test: uv java ## Run every test
	$(RUN) python -m tests.fixtures.short_lived_java
	$(RUN) pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

check: uv java ## Everything CI runs: lint, format, types, layers, tests
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) pre-commit validate-config
	$(UV) lock --check
	$(MAKE) test

audit: uv ## Look for known vulnerabilities of the locked libraries
	$(RUN) python tools/audit.py

bench: uv java ## Measure throughput and latency on this machine
	$(RUN) tillstream bench week

clean: ## Remove what builds and tests left in this folder (never your data)
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

uv:
	@if ! command -v "$(UV)" >/dev/null 2>&1; then \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed: install it (Debian: apt install python3 python3-venv), or set PYTHON=..." >&2; exit 1; }; \
	  echo "no uv found: installing uv $(UV_VERSION) into .uv/"; \
	  $(PYTHON) -m venv .uv || { echo "Python's venv is missing (Debian: apt install python3-venv)" >&2; exit 1; }; \
	  .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"; \
	fi

java:
	@version=$$("$${JAVA_HOME:+$$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' || true); \
	if [[ -z $$version || $$version -lt 17 ]]; then \
	  echo "Java 17 or newer is needed (found: $${version:-none}): install it (Debian: apt install openjdk-17-jre-headless), or set JAVA_HOME" >&2; exit 1; \
	fi
