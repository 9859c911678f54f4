# make train | test | lint, and the slow things: make help lists them all.

# The first interpreter from 3.11 to 3.13 that works; PYTHON=… chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
BIN = .venv/bin

.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

train: .venv/.installed  ## train the book's VAE on Fashion-MNIST (overrides: make train ARGS="loss=sigma")
	$(BIN)/vaex $(ARGS)

test: .venv/.developer  ## the test suite
	$(BIN)/pytest -m "not slow" -n auto --dist loadfile -rs

lint: .venv/.developer  ## formatting, lint rules, types, which room imports which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo

grid: .venv/.developer  ## every loss x likelihood x model, two epochs each (minutes)
	$(BIN)/pytest -m slow tests/options/test_grid.py

faults: .venv/.developer  ## kill a run at 100 moments and resume it, W&B's part of it too (minutes)
	$(BIN)/pytest -m slow tests/training/test_faults.py tests/tracking

judging: .venv/.developer  ## disentanglement on known codes, features, evidence of a trained model, judged runs bit for bit (minutes)
	$(BIN)/pytest -m slow tests/judging tests/trained/test_features.py tests/trained/test_evaluation.py tests/vae/test_ppca.py tests/api/test_run.py

use: .venv/.developer  ## exports and the page of vaex explore, for every model, loss, likelihood and precision (minutes)
	$(BIN)/pytest -m slow tests/explorer tests/portable tests/report

cache: .venv/.developer  ## compiled programs from the cache against fresh ones, bit for bit (minutes)
	$(BIN)/pytest -m slow tests/device/test_compilation_cache.py

sweeps: .venv/.developer  ## stopping sweeps killed twenty times, twelve jobs of Fashion-MNIST byte for byte, a thousand jobs with few open files, several devices, too little memory (minutes)
	$(BIN)/pytest -m slow tests/sweeping/test_sweep.py tests/stopping tests/vae/test_pack.py tests/config

search: .venv/.developer  ## searches killed at twenty moments, in order on two lanes, vmapped, without Optuna (minutes)
	$(BIN)/pytest -m slow tests/search

devices: .venv/.developer  ## one run on 2 and 8 devices and in two processes: numbers of one, killed and resumed (minutes)
	$(BIN)/pytest -m slow tests/device/test_mesh.py tests/device/test_hosts.py

population: .venv/.developer  ## populations killed at twenty moments and resumed, schedules, in vmapped packs too (minutes)
	$(BIN)/pytest -m slow tests/sweeping/test_population.py tests/training/test_schedule.py

engines: .venv/.developer  ## sweeps by a real Ray and a real Slurm of one node, workers killed and queued again (installs both extras; minutes)
	$(BIN)/python -m pip install -q --disable-pip-version-check "ray>=2.50,<3" "submitit>=1.5,<2"
	$(BIN)/pytest tests/engines

stream: .venv/.developer  ## sources of the extra, streamed runs killed and resumed bit for bit; a set four times the memory (installs the extra; a quarter of an hour)
	$(BIN)/python -m pip install -q --disable-pip-version-check "datasets>=3" "grain>=0.2.10"
	$(BIN)/pytest tests/packing
	$(BIN)/pytest -m slow tests/training/test_streamed.py
	$(BIN)/python tests/benchmarks/stream.py

CLAIMS = book sigma_vs_gamma_quick ppca latent_sweep low_precision

claims: .venv/.developer  ## what the experiments of under ten minutes say of their outcome, each run and checked (ten minutes)
	$(BIN)/pytest -m slow tests/commands/test_check.py
	failed=; for name in $(or $(ARGS),$(CLAIMS)); do \
		echo "== $$name"; $(BIN)/vaex check experiment=$$name || failed="$$failed $$name"; done; \
		test -z "$$failed" || { echo "not as expected:$$failed" >&2; exit 1; }

deaths: .venv/.developer  ## eight planted deaths: diagnosed bit for bit, named, cured from the command line (minutes)
	$(BIN)/pytest -m slow tests/diagnosis

