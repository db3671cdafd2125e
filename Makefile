# Everything runs from .venv, which `setup` makes from the hashed lock. Needs Python 3.11 or 3.12, make and git.
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -c '' 2>/dev/null && echo python3.12 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= demo-out
VIDEOS ?=
WORKERS ?= 2
COVER ?=
TORCH ?= cpu
COVERAGE := --cov=vrec --cov-report=json:.coverage.json

.PHONY: setup demo test test-all test-fast mutate lint type bench docs docs-pages settings client check lock image clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"vrec needs Python 3.11 or 3.12, this is {v[0]}.{v[1]}: make PYTHON=python3.11 {sys.argv[1]}")' $(MAKECMDGOALS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	@# Compiled here, once: containers often forbid Python to do it later, and then every worker does it anew.
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $(STAMP)

demo: setup
	$(BIN)/vrec demo --out $(OUT) $(if $(VIDEOS),--videos $(VIDEOS))

# What CI runs: all fast tests, and the commands, the service and the page end to end.
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m "not nightly"

# With COVER=1 it also prints the share of lines that ran, by package; the time rises by up to a half.
test-all: setup
	$(BIN)/python -m pytest -n $(WORKERS) $(if $(COVER),$(COVERAGE))
	$(if $(COVER),$(BIN)/python .ci/coverage_by_package.py .coverage.json)

# Without Ray, browsers, servers and long sweeps, and with fewer random examples.
test-fast: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow" --hypothesis-profile=fast

# Plants small bugs in the modules that pyproject.toml names, and lists those that no test noticed.
mutate: setup
	PYTHONPATH=. $(BIN)/mutmut run --max-children $(WORKERS) > mutants.log
	$(BIN)/mutmut results

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: setup
	$(BIN)/basedpyright

check: lint type test

bench: setup
	$(BIN)/python benchmarks/embed.py

# Strict: a link that leads nowhere, or a page that docs/index.md does not list, is an error.
docs: setup
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs $(WORKERS) \
		--conf-dir docs --doctree-dir docs/_build/doctrees . docs/_build/html
	@echo "docs/_build/html/index.html"

# The same for the written pages alone, without the API reference that takes minutes: what CI checks.
docs-pages: setup
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --tag pages \
		--conf-dir docs --doctree-dir docs/_build/doctrees-pages . docs/_build/pages

# docs/settings.md, from the code.
settings: setup
	$(BIN)/python -m vrec.config.reference > docs/settings.md

# The wheel of the Python client, generated from this checkout's OpenAPI document.
client: setup
	$(BIN)/python clients/python/generate.py
	$(BIN)/uv build --quiet --wheel --out-dir clients/python/dist clients/python

# The image of the service and the jobs; TORCH=cuda for machines with a GPU. Needs Docker.
image:
	docker build --tag vrec:$(TORCH) --build-arg TORCH=$(TORCH) .

# The image needs another version of deploy/image/torch-cpu.lock when torch's changes; tests say so.
lock:
	uv pip compile pyproject.toml --group dev --group docs --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --upgrade --quiet -o requirements.lock
	echo "hatchling>=1.27" | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --no-header --upgrade --quiet -o deploy/image/build.lock

clean:
	rm -rf $(VENV) $(OUT) .pytest_cache .ruff_cache .hypothesis docs/_build docs/api mutants mutants.log .coverage .coverage.json
