PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

.PHONY: demo test clean

demo: .venv/installed
	$(BIN)/lensbench simulate $(DEMO)/data --population demo --n-train 700 --n-val 300
	$(BIN)/lensbench run --data $(DEMO)/data --out $(DEMO)/runs --recipe quick --no-pretrained \
		--models ResNet18 EfficientNet-B0 MobileNetV3-Small --cache $(DEMO)/cache

test: .venv/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	@echo "Installing torch and what else is needed into .venv: several GB, some minutes."
	$(BIN)/pip install --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv $(DEMO)
