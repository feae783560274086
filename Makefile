# Everyday commands; `make` alone lists them.
PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
LOCAL := $(BIN)/python -m local
# a package of npm
DCLINT := 3.1.0

# what `make coverage` judges: the domain, which tests reach without a server
PURE := services/webhook_gateway/payments/*,services/transcoder/planning/*,shared/contracts/*
COVERAGE_FLOOR := 95

export PYTHON
# every process of Nouba would compile its modules anew
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

##@ Try it

.PHONY: demo
demo: up ## Start everything on this machine, send webhooks and a video, show the result
	@$(BIN)/python -m local.demo $(ARGS)

##@ Run it on this machine, without Docker

.PHONY: up down run env nouba backup-drill
up: .venv ## Start everything in the background and print the addresses
	@$(LOCAL) up

down: .venv ## Stop everything; data is kept
	@$(LOCAL) down

run: .venv ## Start everything in the foreground; Ctrl-C stops it
	@$(LOCAL) run

env: .venv ## Print the settings and addresses of what runs, as NAME=value
	@$(LOCAL) env

nouba: .venv ## The command line with the settings of this stack, as bin/nouba: make nouba ARGS="gateway --help"
	@bin/nouba $(ARGS)

backup-drill: .venv ## Lose PostgreSQL and S3 under traffic, restore both, verify: on servers of its own
	@$(LOCAL) install
	@$(BIN)/python -m local.backup_drill

##@ Run it in containers

.PHONY: compose-up compose-demo compose-down compose-test compose-lint cluster cluster-test
compose-up: ## Build and start everything in containers
	@docker compose up --build --wait

compose-demo: export NOUBA_PAYMENTS_MODE = test
compose-demo: compose-up ## Run the demonstration against the containers
	@docker compose --profile demo build --quiet
	@docker compose --profile demo run --rm demo

compose-down: ## Stop the containers; data is kept
	@docker compose --profile demo down

compose-test: .venv ## Test the containers, with a project of their own
	@$(BIN)/pytest --override-ini addopts=-ra tests/e2e/compose $(RERUNS:%=-rR --reruns %) $(ARGS)

cluster: ## Build and start three nodes of each server and two of each service in containers
	@docker compose -f docker-compose.yml -f deploy/ha/docker-compose.yml up --build --wait

cluster-test: .venv ## Kill, pause and cut off nodes of a cluster under webhooks: ARGS="--short --rate 50"
	@$(BIN)/python -m tests.e2e.cluster $(ARGS)

compose-lint: .venv ## Lint the Dockerfiles, the compose file and what Prometheus reads
	@$(BIN)/hadolint services/*/Dockerfile deploy/demo/Dockerfile deploy/ha/Dockerfile
	@$(BIN)/compose-lint docker-compose.yml
	@docker compose -f docker-compose.yml -f deploy/ha/docker-compose.yml config --quiet
	@mkdir -p .nouba/compose
	@docker compose --profile demo config --output .nouba/compose/docker-compose.yml
	@PATH=$$PWD/$(BIN):$$PATH npx --yes dclint@$(DCLINT) --max-warnings 0 .nouba/compose
	@$(LOCAL) install
	@promtool check config deploy/prometheus/prometheus.yml
	@promtool check rules --lint=all --lint-fatal deploy/prometheus/rules/*.yml

##@ Change it

.PHONY: test test-all test-nightly coverage check bench chaos sim rotate-drill docs lock release
test: .venv ## Test every behaviour on real servers; one area: make test PART=payments
	@$(LOCAL) install
	@$(BIN)/python -m tests.suite quick $(if $(PART),--part $(PART)) $(ARGS)

test-all: .venv ## Also defects, chaos, kill matrices, all films, README and containers
	@$(LOCAL) install
	@$(if $(PART),$(BIN)/python -m tests.suite all --part $(PART),bin/test-all) $(RERUNS:%=-rR --reruns %) $(ARGS)

test-nightly: .venv ## Only what CI plays every night: more interleavings, larger months
	@$(LOCAL) install
	@$(BIN)/python -m tests.suite nightly $(if $(PART),--part $(PART)) $(ARGS)

coverage: .venv ## Run make test with branch coverage; fail if the domain is below COVERAGE_FLOOR
	@$(LOCAL) install
	@rm -rf .nouba/coverage
	@$(BIN)/coverage run -m tests.suite quick $(if $(PART),--part $(PART)) --hypothesis-profile default $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage html --quiet
	@$(BIN)/coverage report --include='$(PURE)' --fail-under=$(COVERAGE_FLOOR)

check: .venv ## Lint, formatting, types, imports, docs, alerts and dashboards
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(MAKE) --jobs=2 check-types check-files

.PHONY: check-types check-files
check-types:
	@$(BIN)/mypy

check-files:
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.suite lint

audit: ## Known vulnerabilities of the pinned packages, and an SBOM for each image
	@bin/audit

bench: .venv ## Benchmark against the alternatives: make bench PART=gateway ARGS=--quick
	@$(LOCAL) install
	@$(BIN)/python -m bench $(PART) $(ARGS)

chaos: .venv ## Kill every process under load and compare with an oracle: make chaos SEED=7 ARGS="--kills 50"
	@$(LOCAL) install
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

sim: .venv ## Play the payment path's steps in 10,000 orders, with deaths at any of them: make sim ARGS="--seed 7"
	@$(LOCAL) install
	@$(BIN)/python -m tests.sim $(ARGS)

rotate-drill: .venv ## Rotate every secret of a system of its own under load; about a minute
	@$(LOCAL) install
	@$(BIN)/python -m tests.rotation

docs: .venv ## Build the documentation as a site in .nouba/site; watch it: make docs ARGS=serve
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(if $(ARGS),$(ARGS),build --strict --clean --quiet)
	@$(if $(ARGS),:,echo "The site is in .nouba/site: open .nouba/site/index.html")

lock: ## Pin all packages in requirements/ again, with their hashes
	@bin/lock

release: .venv ## Build and tag a release: make release VERSION=0.2.0 ARGS=--dry-run
	@$(BIN)/python -m deploy.release $(VERSION) $(ARGS)

##@ Help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# bin/setup decides whether there is anything to do
.PHONY: .venv
.venv:
	@bin/setup
