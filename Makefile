# Every developer verb. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOWEST := $(addprefix tests/service/,http inference ledger process records scoring serving feedback/submission)

.DEFAULT_GOAL := help
.PHONY: help setup run environments test test-lowest lint format lock starter bench bench-training bench-lake bench-graph bench-serve bench-oip bench-overload bench-hostile bench-growth bench-device bench-limits bench-quality bench-paper bench-normals bench-robustness bench-verdict bench-novelty \
        bench-scale bench-ledger bench-drift bench-loop bench-retraining bench-queue bench-groups bench-pages bench-review bench-report bench-budget bench-recall bench-gate bench-poisoner bench-stream bench-swaps bench-writes bench-many bench-aggregates chaos fuzz mutations soak screenshots docs clean

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## make .venv and install everything (Python 3.11 or newer)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Nearnorm needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "==> Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> Installing Nearnorm (cpu, training, dev): a few minutes the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cpu,arrow,kafka,postgres,s3,otel,training,dev]' -c constraints.txt
	@touch $@

run: setup ## serve the starter model on 127.0.0.1:8000
	@echo "==> Open http://127.0.0.1:$${NEARNORM_PORT:-8000} in a browser (README shows what to send; Ctrl-C stops)"
	@$(BIN)/nearnorm serve

.PHONY: example-payments example-network
example-payments: setup ## generated payments: train, serve, label for four weeks, and a picture (examples/payments)
	@$(BIN)/python -m examples.payments

example-network: setup ## connections of KDD Cup 1999: the same, with a review of the reference (examples/network)
	@$(BIN)/python -m examples.network

environments: setup ## make environments for what is tried against the real other side (.peers/): minutes, a gigabyte
	@$(BIN)/python -m tests.environments

