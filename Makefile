# Two commands on a bare machine: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: demo test lint install

install: $(VENV)/installed
$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[offline]'
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[offline,test]'
	touch $@

demo: $(VENV)/installed
	@echo "== 1. Look at the data: synthetic chest radiographs, no patient is behind them"
	$(BIN)/python -m xray_tf.audit --data phantom:300
	@echo "== 2. Train, evaluate and save a classifier"
	$(BIN)/python -m xray_tf.train --data phantom:300 --out $(DEMO)/model --image-size 128 --epochs 20 --fine-tune all --fine-tune-epochs 12 --fine-tune-learning-rate 3e-4 --test 0.25
	@echo "== 3. Use it: radiographs that training never saw"
	$(BIN)/python -m xray_tf.evaluate --model $(DEMO)/model --data phantom:40:1 --out $(DEMO)/evaluation
	@echo "== Results: $(DEMO)/model/report.html, $(DEMO)/evaluation/report.html"

lint: $(VENV)/installed-test
	$(BIN)/ruff check .

test: $(VENV)/installed-test
	$(BIN)/python -m pytest
