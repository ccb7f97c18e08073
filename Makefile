# The only door for people and for CI. `make smoke` and `make test` need Python 3.11 and nothing else:
# they make the environment themselves.
#
# Minutes on 2 shared cores, where a run takes up to twice another's, 2026-11-26, in a clean clone (* not in a clone):
#                                     target   last
#   make env   (first time)              -      2.4
#   make lint types                      1      0.3
#   make smoke                           4      6.5
#   make smoke-budget (not in CI)        7      5.2*
#   make test                           15     25.5 before its counter-proof left out the test images
#   make image-test                     10      7.1
#   make real  (not in CI)              30     31 before its CT part was cut from five folds to two; since: not measured
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SHARED ?= $(if $(NNBOX_SHARED),$(NNBOX_SHARED),../shared)
OUT    ?= build
PEER   ?= $(OUT)/peer
FUZZ_SECONDS ?= 60
TEST_JOBS ?= 2

.PHONY: card-test env lint format types test bad-input fuzz smoke smoke-budget real real-learn bench bench-peer bench-gpu soak image image-test lock clean

env: $(READY)

# torch comes first and pinned: left to itself pip would take the newest build with gigabytes of CUDA libraries.
$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	touch $(READY)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: env
	$(BIN)/mypy

# A file's tests stay together: they share fixtures that take minutes; in the order of their names, or files with one
# long test would come last. Each process computes with one thread.
test: env
	$(BIN)/pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder --durations=10

# Coverage-guided fuzzing of the record codec, the bundle reader and the layout detection, FUZZ_SECONDS each. What it
# finds lies in build/fuzz; kept in tests/fuzz/found it is tried by every `make test`.
fuzz: env
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[fuzz]'
	for target in codec bundle layout; do mkdir -p $(OUT)/fuzz/$$target && PYTHONPATH=tests/fuzz $(BIN)/python \
	  tests/fuzz/fuzz.py $$target $(OUT)/fuzz/$$target tests/fuzz/seeds/$$target -max_total_time=$(FUZZ_SECONDS) \
	  -artifact_prefix=$(OUT)/fuzz/$$target- || exit 1; done

# docs/bad-input.md, from the rows that tests/hostile runs.
bad-input: env
	$(BIN)/python tests/hostile/render.py

# The whole line on a synthetic data set whose plan has all four configurations; fails unless it learned (tests/smoke).
smoke: env
	PYTHONPATH=benchmarks $(BIN)/python tests/smoke/smoke.py --work $(OUT)/smoke

# The same data with a time budget of 6 minutes: fails if the run ends over 5 % late, or without a network or an archive.
smoke-budget: env
	PYTHONPATH=benchmarks:tests/smoke $(BIN)/python tests/smoke/time_budget.py --work $(OUT)/smoke-budget

# The whole line on subsets of real data, with a tiny schedule; claims no quality.
real: env
	$(BIN)/python benchmarks/real.py --data $(SHARED)/data --work $(OUT)/real

# One network trained for real: must beat the mean shape on every label.
real-learn: env
	$(BIN)/python benchmarks/real_learn.py --data $(SHARED)/data --work $(OUT)/real-learn

# What is measured, with numeric agreement; writes benchmarks/results and the table in benchmarks/README.md. ONLY=pattern.
bench: env
	$(BIN)/python benchmarks/bench.py --data $(SHARED)/data --work $(OUT)/bench $(if $(ONLY),--only '$(ONLY)')

# The same for the rows against nnU-Net v2, which lives in an environment of its own.
bench-peer: env $(PEER)/.ready
	$(BIN)/python benchmarks/bench.py --data $(SHARED)/data --work $(OUT)/bench --peer $(PEER)/bin \
	  $(if $(ONLY),--only '$(ONLY)')

# On a machine with an NVIDIA card: the step, its epoch, folds side by side, prediction; at most nine minutes.
bench-gpu: env
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/gpu_table.py

# On a machine with an NVIDIA card: kernels, engine and prediction against the CPU (tests/card/card_*.py).
card-test: env
	TRITON_INTERPRET=0 $(BIN)/pytest -o python_files='card_*.py' -o filterwarnings=default tests/card

# A large scan, 200 epochs, 500 cases: memory and open files seen from outside. Long; not in CI.
soak: env
	$(BIN)/python benchmarks/soak.py --work $(OUT)/soak $(if $(ONLY),--only '$(ONLY)')

# torch is named again with it: left to itself pip would put a newer one, made for CUDA, in its place.
$(PEER)/.ready:
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 nnunetv2==2.8.1
	touch $@

# The image; needs an engine with BuildKit (Docker 20.10 or later), or installs one on a bare Debian machine as root.
image:
	bash tests/image/engine.sh up
	bash tests/image/engine.sh build nnbox . --build-arg REVISION=$$(git describe --always --dirty --abbrev=12 --exclude='*') \
	  --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# The container's contract, in the image: mounts, users, limits, signals, exit codes (tests/image/contract_*.py).
image-test: env
	trap 'bash tests/image/engine.sh down' EXIT; NNBOX_FAKE_GPU=1 bash tests/image/engine.sh up && $(MAKE) image \
	  && eval "$$(bash tests/image/engine.sh env)" && $(BIN)/pytest -x --durations=10 -o python_files='contract_*.py' tests/image

# What the image installs, resolved from the public index; writes tests/image/wheels.json.
lock: env
	$(BIN)/python tests/image/lock.py

clean:
	rm -rf build .pytest_cache .mypy_cache .ruff_cache
