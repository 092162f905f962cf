# make run    the balancer in front of its own demonstration servers
# make test   every test (PYTEST_ARGS="-k http" for some of them)
# make lint | types | docs | bench | clean
#
# Everything from PyPI goes into .venv. PYTHON=... chooses the Python it is made of.

VENV = .venv
BIN = $(VENV)/bin
PYTHON ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

.PHONY: run test lint types docs bench clean

run: $(VENV)/has-package
	@echo
	@echo "The balancer starts now. Point a browser at http://127.0.0.1:8080/"
	@echo "and at http://127.0.0.1:8404/ to see what it does."
	@echo "Ctrl-C stops it; its configuration is etc/lb.ini."
	@echo
	@$(BIN)/twistd --reactor lbtwist -n --pidfile= lbtwist --config etc/lb.ini

test: $(VENV)/has-test
	$(BIN)/python tests/programs.py --install
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/has-lint
	$(BIN)/ruff check .

types: $(VENV)/has-lint
	$(BIN)/mypy

docs: $(VENV)/has-docs
	$(BIN)/python -m sphinx -n -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/has-bench
	$(BIN)/python -m bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build
	rm -rf .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache htmlcov
	find . -name __pycache__ -prune -exec rm -rf {} +
	find lbtwist twisted -name dropin.cache -exec rm -f {} +

# What is installed is installed again only when setup.cfg changed.
$(VENV)/has-package: setup.cfg pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/has-%: setup.cfg pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# pip is the last thing that appears in a new environment.
$(BIN)/pip:
	@PYTHON="$(PYTHON)" .ci/venv $(VENV)
