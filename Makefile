PYTHON ?= python3
BIN := .venv/bin
DEMO := demo

.PHONY: demo test browser clean

demo: .venv/installed
	$(BIN)/lensbench simulate $(DEMO)/data --population demo --n-train 700 --n-val 300
	$(BIN)/lensbench run --data $(DEMO)/data --out $(DEMO)/runs --recipe quick --no-pretrained \
		--models ResNet18 EfficientNet-B0 MobileNetV3-Small --cache $(DEMO)/cache
	$(BIN)/lensbench report $(DEMO)/runs --out $(DEMO)/report \
		--table $(DEMO)/data/parameters.csv --by perturber_mass_solar

# Files of tests go to as many processes as there are cores; each computes on one of them.
test: .venv/installed-dev browser
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --dist loadfile

# The report is tested in a real browser; pytest says which tests are skipped where there is none.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
		|| { [ "$$(id -u)" = 0 ] && timeout 300 apt-get install -qq -y chromium; } \
		|| echo "No Chromium: tests of the report in a browser are skipped (Debian: apt install chromium)"

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
