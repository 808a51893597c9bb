PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

.PHONY: demo test clean

demo: .venv/installed
	$(BIN)/lensbench simulate $(DEMO)/data --population demo --n-train 700 --n-val 300
	$(BIN)/lensbench run --data $(DEMO)/data --out $(DEMO)/runs --recipe quick --no-pretrained \
		--models ResNet18 EfficientNet-B0 MobileNetV3-Small

test: .venv/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv $(DEMO)
