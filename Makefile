PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test torture check lint lock clean

## run: set up and start the service on its embedded default
run: $(VENV)/.service
	exec $(BIN)/service run

## test: set up and check everything
test: lint
	$(BIN)/python -m pytest

## torture: attack durability for ROUNDS rounds; SEED repeats an earlier attack
torture: $(VENV)/.test
	$(BIN)/python -m tests.torture --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED))

## lint: style, async rules and types
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8 service tests
	$(BIN)/mypy

## lock: resolve the dependencies again, for every supported Python
lock: $(VENV)/.test
	$(PIP) uv
	$(BIN)/uv pip compile $(LOCK_FLAGS) pyproject.toml -o deploy/requirements.lock
	$(BIN)/uv pip compile $(LOCK_FLAGS) --group build -o deploy/build.lock
	$(BIN)/uv pip compile $(LOCK_FLAGS) --group build --group test pyproject.toml -o tests/requirements.lock

LOCK_FLAGS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --upgrade \
	--custom-compile-command "make lock"

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.service: $(VENV)/.created deploy/requirements.lock deploy/build.lock pyproject.toml
	$(PIP) --require-hashes -r deploy/requirements.lock
	$(PIP) --require-hashes -r deploy/build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.test: $(VENV)/.service tests/requirements.lock
	$(PIP) --require-hashes -r tests/requirements.lock
	touch $@

## clean: remove what make built; the data stays
clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
