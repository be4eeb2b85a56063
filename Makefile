# One door for people and for CI. Everything is installed into .venv; nothing outside it is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export MLFLOW_DISABLE_TELEMETRY := true
# Modules are compiled to bytecode once, not by every process that a test starts: that took each of them 3 seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types fast java bench bench-full clean

help:  ## Show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(VENV)/.run-ready  ## Run the main job on the synthetic county
	@echo "== demo: train, judge, score and list the synthetic county of data/synthetic"
	@$(BIN)/dropout-risk demo

test: $(VENV)/.dev-ready lint types java  ## Run lint, types and all tests
	@echo "== tests: everything, the slow ones included"
	@$(BIN)/pytest -q -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=95

# Two workers share the cores: threads of BLAS and of OpenMP in each would wait for those of the other.
test fast: export OPENBLAS_NUM_THREADS := 1
test fast: export OMP_NUM_THREADS := 1

check: $(VENV)/.dev-ready lint types fast  ## Run the inner loop: lint, types, fast tests

lint: $(VENV)/.dev-ready
	@echo "== lint: ruff"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/.dev-ready
	@echo "== types: mypy --strict"
	@$(BIN)/mypy

fast: $(VENV)/.dev-ready
	@echo "== tests: the fast ones"
	@$(BIN)/pytest -q -n 2 --dist worksteal -m "not slow" tests

java:
	@command -v java >/dev/null || echo "There is no Java here: the tests on Spark are skipped. To run them, install it: apt-get install openjdk-17-jre-headless"

bench: $(VENV)/.bench-ready  ## Measure speed beside other tools, small (and accuracy: DATA=folder with the real files)
	@for name in $(SPEED); do $(BIN)/python benchmarks/$$name.py || exit 1; done
	@$(if $(DATA),$(BIN)/python benchmarks/accuracy.py --data $(DATA),true)

bench-full: $(VENV)/.bench-ready  ## Measure speed at full size: up to 10 million students, about an hour
	@for name in $(SPEED); do $(BIN)/python benchmarks/$$name.py --full || exit 1; done

SPEED := explain features score train imports

clean:  ## Remove what make has made
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache .coverage

# The marker files hold the install steps: a second call finds them newer than what they depend on.
$(VENV)/.run-ready: pyproject.toml constraints.txt
	@$(call install,[track$(comma)report])

$(VENV)/.dev-ready: pyproject.toml constraints.txt
	@$(call install,[dev])

$(VENV)/.bench-ready: $(VENV)/.dev-ready
	@$(call install,[dev$(comma)bench])

comma := ,
define install
	echo "== install: the package with $(1) into $(VENV), versions from constraints.txt" && \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12"; rm -rf $(VENV); exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9' && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.$(1)' && \
	$(BIN)/python -m dropout_risk.precompile && \
	touch $@
endef
