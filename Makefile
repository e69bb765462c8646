# make demo: set up, train a stock RPN and nrpn-focal, and compare them
# make check: set up, lint, check types, run the tests that train nothing
# make test: set up, lint and test
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
# mmengine 0.10.7 cannot load its own checkpoints on torch 2.6 and later
ifeq ($(STACK),openmmlab)
export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD := 1
endif

.PHONY: help setup demo lint check test docs
help:
	@echo 'make setup   virtual environment in $(VENV) with the pinned stack (compiles MMCV once, 5 to 10 minutes)'
	@echo 'make demo    set up, make the embedded data set, train the stock RPN and nrpn-focal side by side, compare'
	@echo 'make check   set up, lint, check types, run the tests that train nothing'
	@echo 'make test    set up, lint, check types, run all tests'
	@echo 'make docs    set up, build the documentation in site/; a broken link fails'
	@echo '             STACK=openmmlab does each with mmdet 3.3, mmcv 2.1 and mmengine 0.10.7, in .venv-openmmlab'

setup: $(READY)

$(READY): requirements/common.txt requirements/dev.txt requirements/$(STACK).txt .dev_scripts/setup_env.sh setup.cfg setup.py
	PYTHON=$(PYTHON) .dev_scripts/setup_env.sh $(VENV) $(STACK)
	@touch $@

demo: $(READY)
	$(PY) tools/dataset_converters/make_shapes.py data/shapes
	$(PY) tools/benchmark.py $(DEMO_RPN).py $(DEMO_NRPN).py --work-dir $(DEMO) --seeds 0
	$(PY) tools/analysis_tools/browse_hard_negatives.py $(DEMO_NRPN).py $(DEMO)/$(notdir $(DEMO_NRPN))/seed0/iter_500.pth \
	  --baseline $(DEMO_RPN).py $(DEMO)/$(notdir $(DEMO_RPN))/seed0/iter_500.pth --out $(DEMO)/hard_negatives.html
	$(PY) tools/analysis_tools/sweep_fold.py $(DEMO_NRPN).py $(DEMO)/$(notdir $(DEMO_NRPN))/seed0/iter_500.pth --out $(DEMO)/fold.png
	@echo && cat $(DEMO)/table.txt && echo
	@echo 'The comparison:                      $(DEMO)/table.md, $(DEMO)/results.json'
	@echo 'Recall curves:                       $(DEMO)/recall.png'
	@echo 'What RPN gets wrong, what nRPN says: $(DEMO)/hard_negatives.html, for a browser'
	@echo 'nRPN folded into the RPN (the dial): $(DEMO)/fold.png'

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

check: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist load --maxschedchunk 1 -m 'not slow and not real'

test: lint
	$(PY) -m pytest -n auto --maxprocesses 4 --dist load --maxschedchunk 1

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict
