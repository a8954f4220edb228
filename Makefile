# Everything that is built, tested and shown. `make` alone says what there is.
#
# cargo builds where it always does, in ./target or CARGO_TARGET_DIR, so that make, plain cargo and an editor share what
# is compiled. What no clone should build again is kept in $(CACHE): the Kubernetes programs that tests run on, and
# cargo tools.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(or $(TIDELOCK_CACHE),$(HOME)/.cache/tidelock)
# Asked of cargo, when a recipe needs it: a person may have set it in the environment or in cargo's configuration.
TARGET_DIR = $(or $(shell cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/'),target)

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/cargo-tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

# kubectl is built only where none is installed; the rest of a control plane nobody has installed.
DEMO_TOOLS := etcd kube-apiserver kube-controller-manager $(if $(shell command -v kubectl),,kubectl)

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
	@echo
	@echo 'The logs of the servers that tests ran on stay in /tmp with TIDELOCK_E2E_KEEP=1.'

.PHONY: demo
demo: check ## shows what Tidelock does, on a control plane and a database of its own; KEEP=1 leaves it running, CLUSTER=current uses your cluster
	@[ '$(CLUSTER)' = current ] || e2e/tools/build $(DEMO_TOOLS) >/dev/null
	@e2e/tools/postgres >/dev/null
	@cargo build --locked --bin tidelock --example demo
	@TIDELOCK_BIN='$(TARGET_DIR)/debug/tidelock' TIDELOCK_DEMO_KEEP='$(KEEP)' TIDELOCK_DEMO_CLUSTER='$(CLUSTER)' \
		'$(TARGET_DIR)/debug/examples/demo'

# What fails soonest comes first.
.PHONY: test
test: check fmt-check lint deny crds-check chart test-all ## everything that has to pass: format, lints, licences, definitions, chart, all tests

.PHONY: test-fast
test-fast: ## the tests that need no server
	cargo test --locked --lib

# The tests wait for servers most of the time, so more run at once than there are cores.
export RUST_TEST_THREADS ?= 8

.PHONY: test-all
test-all: tools ## all tests, on a real API server and a real PostgreSQL
	cargo test --locked

.PHONY: one
one: tools ## the end-to-end tests whose name contains TEST, with their output: make one TEST=garbage
	cargo test --locked --test e2e -- --nocapture '$(TEST)'

.PHONY: bench
bench: check tools ## the numbers in docs/performance.md, measured here
	cargo bench --locked --bench e2e

.PHONY: check
check:
	@e2e/tools/check

.PHONY: tools
tools: check ## builds the Kubernetes programs and gets PostgreSQL and a pooler, where they are missing
	@e2e/tools/build >/dev/null
	@e2e/tools/postgres >/dev/null
	@e2e/tools/pgbouncer >/dev/null

.PHONY: fmt
fmt: ## formats the code
	cargo fmt

.PHONY: fmt-check
fmt-check:
	cargo fmt --check

.PHONY: lint
lint: ## clippy on everything, warnings are errors
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: deny
deny: $(CARGO_DENY) ## licences, sources and duplicates of all dependencies (deny.toml)
	$(CARGO_DENY) --locked check bans licenses sources

# Not in `make test`: it fetches the database of advisories from GitHub, and fails for reasons that no commit caused.
.PHONY: advisories
advisories: $(CARGO_DENY) ## known vulnerabilities of dependencies; needs the network
	$(CARGO_DENY) --locked check advisories

$(CARGO_DENY):
	env -u CARGO_TARGET_DIR cargo install cargo-deny --locked --version $(CARGO_DENY_VERSION) \
		--root $(CACHE)/cargo-tools/cargo-deny-$(CARGO_DENY_VERSION)

# The tests that compare generated files with the types write them when they are asked to.
.PHONY: crds
crds: ## writes crds/ and what else is generated from the types
	UPDATE_GENERATED=1 cargo test --locked --lib checked_in

# What other programs read in the dotenv files that the import is compared with. Where pip, npm or Node.js is missing it fails: the
# tests need none of them, as they use what is written down.
.PHONY: dotenv-readings
dotenv-readings: ## writes e2e/dotenv/readings/ anew, after a file was added to e2e/dotenv/corpus/
	@e2e/tools/dotenv-readings e2e/dotenv/readings --all

# What a database says of itself that has just been migrated: `migrate` holds others against it.
.PHONY: catalog
catalog: tools ## writes migrations/catalog.tsv anew, after a migration was written
	UPDATE_GENERATED=1 cargo test --locked --test e2e -- the_catalog_that_is_checked_in

# Built with the tests, which need the command too: alone, its dependencies would be compiled with other features.
.PHONY: crds-check
crds-check:
	cargo test --locked --no-run
	@diff -u <(awk 'FNR == 1 && NR > 1 { print "---" } { print }' crds/*.yaml) <('$(TARGET_DIR)/debug/tidelock' crd) | head -n 40 || \
		{ echo 'crds/ is not what `tidelock crd` prints: run `make crds`' >&2; exit 1; }

# Once for each way of installing it that charts/tidelock/ci shows.
.PHONY: chart
chart: ## lints and renders the chart
	@helm=$$(e2e/tools/build helm)/helm; \
	for values in charts/tidelock/ci/*-values.yaml; do \
		echo "helm lint, helm template: $$values"; \
		"$$helm" lint --strict --quiet charts/tidelock --values "$$values"; \
		"$$helm" template tidelock charts/tidelock --namespace tidelock --values "$$values" >/dev/null; \
	done

.PHONY: clean
clean: ## removes what was compiled here, and what .ci/run keeps for all clones
	cargo clean
	rm -rf $(CACHE)/target
