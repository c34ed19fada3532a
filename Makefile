# One command for everything a contributor does. Needs Python 3.11 or newer and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet
SAMPLE := bot/sample

.DEFAULT_GOAL := help
.PHONY: help run test quick check lint types format bench bench-ingest bench-live bench-retrieval bench-crash services services-stop lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.run ## Set up, take in the sample knowledge base, start the server and print its address
	@$(BIN)/grapevine ingest -q $(SAMPLE)/public --collection public
	@$(BIN)/grapevine ingest -q $(SAMPLE)/staff --collection staff
	@# Quick when nothing changed. A model that is away must not keep the server from starting.
	@$(BIN)/grapevine faq import $(SAMPLE)/faqs.jsonl || true
	@$(BIN)/grapevine serve

test: $(VENV)/.dev ## Run all tests (those that need a server skip where it is missing)
	$(BIN)/pytest -n auto --dist loadfile

quick: $(VENV)/.dev ## Run the tests that need neither servers nor patience
	$(BIN)/pytest -m "not services and not slow"

check: test lint types ## What CI runs

lint: $(VENV)/.dev ## Lint and check the formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Strict types, tests included
	$(BIN)/mypy

format: $(VENV)/.dev ## Mend what can be mended without thinking
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure; ratios within one run (docs/benchmarks.md explains the figures)
	$(BIN)/python -m bench

PEER := .services/peer-telegram
bench-live: $(VENV)/.dev ## Measure live messages, beside vercel/chat where there is npm (docs/benchmarks.md)
	@if command -v npm >/dev/null; then mkdir -p $(PEER) && test -d $(PEER)/node_modules/chat || \
	 npm install --silent --prefix $(PEER) @chat-adapter/telegram@4.41.1 chat@4.41.1; fi
	$(BIN)/python -m bench.live $$(test -d $(PEER)/node_modules/chat && echo --peer $(PEER))

bench-ingest: $(VENV)/.dev ## Read, index and embed generated Markdown: MB/s, and what questions feel of it
	$(BIN)/python -m bench.ingest

RIVALS := .services/peer-graph
bench-retrieval: $(VENV)/.dev ## Measure retrieval over DATA=folder (corpus.jsonl, questions.jsonl), on Neo4j beside its peers too
	@test -f "$(DATA)/corpus.jsonl" -a -f "$(DATA)/questions.jsonl" || \
	 { echo "DATA names a folder with corpus.jsonl and questions.jsonl: make bench-retrieval DATA=folder"; exit 1; }
	@test -n "$$GRAPEVINE_TEST_NEO4J_5$$GRAPEVINE_TEST_NEO4J_2026" || grep -qs ^GRAPEVINE_TEST_NEO4J_ .services/env || \
	 { echo "Neo4j is missing: make services"; exit 1; }
	@cmp -s bench/graph_peers.txt $(RIVALS)/installed.txt || { echo "Installing bench/graph_peers.txt into $(RIVALS)" && \
	 rm -rf $(RIVALS) && $(PYTHON) -m venv $(RIVALS) && $(RIVALS)/bin/pip --disable-pip-version-check --quiet \
	 install --no-deps --require-hashes -r bench/graph_peers.txt && cp bench/graph_peers.txt $(RIVALS)/installed.txt; }
	$(BIN)/python -m bench.retrieval "$(DATA)/corpus.jsonl" "$(DATA)/questions.jsonl"
	$(BIN)/python -m bench.graph "$(DATA)" --peers $(RIVALS)/bin/python --folder $(RIVALS)-storages $(ARGS)

bench-crash: $(VENV)/.dev ## kill -9 at every stage of 200 turns: what is lost, stuck or doubled
	$(BIN)/python -m bench.crash

services: $(VENV)/.dev ## Start Neo4j and Redis for the tests marked `services`; install headless Chromium (Debian)
	bash deploy/services.sh start

services-stop: ## Stop what `make services` started
	bash deploy/services.sh stop

lock: ## Compile requirements.txt, requirements-dev.txt and bench/graph_peers.txt anew (needs uv)
	bash deploy/lock/lock.sh

clean: ## Remove what the commands above made, except your data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A test environment is a run environment too: whichever exists already serves `make run`.
$(VENV)/.run: requirements.txt pyproject.toml
	@$(MAKE) --no-print-directory install \
	 REQUIREMENTS=$$(test -f $(VENV)/.dev && echo requirements-dev.txt || echo requirements.txt) && touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml
	@$(MAKE) --no-print-directory install REQUIREMENTS=requirements-dev.txt && touch $@ $(VENV)/.run

.PHONY: install
install:
	@test -n "$(PYTHON)" || { echo "grapevine: Python 3.11 or newer is needed; set PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	 { echo "grapevine: $(PYTHON) is older than 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing $(REQUIREMENTS) into $(VENV) (hash-checked; a minute or so)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --no-deps --require-hashes -r $(REQUIREMENTS)
	@$(PIP) install --no-deps --no-build-isolation -e .
