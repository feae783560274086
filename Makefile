# What a person does here, by name; `make` alone lists it.
PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
LOCAL := $(BIN)/python -m local
# a package of npm
DCLINT := 3.1.0

export PYTHON
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

##@ Try it

.PHONY: demo
demo: up ## Start everything on this machine, send webhooks, and show what happened
	@$(BIN)/python -m local.demo $(ARGS)

##@ Run it on this machine, without Docker

.PHONY: up down run env nouba
up: .venv ## Start everything in the background and print the addresses
	@$(LOCAL) up

down: .venv ## Stop everything; the data stay
	@$(LOCAL) down

run: .venv ## Start everything in the foreground; Ctrl-C stops it
	@$(LOCAL) run

env: .venv ## Print the settings and addresses of what runs, as NAME=value
	@$(LOCAL) env

nouba: .venv ## The command line with these settings: make nouba ARGS="gateway --help"
	@settings=$$($(LOCAL) env 2>/dev/null); set -a; eval "$$settings"; set +a; $(BIN)/nouba $(ARGS)

##@ Run it in containers

.PHONY: compose-up compose-demo compose-down compose-test compose-lint
compose-up: ## Build and start everything in containers
	@docker compose up --build --wait

compose-demo: export NOUBA_PAYMENTS_MODE = test
compose-demo: compose-up ## Play the main job against the containers
	@docker compose --profile demo build --quiet
	@docker compose --profile demo run --rm demo

compose-down: ## Stop the containers; the data stay
	@docker compose --profile demo down

compose-test: .venv ## Test the containers, with a project of their own
	@$(BIN)/pytest --override-ini addopts=-ra tests/e2e/compose $(ARGS)

compose-lint: .venv ## Lint the Dockerfiles, the compose file and what Prometheus reads
	@$(BIN)/hadolint services/*/Dockerfile deploy/demo/Dockerfile
	@$(BIN)/compose-lint docker-compose.yml
	@mkdir -p .nouba/compose
	@docker compose --profile demo config --output .nouba/compose/docker-compose.yml
	@PATH=$$PWD/$(BIN):$$PATH npx --yes dclint@$(DCLINT) --max-warnings 0 .nouba/compose
	@$(LOCAL) install
	@promtool check config deploy/prometheus/prometheus.yml
	@promtool check rules --lint=all --lint-fatal deploy/prometheus/rules/*.yml

##@ Change it

.PHONY: test test-all check bench chaos lock
test: .venv ## Prove every behaviour on real servers, at most 10 minutes; one area: make test PART=payments
	@$(LOCAL) install
	@$(BIN)/python -m tests.suite quick $(if $(PART),--part $(PART)) $(ARGS)

test-all: .venv ## Every proof: also defects, chaos, kill matrices, all films, README, and containers
	@$(LOCAL) install
	@$(BIN)/python -m tests.suite all $(if $(PART),--part $(PART)) $(ARGS)
	@$(if $(PART),:,bin/test-containers)

check: .venv ## Lint, formatting, types, who may import whom, style and dashboards
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.suite lint

audit: ## Known vulnerabilities of the pinned packages, and an SBOM for each image
	@bin/audit

bench: .venv ## Measure beside what else could be picked: make bench PART=gateway ARGS=--quick
	@$(LOCAL) install
	@$(BIN)/python -m bench $(PART) $(ARGS)

chaos: .venv ## Kill everything under load, lose nothing: make chaos SEED=7 ARGS="--kills 50"
	@$(LOCAL) install
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

lock: ## Pin all packages anew in requirements/, with their hashes
	@bin/lock

##@ Help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# it knows best whether there is anything to do
.PHONY: .venv
.venv:
	@bin/setup
