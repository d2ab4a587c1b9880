# make demo · make test: both set everything up first. Needs Python >= 3.10, make and a package registry.
# DETECTRON2=/path/to/checkout, or an archive's address: where detectron2, which no registry has, is taken from.
PYTHON ?= python3
STORE  ?= store
# Of the tests: one a core, up to eight, and one for those on Slurm and on container engines, which mostly waits. OpenBLAS
# (scikit-learn's, the oracle) has a thread each: its threads spin while they wait, which took tests ten times their time.
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 8 ? n + 1 : 9)))
UV     := .uv/bin/uv
RUN    := .venv/bin/python
LOCK   := $(UV) pip compile -q --universal --python-version 3.10 --generate-hashes --no-header --no-annotate
LOCKS  := requirements.txt containers/core/requirements.txt
export UV_PYTHON_DOWNLOADS := never

.PHONY: asked demo test lint bench images setup lock slurm-up slurm-down containers-up containers-down

demo: .venv/.mmseg .venv/.detectron2  ## the embedded grid: prints its table and where the CSVs are
	$(RUN) launch.py --store $(STORE) grid demo --wait
	$(RUN) launch.py --store $(STORE) gather

test: .venv/.tests .venv/.mmseg .venv/.detectron2   ## all tests; PYTEST="-k solver" chooses some
	OMP_WAIT_POLICY=PASSIVE OPENBLAS_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist loadscope $(PYTEST)

lint: .venv/.tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check -q .
	$(RUN) -m mypy suite slurm launch.py

bench: .venv/.tests                   ## measurements against peers and limits: see tests/bench/
	for script in tests/bench/*.py; do $(RUN) $$script || exit 1; done

slurm-up:                             ## a real Slurm on this machine (root, Debian), for --cluster testbed
	@slurm/testbed/up

slurm-down:                           ## end it again
	@slurm/testbed/down

images: .venv/.jobs                   ## build all images (README has the times); GIVEN="--runtime docker --base debian.tar"
	$(RUN) launch.py --store $(STORE) build $(notdir $(patsubst %/Dockerfile,%,$(wildcard containers/*/Dockerfile))) $(GIVEN)

containers-up:                        ## Apptainer, Docker and a Debian base image on this machine (root, Debian), for tests
	@containers/testbed/up

containers-down:                      ## end and remove them again
	@containers/testbed/down

setup: .venv/.mmseg .venv/.detectron2 ## .venv with the launcher, the jobs' packages, and detectron2 where it can be had

lock:                                 ## resolve the locks anew from pyproject.toml
	$(LOCK) --all-extras pyproject.toml -o tests/requirements.txt
	$(LOCK) --extra table --extra jobs -c tests/requirements.txt pyproject.toml -o containers/core/requirements.txt
	$(LOCK) -c tests/requirements.txt pyproject.toml -o requirements.txt
	$(LOCK) -c containers/core/requirements.txt containers/compile/build.in -o containers/compile/build.txt
	for image in $(dir $(wildcard containers/*/source.in)); do \
	  lock="$(LOCK) -c containers/core/requirements.txt"; \
	  $$lock --no-deps $${image}source.in -o $${image}source.txt && \
	  $$lock -c $${image}source.txt $$(sed -n 's/^\([a-z][a-z0-9-]*\).*/--no-emit-package \1/p' $${image}source.in) --extra table --extra jobs \
	    pyproject.toml $${image}requirements.in $${image}source.in -o $${image}requirements.txt || exit 1; done
	$(LOCK) $(addprefix -c containers/segmentation/,requirements.txt source.txt) --no-emit-package opencv-python \
	  containers/local/mmseg.in -o containers/local/mmseg.txt

.venv/.jobs: $(LOCKS) | $(UV)
	$(UV) venv -q --allow-existing --python $(PYTHON) .venv
	$(UV) pip install -q --compile-bytecode --python $(RUN) --require-hashes $(addprefix -r ,$(LOCKS))
	touch $@

# mmcv is built in a second, without operators, where its build sees no torch, so none of PYTHONPATH either; the setting,
# which it ignores, keeps the wheel apart from one with operators in uv's cache. --no-deps: it wants opencv-python.
.venv/.mmseg: containers/local/mmseg.txt containers/compile/build.txt | .venv/.jobs
	PYTHONPATH= $(UV) pip install -q --compile-bytecode --python $(RUN) --require-hashes --no-deps -r $< \
	  --build-constraints $(word 2,$^) --config-settings-package onedl-mmcv:operators=none
	touch $@

# Tried once where it may be missing; asked for, always.
.venv/.detectron2: $(addprefix containers/detection/,local.py Dockerfile requirements.txt source.txt) $(if $(DETECTRON2),asked) | .venv/.jobs
	@$(RUN) $< $(UV) "$(DETECTRON2)"
	@touch $@

.venv/.tests: tests/requirements.txt .venv/.jobs
	$(UV) pip install -q --compile-bytecode --python $(RUN) --require-hashes -r $<
	touch $@

$(UV): containers/core/uv.txt
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "set-up needs Python >= 3.10 with venv; this is $$($(PYTHON) --version 2>&1). Debian: apt-get install python3-venv, or make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@
