# The front door. It needs Python 3.11 or newer and make; everything else comes from the locks in requirements/.
#
# pip is used as this machine has it configured (index, certificates); the locks' hashes say what may come in.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The first interpreter that can do it, unless PYTHON says which.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
ROOMS := $(wildcard policies ledger process proxy coordinator evaluation cli)
CORES := $(shell getconf _NPROCESSORS_ONLN)
# Two a core: much of what the tests do is to wait for processes.
WORKERS ?= $(shell echo $$((2 * $(CORES))))
# Once is some 40 s of processor time, so 30 times are twenty minutes, on one core; a hundred would be more than an hour.
LONGER ?= 30
PYTEST := $(BIN)/python -m pytest -q
# What holds of the sources and the pages: `make check` looks, and `make test` need not look again.
OF_SOURCES := $(addprefix tests/,test_project.py test_faults.py $(addprefix docs/test_,commands.py docs.py links.py))
IN_PARALLEL := -n $(WORKERS) --dist loadgroup
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
QUIETLY = log=$(STAMPS)/pip.log; run() { "$$@" >>$$log 2>&1 || { cat $$log >&2; exit 1; }; }; : >$$log; run

# The image. pip in the build is configured as it is here.
IMAGE ?= localhost/holdfast
BASE_IMAGE ?=
BASE_SUITE ?= bookworm
IMAGE_VOLUMES := $(foreach place,$(wildcard /etc/pip.conf /etc/xdg/pip /etc/ssl/certs),--volume $(place):$(place):ro)

# Tests import the checkout, never an installed copy; nothing outside decides how they run. Hundreds of processes are
# started: what one of them compiled, the next one reads, from beside the environment and not from among the sources.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME PYTEST_ADDOPTS HOLDFAST_STORE HOLDFAST_UPSTREAM

##@ Using it
.PHONY: demo
demo: $(STAMPS)/run ## Replay the incident of the two tickets: without Holdfast, then with it
	@$(BIN)/holdfast demo

##@ Working on it
.PHONY: test
test: $(STAMPS)/rewritten ## All tests that need nothing but pip (four to five minutes on two cores)
	@$(PYTEST) $(IN_PARALLEL) -m "not system" $(addprefix --ignore=,$(OF_SOURCES))

# pytest rewrites the assertions of a test file when it first meets it: half a minute of processor time, that each worker
# would spend, as all begin at once. So it is done before, once, by all cores.
$(STAMPS)/rewritten: $(STAMPS)/dev $(shell find tests -name '*.py')
	@printf '%s\n' $(filter-out %/__init__.py,$(filter tests/%,$^)) | grep /test_ | sort -R >$@.list
	@xargs -n $$(($$(wc -l <$@.list) / $(CORES) + 1)) -P $(CORES) $(PYTEST) --collect-only -qq <$@.list >/dev/null \
	  || true  # what is wrong there, the run itself will tell
	@touch $@

.PHONY: check
check: $(STAMPS)/dev ## Format, lint, types, import contracts, YAML, Dockerfile, links
	@failed=0; step() { printf '%s\n' "$$1"; shift; "$$@" || failed=1; }; \
	step format  $(BIN)/ruff format --quiet --check --diff .; \
	step lint    $(BIN)/ruff check --quiet .; \
	step types   $(BIN)/mypy; \
	step imports $(BIN)/lint-imports --no-logo; \
	step YAML    $(BIN)/yamllint --strict .; \
	step image   $(BIN)/hadolint Dockerfile; \
	step policies $(BIN)/holdfast policy test policies; \
	step project $(PYTEST) $(OF_SOURCES); \
	exit $$failed

.PHONY: chart
chart: $(STAMPS)/dev ## Render the charts over the whole matrix, held against Kubernetes' schemas; run what they say
	@$(PYTEST) $(IN_PARALLEL) tests/helm

.PHONY: check-system
check-system: $(STAMPS)/dev ## Tests that need Debian's redis-server, nginx, prometheus and curl, and the wheel in an empty environment
	@$(PYTEST) $(IN_PARALLEL) -m "system and not history" $(addprefix --ignore=,$(OF_SOURCES))

.PHONY: check-wheel
check-wheel: $(STAMPS)/dev ## The wheel installs and runs in an empty environment
	@$(PYTEST) tests/test_wheel.py

.PHONY: bench
bench: $(STAMPS)/dev ## Measure: direct, nginx, a bare aiohttp proxy, Holdfast; then the coordinator
	@$(BIN)/python -m evaluation.bench
	@$(BIN)/python -m evaluation.bench.coordinator

.PHONY: dashboard
dashboard: $(STAMPS)/dev ## The Grafana dashboard as a picture, from a real scrape: two minutes, and Debian's prometheus
	@$(BIN)/python -m evaluation.dashboard --svg build/dashboard.svg

