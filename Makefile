PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test torture check check-deploy image image-test lint lock clean

## run: set up and start the service on its embedded default
run: $(VENV)/.service
	exec $(BIN)/service run

## test: set up and check everything
test: lint
	$(BIN)/python -m pytest -n auto --dist loadfile

## torture: attack durability for ROUNDS rounds; SEED repeats an earlier attack
torture: $(VENV)/.test
	$(BIN)/python -m tests.torture --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED))

## lint: style, async rules and types
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8 service tests
	$(BIN)/mypy

## bench: speed, as ratios in one run; BENCH="accept cron --json" chooses
bench: $(VENV)/.test
	$(BIN)/python -m tests.bench $(BENCH)

## check-deploy: what is in deploy/, against the schemas of Kubernetes and what the service emits
check-deploy: $(VENV)/.test
	$(BIN)/python -m pytest tests/unit/test_deploy*.py

IMAGE := cron-webhook-service
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# A client without its engine is no use: the first that answers.
ENGINE ?= $(shell for each in docker podman; do $$each version >/dev/null 2>&1 && echo $$each && break; done)

## image: build the container image; BASE=... chooses what it is built on
image:
	$(or $(ENGINE),$(error no container engine answers here: needs docker or podman)) build --file deploy/Containerfile --tag $(IMAGE):$(VERSION) \
		$(if $(BASE),--build-arg BASE=$(BASE)) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$(shell git rev-parse HEAD) .

## image-test: start the image as Kubernetes would, and look
image-test: image
	$(PYTHON) -m tests.image $(ENGINE) $(IMAGE):$(VERSION)

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
