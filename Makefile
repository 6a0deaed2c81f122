# A virtual environment sets itself up on first use; after that nothing here needs a network.
#   make demo PYTHON=python3.12    another Python
#   make test VENV=/elsewhere      another place for the environment
#   make test JOBS=1               in one process; two at once unless given

VENV ?= .venv
PYTHON ?=
PYTEST_ARGS ?=
JOBS ?= 2

BIN := $(VENV)/bin
PYTEST = "$(BIN)/python" -m pytest -n $(JOBS) --dist loadfile
READY := $(VENV)/.ready
SERVING_READY := $(VENV)/.serving-ready
DOCS_READY := $(VENV)/.docs-ready
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10 python)
FIND = for p in $(CANDIDATES); do "$$p" -c '$(USABLE)' >/dev/null 2>&1 && echo "$$p" && break; done

.PHONY: help setup demo demo-memory test test-all test-serving notebooks tutorials lint docs clean

help:
	@echo "make demo           learn the ten handwritten digits one after another, results in runs/demo"
	@echo "make demo-memory    make the memory again that comes with the package, in dgm_tf/memories"
	@echo "make test           run the tests, in five to seven minutes on two cores"
	@echo "make test-all       run those, too, that take long or need an optional package"
	@echo "make test-serving   run those that start servers, and install what they need"
	@echo "make notebooks      run the tutorials with a small budget, in a few minutes"
	@echo "make tutorials      run them with their full budget and write what they show into their files"
	@echo "make lint           check the style"
	@echo "make docs           build the site of the documents in site, and install what that needs"
	@echo "make setup          only set up the environment in $(VENV)"
	@echo "make clean          remove the environment, the caches, what was built and runs/demo"

setup: $(READY)

$(READY): pyproject.toml requirements.txt requirements-tensorboard.txt requirements-dev.txt
	@found=$$($(FIND)); \
	if [ -z "$$found" ]; then \
	  echo "error: need Python 3.10, 3.11, 3.12 or 3.13 with its venv module; none of" \
	    "'$(CANDIDATES)' is that; install one (on Debian and Ubuntu python3-venv, too)" \
	    "or name one: make PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "setting up $(VENV) with $$($$found --version) (TensorFlow is large: a few minutes)"; \
	"$$found" -m venv "$(VENV)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch "$@"

# Together with requirements-dev.txt, so that pip keeps to both.
$(SERVING_READY): $(READY) requirements-serving.txt
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt \
	  -r requirements-serving.txt
	@"$(BIN)/python" -c "import mlserver, tensorflow_serving"  # MLServer needs Python below 3.13
	@touch "$@"

# Together with requirements-dev.txt, so that pip keeps to both.
$(DOCS_READY): $(READY) requirements-docs.txt
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt \
	  -r requirements-docs.txt
	@touch "$@"

demo: $(READY)
	"$(BIN)/python" -m trainers.split_digits --run_dir=runs/demo

demo-memory: $(READY)
	"$(BIN)/python" -m benchmarks.demo_memory

test: $(READY)
	$(PYTEST) $(PYTEST_ARGS)

test-all: $(READY)
	$(PYTEST) -m "slow or not slow" $(PYTEST_ARGS)
	$(PYTEST) studies

test-serving: $(SERVING_READY)
	"$(BIN)/python" -m pytest -m slow tests/serving $(PYTEST_ARGS)

notebooks: $(DOCS_READY)
	"$(BIN)/python" -m pytest -n $(JOBS) -m slow tests/test_notebooks.py $(PYTEST_ARGS)

tutorials: $(DOCS_READY)
	"$(BIN)/python" -m tests.notebooks

lint: $(READY)
	"$(BIN)/python" -m ruff check .

# A warning is an error.
docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 "$(BIN)/python" -m mkdocs build --strict

clean:
	rm -rf "$(VENV)" runs/demo site .build dist *.egg-info .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
