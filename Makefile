# make demo     render the example project to out/demo, with pictures
# make test     format, lint, types, tests: what the CI runs
# make bench    every benchmark
# make format   put the code in order
# make train    the built-in autoencoder and instrument, from nothing: corpus, training, graphs, figures (about an hour)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# What --fx is tested with.
VST3_EFFECTS := /usr/lib/vst3/ZamCompX2.vst3
export PYTHON  # make PYTHON=/path/to/python3.12

.PHONY: demo test bench format train
demo: $(READY)
	$(BIN)/terrain demo

test: $(READY) $(VST3_EFFECTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile  # a test per core, a thread per test

bench: $(READY)
	$(BIN)/python -m benchmarks

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(READY)
	$(BIN)/python -m terrain_core.autoencoders.training corpus
	$(BIN)/python -m terrain_core.autoencoders.training train --resume
	$(BIN)/python -m terrain_core.autoencoders.training export
	$(BIN)/python -m terrain_core.autoencoders.training evaluate
	$(BIN)/python -m terrain_core.autoencoders.training picture
	$(BIN)/python scripts/make_default_instrument.py

$(VST3_EFFECTS):
	scripts/debian zam-plugins

# The environment follows the two files that say what is in it.
$(READY): pyproject.toml constraints.txt scripts/setup
	scripts/setup $(VENV)
	touch $@
