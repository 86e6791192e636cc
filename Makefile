# make demo   sets up .venv, then turns a prompt and a picture into out/demo.mp4
# make test   sets up .venv, then runs every test but those that start and kill processes or take the published sizes
#
# make test-process   the tests that start processes, kill them, or keep one busy with damaged files
# make test-slow      the published shapes at full size
#
# make check-bounds   tries the lowest versions that pyproject.toml allows, in an environment of their own
#
#     make demo STYLE=my.jpg PROMPT="a red fox in the snow"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

STYLE ?= examples/style.jpg
PROMPT ?= a sailboat moving to the right at sunset
OUT ?= out/demo.mp4

.PHONY: demo test test-process test-slow check check-bounds setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check -r constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

demo: $(READY)
	mkdir -p $(dir $(OUT))
	$(BIN)/stylecrafter generate "$(PROMPT)" --style "$(STYLE)" -o "$(OUT)" --seed 7

# One thread for each of the workers: models of tests are too small to share among cores. Who is done takes tests over.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal --durations 15

test: $(READY)
	$(PYTEST) -m "not slow and not process"

test-process: $(READY)
	$(PYTEST) -m "process and not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-bounds: $(READY)
	$(BIN)/python scripts/check_bounds.py

clean:
	rm -rf $(VENV) out