fuzz: .venv/.developer  ## fuzz every reader of files, five minutes each (installs atheris; ARGS="metrics" names others)
	$(BIN)/python -m pip install -q --disable-pip-version-check "atheris>=3,<4"
	for reader in $(or $(ARGS),config idx metrics steps checkpoint); do \
		PYTHONPATH=. $(BIN)/python tests/fuzz/readers.py $$reader -max_total_time=300 -timeout=10 -rss_limit_mb=1024 -max_len=16384 || exit 1; done

coverage: .venv/.developer  ## how often the intervals of `vaex compare` hold the truth, simulated (minutes)
	$(BIN)/pytest -m slow -s tests/study

bench: .venv/.developer .venv-peers/.installed  ## speed against Keras, PyTorch, Flax and the limit (ten minutes, idle machine)
	$(BIN)/python tests/benchmarks/epoch_time.py --peers-python .venv-peers/bin/python --results tests/benchmarks/results $(ARGS)

bench-parts: .venv/.developer  ## what statistics, tracking, checkpoints, figures and the likelihood cost, and how cost grows (minutes, idle machine)
	$(BIN)/python tests/benchmarks/first_step.py --results tests/benchmarks/results
	$(BIN)/python tests/benchmarks/step_cost.py
	$(BIN)/python tests/benchmarks/overheads.py --results tests/benchmarks/results
	$(BIN)/python tests/benchmarks/growth.py --results tests/benchmarks/results
	$(BIN)/python tests/benchmarks/nll_time.py --json tests/benchmarks/results/nll_time.json

bench-sweep: .venv/.developer .venv-peers/.installed .venv-joblib/.installed  ## a sweep by packed, basic and joblib's launcher and a Keras loop; growth to 64 jobs (an hour)
	$(BIN)/python tests/benchmarks/sweep_time.py launchers --rounds 1 --joblib-python .venv-joblib/bin/python --peers-python .venv-peers/bin/python --json tests/benchmarks/results/sweep_launchers_uncached.json
	$(BIN)/python tests/benchmarks/sweep_time.py launchers --cache --rounds 2 --joblib-python .venv-joblib/bin/python --json tests/benchmarks/results/sweep_launchers_cached.json
	$(BIN)/python tests/benchmarks/sweep_time.py sizes --rounds 2 --json tests/benchmarks/results/sweep_sizes.json
	$(BIN)/python tests/benchmarks/sweep_time.py growth --json tests/benchmarks/results/sweep_growth.json
	$(BIN)/python tests/benchmarks/lanes.py --json tests/benchmarks/results/lanes.json

gpu: .venv/.developer  ## the GPU path checked and measured; on a CPU the same in small (minutes)
	$(BIN)/python -m tests.gpu.check $(ARGS)

lock: .venv/.developer  ## refresh the pinned requirements from pyproject.toml
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		-c requirements.txt --group pyproject.toml:dev -o requirements-dev.txt

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "vaex needs Python 3.11, 3.12 or 3.13: install one (Debian, Ubuntu: apt install python3 python3-venv), or say PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

.venv/.developer: .venv/.installed requirements-dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

.venv-peers/.installed: tests/benchmarks/requirements-peers.txt
	rm -rf .venv-peers
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q --disable-pip-version-check -r tests/benchmarks/requirements-peers.txt
	@touch $@

.venv-joblib/.installed: requirements.txt pyproject.toml
	rm -rf .venv-joblib
	$(PYTHON) -m venv .venv-joblib
	.venv-joblib/bin/python -m pip install -q --disable-pip-version-check -r requirements.txt
	.venv-joblib/bin/python -m pip install -q --disable-pip-version-check "hydra-joblib-launcher==1.2.0"
	.venv-joblib/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

clean:  ## remove the environment and caches; outputs/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist

.PHONY: help train test lint grid faults claims judging use cache sweeps search devices population engines stream deaths fuzz coverage bench bench-parts bench-sweep gpu lock clean
