# Two commands, on any machine with Python 3.11 or newer and make:
#   make demo             a scan goes through the whole service on this machine; images and a report come out
#   make demo SCAN=FILE   the same with a raw scan of your own
#   make test             everything that continuous integration runs
#   make site             the documentation as pages, in site/
#   make sbom             what each image is made of (CycloneDX), in sbom/
# And for who works on it: make lint, make types, make docs
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet install --no-compile --constraint constraints.txt
SCAN ?=

# Where this is set, every process compiles PyTorch anew: seconds each time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types docs site sbom clean
.DELETE_ON_ERROR:

# Everything anew, but for the templates and the simulated scan: these are made again when what they are made from changes.
demo: .venv/.ready-local $(if $(SCAN),,demo/phantom.tar.gz)
	@mkdir -p demo/work
	@rm -rf demo/share
	@find demo/work -mindepth 1 -maxdepth 1 ! -name cdk.out -exec rm -rf {} +
	@$(BIN)/raki local --once --share demo/share --work demo/work "$(or $(SCAN),demo/phantom.tar.gz)"

demo/phantom.tar.gz: .venv/.ready-local $(wildcard raki/phantom/*.py)
	@mkdir -p demo
	@$(BIN)/raki simulate $@

# Three processes, however few the cores: the end-to-end tests mostly wait.
test: lint types
	$(BIN)/pytest --numprocesses 3 --dist loadfile

lint: .venv/.ready-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: .venv/.ready-test
	$(BIN)/mypy

docs: .venv/.ready-test
	$(BIN)/python docs/draw.py

# The variable: the theme says of its builder's next version what doesn't concern this one.
site: .venv/.ready-test
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "$(CURDIR)/site/index.html: open it, or serve it with its search by: $(PYTHON) -m http.server --directory site"

# Of the pinned files that the images are built from: every package by version and hash. What the bases hold, ECR's scan says.
sbom: .venv/.ready-sbom
	@mkdir -p sbom
	@for image in decompress compact reconstruct send serve; do \
	  $(BIN)/cyclonedx-py requirements containers/$$image/requirements.txt --output-reproducible \
	    --output-file sbom/$$image.cdx.json && echo "sbom/$$image.cdx.json"; \
	done

clean:
	rm -rf .venv demo site sbom

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "raki needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@echo "Making the virtual environment .venv"
	@$(PYTHON) -m venv .venv

.venv/.ready-%: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing PyTorch into .venv (1 of 2; a few minutes the first time)"
	@$(PIP) torch
	@echo "Installing raki and what else it needs (2 of 2)"
	@$(PIP) --editable '.[$*]'
	@touch $@
