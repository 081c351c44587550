# Every target installs what it needs into $(VENV) first, when setup.py or requirements.txt is newer.
PYTHON ?= python3
VENV ?= .venv
# Training steps in each notebook of `make test-notebooks`: a few go through everything, and learn
# nothing. `make notebooks` trains as long as the notebooks say.
NOTEBOOK_STEPS ?= 4
# Processes of the tests, each with up to 2.5 GB of memory.
TEST_PROCESSES ?= 2

# Damaged files per format in `make fuzz`, and their seed.
FUZZ_CASES ?= 20000
FUZZ_SEED ?= 1

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test test-slow test-notebooks fuzz notebooks lint format bench

help:
	@echo "make demo       train on drawn shapes, evaluate, write pictures to demo_output/"
	@echo "make test       the tests, but for the slow ones"
	@echo "make test-slow  the slow tests"
	@echo "make fuzz       read many damaged files (FUZZ_CASES per format, FUZZ_SEED)"
	@echo "make test-notebooks  run every notebook, with little training (NOTEBOOK_STEPS)"
	@echo "make notebooks  run every notebook and keep its outputs in the file"
	@echo "make lint       check style and format"
	@echo "make format     mend style and format"
	@echo "make bench      time detection, a training step and the input pipeline"

$(INSTALLED): setup.py requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt -e ".[dev]"
	@touch $@

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python samples/shapes/shapes.py demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

fuzz: $(INSTALLED)
	MRCNN_FUZZ_CASES=$(FUZZ_CASES) MRCNN_FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest -n $(TEST_PROCESSES) tests/fuzz

test-notebooks: $(INSTALLED)
	MRCNN_NOTEBOOK_STEPS=$(NOTEBOOK_STEPS) $(BIN)/python -m pytest --nbmake --nbmake-timeout=1800 notebooks

notebooks: $(INSTALLED)
	$(BIN)/python notebooks/keep_outputs.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python benchmarks/detect.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/input_pipeline.py
