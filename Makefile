# The commands of this repository. `make help` lists them.

SERVICES := deploy/local/services.sh
CARGO    ?= cargo
ARGS     ?=
# Tests wait for servers more than they compute: three at a time, also where there are fewer processors.
export RUST_TEST_THREADS ?= $(shell n=$$(nproc 2>/dev/null || echo 3); echo $$((n > 3 ? n : 3)))

.DEFAULT_GOAL := help
.PHONY: help run demo test bench lint services

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the whole system in one process, nothing installed: plays the demo, then stays up (ARGS=… go to it)
	$(CARGO) run --bin billing -- standalone --demo --demo-month $(ARGS)

demo: ## the same, but ends with the demo and its exit status
	$(CARGO) run --bin billing -- standalone --demo-and-exit $(ARGS)

test: ## every test, on throwaway PostgreSQL, RabbitMQ and Redis (ARGS=… go to cargo test)
	$(SERVICES) install
	$(SERVICES) exec -- $(CARGO) test --workspace $(ARGS)

bench: ## celeriac beside Celery, rusty-celery and lapin; writes docs/performance.md (ARGS=--quick: two minutes, no file)
	$(SERVICES) install
	SERVICES_FSYNC=on $(SERVICES) exec -- $(CARGO) run --release --manifest-path bench/Cargo.toml -- $(ARGS)

lint: ## formatting, clippy and documentation with warnings denied; cargo-deny if it is installed
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path bench/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --workspace --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; else echo 'cargo-deny is not installed: skipped'; fi

services: ## PostgreSQL, RabbitMQ and Redis for a test in your editor: prints their addresses, runs until Ctrl-C
	$(SERVICES) install
	$(SERVICES) exec -- sh -c 'env | grep ^TEST_ | sort; exec sleep infinity'
