# Two commands on a bare machine: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: demo test test-backends test-oldest lint install models

install: $(VENV)/installed
$(VENV)/installed: setup.py setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/xray-tf demo --out $(DEMO)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# by file, the long ones first: tests/conftest.py has their order
SPREAD := -n auto --dist loadfile --no-loadscope-reorder
test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(SPREAD)

# What Keras must do under JAX and PyTorch (for CPUs), in an environment of its own.
BACKENDS := .venv-backends
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
$(BACKENDS)/installed: setup.py setup.cfg pyproject.toml
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --extra-index-url $(TORCH_INDEX) --editable '.[test,backends]'
	touch $@

test-backends: $(BACKENDS)/installed
	KERAS_BACKEND=jax $(BACKENDS)/bin/python -m pytest tests/backends tests/test_saved_models.py
	KERAS_BACKEND=torch $(BACKENDS)/bin/python -m pytest tests/backends tests/test_saved_models.py

# The suite with the oldest neighbours that are supported; PYTHON should be 3.11.
OLDEST := .venv-oldest
$(OLDEST)/installed: setup.py setup.cfg pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable '.[test]'
	touch $@

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest $(SPREAD)

# Train the shipped models again, from the public training part: make models DATA=path/to/chest_xray
# MASKS=path/to/lung_masks
# (hours on two cores). saved_models/ is left alone. FIRST_EPOCHS=1 SECOND_EPOCHS=1 EPOCHS=1 tries every line on all
# radiographs and makes poor models.
DATA ?= ../shared/data/chest_xray
MASKS ?= ../shared/data/lung_masks
MADE := runs/models
FIRST_EPOCHS ?= 10
SECOND_EPOCHS ?= 8
EPOCHS ?= 8
COMMON := --task three-class --resize squash --method none --precision float32
models: $(VENV)/installed
	$(BIN)/xray-tf train-lungs --masks $(MASKS) --data $(DATA) --out $(MADE)/lungs
	$(BIN)/xray-tf train --data $(DATA) --out $(MADE)/first $(COMMON) --image-size 160 --test 0 --validation 0.15 \
		--fine-tune-epochs $(FIRST_EPOCHS) --fine-tune-learning-rate 5e-4
	$(BIN)/xray-tf train --data $(DATA) --out $(MADE)/second $(COMMON) --image-size 160 --split $(MADE)/first/split.csv \
		--weights $(MADE)/first/model.keras --fine-tune-epochs $(SECOND_EPOCHS) --seed 1
	$(BIN)/xray-tf train --data $(DATA) --out $(MADE)/pneumonia-three-class $(COMMON) --image-size 192 --split $(MADE)/first/split.csv \
		--weights $(MADE)/second/model.keras --fine-tune-epochs $(EPOCHS) --fine-tune-learning-rate 3e-4 --seed 2
	$(BIN)/xray-tf train --data $(DATA) --out $(MADE)/pneumonia-binary --resize squash --image-size 192 --method sum \
		--weights $(MADE)/pneumonia-three-class/model.keras --split $(MADE)/first/split.csv
	$(BIN)/xray-tf detect fit --data $(DATA) --out $(MADE)/normal-chest --resize squash --report-on-pneumonia --examples
