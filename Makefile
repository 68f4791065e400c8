# make demo     render the example project to out/demo, with pictures
# make test     format, lint, types, tests: what the CI runs
# make rave-env   the package that RAVE models come from, in an environment of its own, and small models for the tests
# make neutone-env   neutone_sdk in an environment of its own, for `terrain export --neutone`
# make native   compile the VST3 and CLAP plugins into build/native
# make test-slow  what takes minutes: the plugin under the sanitizers, ten thousand random sequences
# make pd-check NN_TILDE=/path/to/nn~.pd_linux   an exported instrument in Pure Data's nn~, compared with the engine
# make fuzz     a million damaged projects, and a million other damaged inputs (an hour or two)
# make bench    every benchmark, and docs/numbers.md of what they find
# make docs     the documents as a site, into site/
# make format   put the code in order
# make train    the built-in autoencoder and instrument, from nothing: corpus, training, graphs, figures (about an hour)
# make train-drums  the shipped drums, from nothing (about half an hour on one core)

VENV := .venv
BIN := $(VENV)/bin
# The installed package knows where each module is: another list of modules, another installation.
MODULES := $(shell find terrain_core daws/terrain_daws plugin/terrain_plugin -name '*.py' | sort | cksum | cut -d' ' -f1)
READY := $(VENV)/ready-$(MODULES)
# What --fx is tested with.
VST3_EFFECTS := /usr/lib/vst3/ZamCompX2.vst3
# What the plugin is compiled with: a compiler, and the plugin formats' C headers.
HEADERS := /usr/share/dpf/distrho/src/travesty/base.h
NATIVE := build/native
# The DAW that the plugin is tested in.
ARDOUR := /usr/bin/ardour7-lua
# The browser that the editor is tested in.
CHROMIUM := /usr/bin/chromium
export PYTHON  # make PYTHON=/path/to/python3.12

.PHONY: demo test test-slow pd-check fuzz native bench docs format train rave-env neutone-env train-drums
demo: $(READY)
	$(BIN)/terrain demo

test: $(READY) $(VST3_EFFECTS) $(ARDOUR) native rave-env $(CHROMIUM)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile -m "not slow"  # a test per core, a thread per test

test-slow: $(READY) $(CHROMIUM) native
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile -m slow

native: $(READY) $(HEADERS)
	@command -v c++ >/dev/null || scripts/debian g++
	@$(BIN)/cmake -S plugin/native -B $(NATIVE) -G Ninja -DCMAKE_MAKE_PROGRAM="$(CURDIR)/$(BIN)/ninja" --log-level=WARNING
	@$(BIN)/cmake --build $(NATIVE)

rave-env: $(READY)
	@scripts/rave_env

pd-check: $(READY)
	@command -v pd >/dev/null || scripts/debian puredata-core
	$(BIN)/python scripts/pd_check.py $(NN_TILDE)

neutone-env: $(READY)
	@scripts/neutone_env

fuzz: $(READY)
	$(BIN)/python tests/terrain_daws/fuzz.py
	$(BIN)/python tests/fuzz_core.py

bench: $(READY) native rave-env
	$(BIN)/python -m benchmarks --write

docs: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -C wheel.cmake=false -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

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

train-drums: $(READY)
	$(BIN)/python -m terrain_core.one_shots.training corpus
	OMP_NUM_THREADS=1 $(BIN)/python -m terrain_core.one_shots.training train
	OMP_NUM_THREADS=1 $(BIN)/python -m terrain_core.one_shots.training refine
	$(BIN)/python -m terrain_core.one_shots.training export
	$(BIN)/python -m terrain_core.one_shots.training evaluate --skips .cache/runs/drums-refined --sounds 210 --out terrain_core/instruments/drums.json
	$(BIN)/python -m terrain_core.one_shots.training picture

$(VST3_EFFECTS):
	scripts/debian zam-plugins

$(HEADERS):
	scripts/debian dpf-source

$(ARDOUR):
	scripts/debian ardour

$(CHROMIUM):
	scripts/debian chromium

# The environment follows the two files that say what is in it.
$(READY): pyproject.toml constraints.txt scripts/setup
	scripts/setup $(VENV)
	@rm -f $(VENV)/ready*
	touch $@