.PHONY: nightly
nightly: $(STAMPS)/dev ## The image, the charts, an upgrade under load, and the searches, LONGER=30 times as long as in make test
	@if command -v buildah >/dev/null && command -v mmdebstrap >/dev/null; then \
		$(MAKE) --no-print-directory image; \
		if [ "$$(id -u)" = 0 ]; then tests/helm/read_only_root.sh $(IMAGE); \
		else echo "not root: the image is not tried on a read-only root" >&2; fi; \
	else echo "no buildah or no mmdebstrap here: the image is not built" >&2; fi
	@$(MAKE) --no-print-directory chart
	@$(PYTEST) -m history
	@LONGER=$(LONGER) $(PYTEST) $(IN_PARALLEL) -m "hypothesis or search" --timeout 3600 -o faulthandler_timeout=3500

.PHONY: format
format: $(STAMPS)/dev ## Format, and mend what the linter can mend
	@$(BIN)/ruff check --quiet --fix --exit-zero . && $(BIN)/ruff format --quiet .

##@ Shipping it
.PHONY: build
build: dist ## The wheel and the source archive, in dist/
	@ls -l dist

.PHONY: dist
dist: $(STAMPS)/dev
	@rm -rf dist build && mkdir -p $(STAMPS)
	@$(QUIETLY) $(BIN)/python -m build --no-isolation --outdir dist .

.PHONY: image
image: $(if $(BASE_IMAGE),,build/base.tar) ## The image, with buildah, on BASE_IMAGE or on a base that mmdebstrap makes; shown to start
	@base="$(BASE_IMAGE)"; if [ -z "$$base" ]; then \
		container=$$(buildah from scratch); buildah add --quiet "$$container" build/base.tar / >/dev/null; \
		buildah commit --quiet --rm "$$container" localhost/holdfast-base >/dev/null; \
		base=localhost/holdfast-base@$$(buildah images --format '{{.Digest}}' localhost/holdfast-base | head -n 1); fi; \
	buildah build --isolation chroot --build-arg BASE_IMAGE="$$base" $(IMAGE_VOLUMES) --tag $(IMAGE) .; \
	container=$$(buildah from $(IMAGE)); trap 'buildah rm "$$container" >/dev/null' EXIT; \
	for command in --version "proxy --help" "coordinator --help"; do \
		buildah run --isolation chroot "$$container" holdfast $$command | head -n 1; done

build/base.tar:
	@mkdir -p build
	@mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates $(BASE_SUITE) $@

.PHONY: sbom
sbom: | $(BIN)/python ## What the image brings, as CycloneDX, in dist/holdfast.cdx.json
	@rm -rf $(VENV)/sbom && "$(PYTHON)" -m venv $(VENV)/sbom
	@$(VENV)/sbom/bin/python -m pip --quiet install --require-hashes -r requirements/sbom.txt
	@mkdir -p dist && $(VENV)/sbom/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--of JSON -o dist/holdfast.cdx.json requirements/image.txt
	@ls -l dist/holdfast.cdx.json

.PHONY: lock
lock: | $(BIN)/python ## Raise the locks to what the package registry has today
	@rm -rf $(VENV)/lock && "$(PYTHON)" -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --quiet install --require-hashes -r requirements/lock.txt
	@compile() { $(VENV)/lock/bin/uv pip compile --no-config --system-certs --universal --python-version 3.11 --generate-hashes \
		--quiet --upgrade --custom-compile-command "make lock" "$$@"; }; \
	compile pyproject.toml -o requirements/run.txt; \
	compile pyproject.toml --extra encryption --extra otel -c requirements/run.txt -o requirements/image.txt; \
	compile --group package -o requirements/package.txt; \
	compile --group lock -o requirements/lock.txt; \
	compile --group sbom -o requirements/sbom.txt; \
	compile pyproject.toml --all-extras --group dev -c requirements/run.txt -c requirements/package.txt -o requirements/dev.txt

.PHONY: clean
clean: ## Remove what was built here, the environment included
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find $(ROOMS) tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# --- The environment: what the command needs first, so that the demo waits for no test tool.

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer with its venv module is needed (Debian: apt install python3-venv);" \
		"name one with make PYTHON=..." >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv --clear $(VENV)

$(STAMPS)/run: requirements/run.txt requirements/package.txt pyproject.toml | $(BIN)/python
	@mkdir -p $(STAMPS) && echo "installing what Holdfast needs, as locked"
	@$(QUIETLY) $(PIP) install --require-hashes -r requirements/run.txt -r requirements/package.txt
	@$(QUIETLY) $(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/run
	@echo "installing the test and lint tools, as locked"
	@$(QUIETLY) $(PIP) install --require-hashes -r requirements/dev.txt
	@$(BIN)/python tests/bring_redis.py $(BIN)
	@touch $@
