# The commands of the README and of docs/. Each makes its own virtual environment first, once for each state of the requirements.

# The newest of these that runs (a name may be there without a Python), unless PYTHON names another.
PYTHON ?= $(shell for version in 3.13 3.12 3.11; do python$$version -c '' 2>&- && echo python$$version && break; done)
VENV := .venv
BIN := $(VENV)/bin
LOG := $(VENV)/install.log

.PHONY: config outdated docs lessons lock train test test-processors test-gpu check-gpu evidence-gpu gpu-wheels test-browser lint format keras-hub clean

train: $(VENV)/.installed
	@$(BIN)/python train.py $(ARGS)

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest $(ARGS)

# What compares numbers, as other processors compute them: with fewer instructions, and with more threads. JAX compiles its own kernels,
# which these variables do not change.
NUMERIC := $(BIN)/python -m pytest -m "numeric and not browser" -k "not jax" $(ARGS)

test-processors: $(VENV)/.installed-dev
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 $(NUMERIC)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=4 $(NUMERIC)

# What only a GPU can show; everywhere else tests compute on the CPU.
test-gpu: $(VENV)/.installed-dev
	@KERAS_TORCH_DEVICE=cuda $(BIN)/python -m pytest -m gpu --numprocesses=0 $(ARGS)

# Those tests and the throughput, at most 8 minutes. On a machine without this environment: GPU_PYTHON=python3, with PYTHONPATH at what
# `python3 -m pip install --no-index --no-deps --target FOLDER .whl/*.whl` put there, from the wheels of `make gpu-wheels`.
GPU_PYTHON ?= $(BIN)/python

check-gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(VENV)/.installed-dev)
	KERAS_TORCH_DEVICE=cuda $(GPU_PYTHON) -m pytest -o addopts= -q -n 6 -p no:cacheprovider -m gpu tests/test_executions.py tests/test_torch_step.py
	$(GPU_PYTHON) benchmark.py throughput --batch 128 512 2048 --precision mixed_bfloat16 --repetitions 3 \
	    --json output/benchmark/gpu.json --plot output/benchmark/gpu.png

# Studies at full scale on a GPU that is lent for some minutes: records go to results/, what is unfinished to STATE, from where the next
# session goes on. DATA is a tar file of a folder with train/<class>/; EVIDENCE=... takes other studies.
DATA ?= cifar10-jpeg.tar.gz
EVIDENCE ?= bag_of_tricks depth resnext
STATE ?= output/evidence.tar

evidence-gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(VENV)/.installed)
	KERAS_TORCH_DEVICE=cuda $(GPU_PYTHON) -m lab.studies.evidence $(EVIDENCE) --data $(DATA) --state $(STATE) $(ARGS)

gpu-wheels:
	python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
	    $(addprefix --platform ,manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64) --dest .whl \
	    $(shell grep -ohE '^keras==[0-9.]+' requirements.txt) optree==0.20.0 namex==0.1.0

# The dashboard, the playground and exported pages in Chromium. Where none is installed, that is said and no failure, unless BROWSER_REQUIRED=1.
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

IN_BROWSER := tests/test_dashboard_browser.py tests/hostile/test_hostile_browser.py tests/test_playground_browser.py tests/test_film_browser.py \
	tests/test_export_web.py

test-browser: $(VENV)/.installed-dev
ifneq ($(CHROMIUM),)
	CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest -m browser --numprocesses=0 $(IN_BROWSER) $(ARGS)
else
	@echo "no Chromium is installed: the dashboard is not tested in a browser"; test "$(BROWSER_REQUIRED)" != 1
endif

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Writes the generated tables of the manual in docs/ anew.
docs: $(VENV)/.installed
	@$(BIN)/python -m lab.manual

# The notebooks lessons/*.ipynb from their texts in git; ARGS=--run also runs them, some minutes each, and renders docs/lessons/.
lessons: $(VENV)/.installed-dev
	@$(BIN)/python -m lab.lessons $(ARGS)

# config.py with the settings of this version and the values that it holds.
config: $(VENV)/.installed
	@$(BIN)/python -m foundation.config_file

# Which of the installed packages have newer versions than those pinned.
outdated: $(VENV)/.installed-dev
	$(BIN)/python -m pip list --outdated

# What the tests and CI install, with the hashes of all files that Python 3.11 to 3.13 may install of each version, on any system.
# Versions that the requirements leave open stay as they are; ARGS=--upgrade takes the newest.
LOCK := requirements/lock.txt

lock: $(VENV)/.installed-dev
	@echo $(KERAS_HUB) | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --no-emit-package torch --custom-compile-command "make lock" requirements/dev.txt requirements/keras-hub.txt - \
	    --output-file $(LOCK) $(ARGS)

clean:
	rm -rf $(VENV)

# What is missing, in one line; empty where nothing is.
VERSION_OF = $(shell $(PYTHON) -c "import sys; print('%d.%d' % sys.version_info[:2])" 2>/dev/null)
WANTED = Reslab needs Python 3.13, 3.12 or 3.11, and none of them is installed; one that goes by another name: make PYTHON=/path/to/python3
OTHER = $(PYTHON) is $(or $(addprefix Python ,$(VERSION_OF)),no Python); Reslab needs Python 3.13, 3.12 or 3.11
NO_VENV = Python $(VERSION_OF) comes without its module venv: sudo apt install python$(VERSION_OF)-venv
FAULT = $(if $(PYTHON),$(if $(filter 3.11 3.12 3.13,$(VERSION_OF)),$(if $(shell $(PYTHON) -c "import ensurepip, venv" 2>&1),$(NO_VENV)),$(OTHER)),$(WANTED))

$(BIN)/python:
	@$(if $(FAULT),$(error $(FAULT)))$(PYTHON) -m venv $(VENV)

# Installs with one line that counts; where nobody watches (output is no terminal), with one at the start and one at the end. All that
# pip says is in the log, whose last lines are shown where it failed.
COUNT = awk 'function show() { printf "\rinstalling $(1), log in $(LOG): %d packages", count; fflush() } \
	BEGIN { if (live = !system("test -t 1")) show(); else { print "installing $(1), log in $(LOG)"; fflush() } } \
	/^Collecting|^Processing|^Requirement already/ { ++count; if (live) show() } \
	END { if (live) print ""; else print "$(1): " count + 0 " packages" }'
INSTALL = @touch $(LOG).failed; \
	{ PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --progress-bar off $(2) 2>&1 && rm $(LOG).failed; } | tee -a $(LOG) | \
	$(call COUNT,$(1)); if test -e $(LOG).failed; then rm $(LOG).failed; tail -n 3 $(LOG); exit 1; fi

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(call INSTALL,$<,--requirement $<)
	@touch $@

# By hash; torch by its version, because machines without a GPU may have a build of their own of it, which has another hash. On others
# it brings the libraries of CUDA.
$(VENV)/.installed-dev: $(LOCK) requirements.txt | $(BIN)/python
	$(call INSTALL,$(LOCK),--require-hashes --no-deps --requirement $(LOCK))
	$(call INSTALL,torch,$(shell grep -oE '^torch==[0-9.]+' requirements.txt))
	@touch $(VENV)/.installed $@

# Weights for --init-from keras-hub:... Alone: what it asks for beside this list serves text, and brings a second TensorFlow.
KERAS_HUB := keras-hub==0.32.0

keras-hub: $(VENV)/.installed
	$(call INSTALL,requirements/keras-hub.txt,--requirement requirements/keras-hub.txt)
	$(call INSTALL,keras-hub,--no-deps $(KERAS_HUB))
