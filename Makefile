# make train [CONFIG=configs/vit.py] [WORKDIR=runs/vit] [ARGS="--config.seed=1"]    trains; the same again continues
# make compare [SUITE=digits] [ARGS="--seeds=10"]                                 the shared benchmark, and its report
# make figures                                                                    the lecture figures, checked
# make claims [CONFIGS="configs/vit.py"] [ARGS="--seeds=5"]                       trains again what the configs claim
# make docs                                                                       the documentation, in docs/_build/html
# make lint                                                                       style and types
# make test                                                                       the fast tests
# make test-all                                                                   these and the medium ones, before a merge
# make test-slow                                                                  the long ones
# make test-kill [KILLS=20]                                                       work of every kind, killed and continued
# make test-damage [DAMAGES=100]                                                  files of every kind of work, damaged
# make test-generated [EXAMPLES=1000]                                             files that a user writes, made up
# make test-slurm                                                                 sweeps on a real Slurm, see slurm.sh beside its tests
# make test-reference                                                             published models against the reference
#
# PYTHON=python3.12 names the Python that environments are made with.

PYTHON ?= python3
CONFIG ?= configs/vit.py
SUITE ?= digits
WORKDIR ?= runs/$(basename $(notdir $(CONFIG)))

.PHONY: train compare figures claims docs lint test test-all test-slow test-kill test-damage test-generated test-slurm test-reference

train: .venv/installed
	.venv/bin/python train.py --config=$(CONFIG) --workdir=$(WORKDIR) $(ARGS)

docs: .venv-docs/installed
	.venv-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/basedpyright --level error --pythonpath .venv/bin/python

test: .venv/installed
	.venv/bin/python -m pytest -n 2

test-all: .venv/installed
	.venv/bin/python -m pytest -n 2 -m "not slow and not slurm"

test-slow: .venv/installed
	.venv/bin/python -m pytest -m slow

test-kill: .venv/installed
	KILLS=$(or $(KILLS),20) .venv/bin/python -m pytest -m slow -s tests/faults/test_kills.py

test-damage: .venv/installed
	DAMAGES=$(or $(DAMAGES),100) .venv/bin/python -m pytest -m slow -s tests/faults/test_damage.py

test-generated: .venv/installed
	EXAMPLES=$(or $(EXAMPLES),1000) .venv/bin/python -m pytest tests/faults/test_generated.py tests/faults/test_generated_data.py

test-slurm: .venv/installed
	@set -e; folder=$$(mktemp -d); trap 'tests/experiments/sweep/slurm.sh stop '$$folder EXIT; tests/experiments/sweep/slurm.sh start $$folder; \
	  SLURM_CONF=$$folder/slurm.conf .venv/bin/python -m pytest -p no:xdist -m slurm

test-reference: .venv/installed .venv-reference/installed
	@set -e; folder=$$(mktemp -d); trap 'rm -rf '$$folder EXIT; \
	  .venv-reference/bin/python tests/models/reference.py write $$folder --sizes=all; \
	  .venv-reference/bin/python tests/models/reference_recurrent.py $$folder; \
	  LECTERN_REFERENCE=$$folder .venv/bin/python -m pytest -p no:xdist -m "" tests/models/test_pretrained_same.py \
	    tests/models/test_recurrent_cells.py; \
	  .venv-reference/bin/python tests/models/reference.py check $$folder; \
	  .venv-reference/bin/python tests/models/reference_images.py $$folder/processors; \
	  LECTERN_PROCESSORS=$$folder/processors .venv/bin/python -m pytest -p no:xdist tests/models/test_preprocessing.py; \
	  LECTERN_PIPELINES=$$folder/pipelines .venv/bin/python -m pytest -p no:xdist -m "" tests/experiments/use/test_export.py \
	    -k pipeline; \
	  .venv-reference/bin/python tests/experiments/use/reference_pipelines.py $$folder/pipelines

claims: .venv/installed
	.venv/bin/python -m experiments.claims $(CONFIGS) $(ARGS)

figures: .venv/installed
	.venv/bin/python -m experiments.figures --all

compare: .venv/installed
	.venv/bin/python -m experiments.benchmark $(SUITE) --workdir=runs/compare_$(SUITE) --jobs=2 $(ARGS)

.venv/installed: requirements.txt requirements-dev.txt
.venv-docs/installed: requirements-docs.txt
.venv-reference/installed: requirements-reference.txt

.venv/installed .venv-docs/installed .venv-reference/installed:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Lectern needs Python 3.11 or newer, and %s is %s: make PYTHON=python3.12 ..." % (sys.executable, sys.version.split()[0]))'
	@echo "Installing the packages of $^ into $(@D): two to three minutes"
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --progress-bar=off --disable-pip-version-check $(addprefix -r ,$^)
	@touch $@
