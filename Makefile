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
	@echo "== The whole study, small, on synthetic chest radiographs: no patient is behind them, and the figures say nothing about real ones"
	$(BIN)/python -m xray_tf.reproduce --data phantom:200 --out $(DEMO) --preset quick
	@echo "== Read $(DEMO)/report.html. The same with real radiographs: python -m xray_tf.reproduce --data DIR --out DIR --preset best"

lint: $(VENV)/installed-test
	$(BIN)/ruff check .

test: $(VENV)/installed-test
	$(BIN)/python -m pytest