test test-lowest: export PYTHONDONTWRITEBYTECODE :=  # or each of hundreds of processes compiles all of src
test test-lowest: export OMP_NUM_THREADS := 1  # four workers share the cores: threads of one would wait busily
test: setup ## run every test; says first what it skips, and what to install for it
	@echo "==> Running the tests"
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-lowest: setup ## the service on the oldest release of every package that pyproject.toml allows
	@echo "==> Testing on the oldest packages" && $(BIN)/python -m venv .venv-lowest \
	  && $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    > $$(.venv-lowest/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lower.pth \
	  && $(BIN)/python -m tests.lowest > .venv-lowest/lowest.txt \
	  && .venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --ignore-installed -r .venv-lowest/lowest.txt \
	  && .venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e . \
	  && .venv-lowest/bin/python -m pytest -q --numprocesses 4 --dist loadfile --no-loadscope-reorder $(LOWEST)

lint: setup ## ruff, mypy --strict, import rule, dependencies
	@echo "==> ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "==> mypy --strict" && $(BIN)/mypy
	@echo "==> import-linter" && $(BIN)/lint-imports
	@echo "==> deptry" && $(BIN)/deptry .

format: setup ## let ruff format and fix
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

starter: setup ## train the starter model again, on the Shuttle sample
	@$(BIN)/nearnorm train training/samples/shuttle_train.parquet --out models/starter \
	  --reference training/samples/shuttle_reference.parquet \
	  --held-out training/samples/shuttle_held_out.parquet --seed 0

bench: bench-training bench-serve ## training and scoring speed

bench-training: setup ## seconds and memory of `nearnorm train`
	@$(BIN)/python -m tests.benchmarks.cost.bench_training command
	@$(BIN)/python -m tests.benchmarks.cost.bench_training scale

bench-lake: setup ## `nearnorm train` on more rows than memory holds (5 GB of disk)
	@$(BIN)/python -m tests.benchmarks.cost.bench_lake

bench-graph: setup ## processor time a row of the exported graph, beside the paper preset's
	@$(BIN)/python -m tests.benchmarks.cost.bench_graph

bench-serve: setup ## /score against its yardsticks and peers, ten minutes (needs wrk: apt-get install wrk)
	@$(BIN)/python -m tests.load.bench_serve

bench-oip: setup ## the Open Inference Protocol beside KServe's and MLServer's own servers (needs wrk)
	@$(BIN)/python -m tests.load.bench_oip

bench-overload: setup ## three times the capacity for a minute: goodput, refusals, recovery (needs wrk)
	@$(BIN)/python -m tests.load.bench_overload

bench-hostile: setup ## p99.9 of small requests beside callers who send what takes long to read
	@$(BIN)/python -m tests.load.bench_hostile

bench-growth: setup ## ten million scored rows, and the memory meanwhile (needs wrk)
	@$(BIN)/python -m tests.load.bench_growth

bench-device: setup ## whether CUDA runs all of the model and answers as the CPU, and rows a second by batch
	@$(BIN)/python -m tests.load.bench_device

bench-limits: setup ## whether other threads or batch limits serve this machine better (needs wrk)
	@$(BIN)/python -m tests.load.bench_limits

bench-quality: setup ## average precision from few labels, beside the peers (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.detection.bench_quality --plot docs/images/detection-sets.png

bench-normals: setup ## what confirmed normals are worth, beside peers with the same ones (needs BENCH_DATA; pip install catboost)
	@$(BIN)/python -m tests.benchmarks.detection.bench_normals --parts data,data2

bench-paper: setup ## the published method on its authors' protocol, and what its claims are worth (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.detection.bench_paper --plots docs/images

bench-robustness: setup ## contamination, label noise, unseen kinds, calibration, shuffled evidence (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.detection.bench_robustness --plots docs/images

bench-verdict: setup ## whether reasons are true, and what nobody has seen alerts (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.verdict.bench_verdict

bench-novelty: setup ## what the rule of novelty does to rows that come later (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.verdict.bench_novelty

bench-scale: setup ## rows a second of each way by turns: one process, Ray, Spark (needs java), streamers
	@$(BIN)/python -m tests.benchmarks.cost.bench_scale

bench-ledger: setup ## what remembering costs, and answers over a full ledger (needs wrk)
	@$(BIN)/python -m tests.benchmarks.cost.bench_ledger overhead
	@$(BIN)/python -m tests.benchmarks.cost.bench_ledger volume --database sqlite --database postgresql

bench-writes: setup ## events a second that one, two and four replicas write into one ledger
	@$(BIN)/python -m tests.benchmarks.cost.bench_writes

bench-drift: setup ## how soon a shift is told, how seldom falsely, and what watching costs (needs wrk)
	@$(BIN)/python -m tests.benchmarks.verdict.bench_drift

bench-loop: setup ## a simulated analyst against other learners, over HTTP (needs BENCH_DATA; pip install catboost)
	@$(BIN)/python -m tests.benchmarks.loop.bench_loop --plot docs/images/analyst.png

bench-retraining: setup ## from the twentieth label to the better model serving, for 10,000 rows
	@$(BIN)/python -m tests.benchmarks.loop.bench_retraining

bench-pages: setup ## how fast the pages are over a full ledger, and what they cost /score (needs wrk and chromium)
	@$(BIN)/python -m tests.benchmarks.cost.bench_pages volume
	@$(BIN)/python -m tests.benchmarks.cost.bench_pages beside
	@$(BIN)/python -m tests.benchmarks.cost.bench_pages memory

bench-review: setup ## what verdicts on the reference are worth (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.verdict.bench_review

bench-report: setup ## whether a report's figures from ten labels are true (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.verdict.bench_report

bench-budget: setup ## whether "40 a day" is kept: three simulated weeks, ten seeds
	@$(BIN)/python -m tests.benchmarks.verdict.bench_budget

bench-recall: setup ## whether the interval of estimated recall holds the truth
	@$(BIN)/python -m tests.benchmarks.verdict.bench_recall

bench-queue: setup ## which mix of the queue finds most (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.loop.bench_queue

bench-groups: setup ## how many records of a group should teach (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.loop.bench_groups

bench-gate: setup ## whom the gate lets through, truthful and poisoned (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.loop.bench_gate --plot docs/images/gate.png

bench-poisoner: setup ## a poisoner with a key beside an analyst, for ten rounds (needs BENCH_DATA)
	@$(BIN)/python -m tests.benchmarks.loop.bench_poisoner

bench-stream: setup ## the streamer beside a bare loop of Kafka's client, and beside /score, by turns (needs wrk)
	@$(BIN)/python -m tests.load.bench_stream

bench-many: setup ## a thousand models in one process: memory, cold answers, and what they cost a warm model; one line beside a flood of another (needs wrk)
	@$(BIN)/python -m tests.load.bench_many
	@$(BIN)/python -m tests.load.lanes

bench-aggregates: setup ## what counts over windows are worth where fraud is velocity, and what they cost
	@$(BIN)/python -m tests.benchmarks.cost.bench_aggregates worth
	@$(BIN)/python -m tests.benchmarks.cost.bench_aggregates cost
	@$(BIN)/python -m tests.benchmarks.cost.bench_aggregates stream

bench-swaps: setup ## swap models under load, and count what fails
	@$(BIN)/python -m tests.benchmarks.cost.bench_swaps

chaos: setup ## kill the service, its worker and its training 200 times each way: about an hour
	@$(BIN)/python -m tests.chaos.kills
	@$(BIN)/python -m tests.chaos.chaos_loop
	@$(BIN)/python -m tests.chaos.stops
	@$(BIN)/python -m tests.chaos.streams --broker tansu
	@$(BIN)/python -m tests.chaos.streams --broker noida
	@$(BIN)/python -m tests.chaos.retrained
	@$(BIN)/python -m pytest tests/chaos/trainings.py

soak: setup ## score, label, retrain and swap for MINUTES (30): does anything grow or get slower?
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),30)

fuzz: setup ## 100,000 fuzzed requests on each database, and schemathesis on both: a quarter of an hour
	@$(BIN)/python -m tests.contract.fuzz --database sqlite
	@$(BIN)/python -m tests.contract.fuzz --database postgresql
	@$(BIN)/python -m tests.contract.fuzz_files
	@$(BIN)/python -m tests.contract.fuzz_wire
	@$(BIN)/python -m tests.contract.attack --database sqlite
	@$(BIN)/python -m tests.contract.attack --database postgresql

mutations: setup ## break MODULE in one place after the other (in MOST of them): what do TESTS not notice? (pip install mutmut)
	@$(BIN)/python -m tests.mutation.mutate $(if $(MOST),--most $(MOST)) '$(MODULE)' $(TESTS)

screenshots: setup ## take docs/review.md's pictures of every page again (needs chromium)
	@$(BIN)/python -m tests.screenshots

docs: setup ## write the configuration page from the settings
	@$(BIN)/python -m nearnorm.service.cli.settings_page > docs/configuration.md

lock: setup ## resolve the service image's packages again, with their hashes (deploy/service.lock)
	@$(BIN)/python -m piptools compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url \
	  --no-emit-trusted-host --no-emit-find-links --extra cpu --extra arrow --extra kafka --extra postgres --extra s3 \
	  --extra otel --extra signatures --extra oidc \
	  --output-file deploy/service.lock pyproject.toml

clean: ## remove what the verbs made, but never models, labels or logs (var/)
	@rm -rf $(VENV) .venv-lowest .peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
