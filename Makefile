# make demo     render the example project to out/demo, with pictures
# make test     format, lint, types, tests: what the CI runs
# make bench    every benchmark
# make format   put the code in order

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PYTHON  # make PYTHON=/path/to/python3.12

.PHONY: demo test bench format
demo: $(READY)
	$(BIN)/terrain demo

test: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile  # a test per core, a thread per test

bench: $(READY)
	$(BIN)/python -m benchmarks

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The environment follows the two files that say what is in it.
$(READY): pyproject.toml constraints.txt scripts/setup
	scripts/setup $(VENV)
	touch $@
