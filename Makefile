# The two commands that matter: `make demo` (fresh machine to results) and `make test` (everything CI runs).
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
LIBRARIES := libgl1 libegl1 libgles2
# Several tests run at once: more threads in each would wait for those of the others, and OpenBLAS' wait by spinning.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Compiled modules are kept, whatever the machine's variable says: the tests start hundreds of processes that load them.
export PYTHONDONTWRITEBYTECODE :=
# Of `make test`, for two cores: many of the tests wait for browsers, brokers and leases. Each takes up to 2 GB.
PROCESSES ?= 3
# Tests start workers by a variable of this name.
unexport PROCESSES

.DEFAULT_GOAL := help
.PHONY: help install install-gpu models demo serve check types quick test chaos fuzz bench faceworld constraints audit bom libraries clean

help:
	@echo "make demo          results from sample photos, on a fresh machine"
	@echo "make serve         the app and everything behind it, on this machine"
	@echo "make test          everything that CI runs"
	@echo "make check         the inner loop: format, lint, contracts, types, quick tests"
	@echo "make install       the virtual environment with what the command line needs"
	@echo "make install-gpu   the same for a machine with an NVIDIA GPU"
	@echo "make chaos         300 jobs on each broker and database while workers are killed"
	@echo "make fuzz          spoilt files, words and requests at every door, 10,000 each, about ten minutes"
	@echo "make bench         speed and quality in one table, with gates, beside earlier runs"
	@echo "make faceworld     train the small bases that the tests of learning draw with, three to four hours"
	@echo "make constraints   pin every package anew"
	@echo "make audit         known faults of the pinned packages, asked of the package index"
	@echo "make bom           the bill of materials of a release, as CycloneDX"

install: .venv/installed

install-gpu: .venv/installed
	$(PIP) --editable ".[app,gpu,diffusion]"
	# Both wheels fill one folder: only the GPU's may be there.
	$(BIN)/python -m pip uninstall --quiet --yes onnxruntime
	$(PIP) --force-reinstall --no-deps onnxruntime-gpu

models: .venv/installed
	$(BIN)/portrait models pull

demo: .venv/installed
	@$(BIN)/portrait models pull
	@$(BIN)/portrait demo --out out/demo

serve: .venv/installed-app
	$(BIN)/portrait serve

check: .venv/installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --config pyproject.toml
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target types quick

# The types of what changed since the last commit; `make test` looks at all of them.
types:
	@changed="$$({ git diff --name-only --diff-filter=d HEAD; git ls-files --others --exclude-standard; } | grep '\.py$$')"; \
	if [ -n "$$changed" ]; then $(BIN)/pyrefly check $$changed; fi

quick:
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist worksteal -p no:schemathesis -m "not models and not services and not networks and not bench and not chaos and not gpu"

test: .venv/installed-dev
	$(BIN)/portrait models pull
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyrefly check
	# Recipes of the first versions are drawn again, whose matting is compiled once: here, and not in each of the processes.
	$(BIN)/python -c "import tests.conftest, pymatting"
	# The contracts of imports are among the tests.
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=20 --durations-min=1 \
	  -m "not bench and not chaos and not gpu"

chaos: .venv/installed-dev
	$(BIN)/python -m pytest -q -s -m chaos tests

# Each run takes other inputs; what fails is shown as small as it can be, and becomes one of those that are kept.
fuzz: .venv/installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 -p no:schemathesis --hypothesis-profile=fuzz --durations=40 tests/fuzz

# `make bench BENCH=--bench-accept`: what became slower by a quarter is the new measure (docs/benchmarks.md).
bench: .venv/installed-dev
	$(BIN)/portrait models pull
	$(BIN)/python -m pytest -q -s -m bench tests $(BENCH)

# Two processes rather than two threads, and threads that sleep when idle: on shared cores spinning ones hold each other up.
faceworld: .venv/installed-dev
	MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 OMP_WAIT_POLICY=PASSIVE \
	  nice -n 5 $(BIN)/torchrun --standalone --nproc-per-node=2 --module tests.faceworld.train build/faceworld
	MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 OMP_WAIT_POLICY=PASSIVE \
	  nice -n 5 $(BIN)/torchrun --standalone --nproc-per-node=2 --module tests.faceworld.train_flow build/faceworld

# backports-strenum 1.3 is for Python before 3.11, an upper bound that uv does not read and pip does.
constraints: .venv/installed-dev
	$(BIN)/uv pip compile pyproject.toml --extra diffusion --extra app --extra dev --python-version 3.11 --no-header --no-annotate \
	  --constraint <(printf 'torch==2.13.0\nbackports-strenum<1.3\n') --output-file constraints.txt --upgrade

# uv fetches both tools into its cache, for these targets alone. A package that the index does not answer for was not looked at:
# that is told, and fails, so that nobody takes it for a clean bill.
audit: .venv/installed-dev
	@$(BIN)/uv tool run --quiet --from pip-audit==2.10.1 pip-audit --requirement constraints.txt --no-deps --disable-pip --strict \
	  --progress-spinner off >.venv/audit.txt 2>&1; found=$$?; cat .venv/audit.txt; \
	if [ $$found != 0 ] && ! grep -q "known vulnerabilit" .venv/audit.txt; then \
	  echo "The audit did not run: the package index does not say what is known of every package."; fi; exit $$found

# The packages of a release at their pinned versions; models and styles depend on the installation: `portrait licences --json`.
bom: .venv/installed-dev
	@mkdir -p build
	$(BIN)/uv pip compile --quiet pyproject.toml --extra app --extra diffusion --python-version 3.11 --no-header --no-annotate \
	  --constraint constraints.txt --output-file build/release.txt >/dev/null
	$(BIN)/uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements build/release.txt --pyproject pyproject.toml \
	  --output-reproducible --output-format JSON --spec-version 1.6 --output-file build/bom.json 2>/dev/null
	@echo "Written to build/bom.json"

# OpenCV and MediaPipe need three system libraries. Who is root beside apt-get gets them here; everybody else is told how.
libraries:
	@missing() { for library in libGL.so.1 libEGL.so.1 libGLESv2.so.2; do \
	  ldconfig -p 2>/dev/null | grep -q "$$library" || return 0; done; return 1; }; \
	if [ "$$(uname)" != Linux ] || ! missing; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing system libraries: $(LIBRARIES)" >&2; \
	  install="apt-get install --yes --no-install-recommends $(LIBRARIES)"; export DEBIAN_FRONTEND=noninteractive; \
	  $$install >/dev/null 2>&1 || { apt-get update >/dev/null && $$install >/dev/null; }; \
	  if ! missing; then exit 0; fi; fi; \
	echo "OpenCV and MediaPipe need system libraries. On Debian or Ubuntu: sudo apt-get install $(LIBRARIES)" >&2; exit 4

.venv/installed: pyproject.toml constraints.txt | libraries
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --editable .
	touch $@

.venv/installed-app: .venv/installed
	$(PIP) --editable ".[app]"
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) --editable ".[dev,diffusion]"
	touch $@

clean:
	rm -rf .venv out build *.egg-info
