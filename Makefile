# The commands of the README. Each makes its own virtual environment first, once for each state of the requirements.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test test-browser lint format keras-hub clean

train: $(VENV)/.installed
	$(BIN)/python train.py $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(ARGS)

# The dashboard in Chromium. Where none is installed, that is said and no failure, unless BROWSER_REQUIRED=1.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

test-browser: $(VENV)/.installed-dev
ifneq ($(CHROMIUM),)
	CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest -m browser --numprocesses=0 tests/test_dashboard_browser.py $(ARGS)
else
	@echo "no Chromium is installed: the dashboard is not tested in a browser"; test "$(BROWSER_REQUIRED)" != 1
endif

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --requirement requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-ray.txt requirements-keras-hub.txt $(VENV)/.installed
	$(BIN)/python -m pip install --requirement requirements-dev.txt
	$(MAKE) keras-hub
	touch $@

# Weights for --init-from keras-hub:... Alone: what it asks for beside this list serves text, and brings a second TensorFlow.
keras-hub: $(VENV)/.installed
	$(BIN)/python -m pip install --requirement requirements-keras-hub.txt
	$(BIN)/python -m pip install --no-deps keras-hub==0.32.0
