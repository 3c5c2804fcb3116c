# `make help` lists all targets.
.DEFAULT_GOAL := help
.PHONY: help run dev demo test check schema bench micro audit

help: ## List all targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

run: ## Build a release and serve on 127.0.0.1:8000, with a private Postgres unless DATABASE_URL is set
	@scripts/need run
	cargo build --release --locked
	@exec "$$(scripts/target-dir)/release/gatepost" serve

dev: ## Serve a debug build; with cargo-watch, restart it at every change
	@scripts/need run
	@if cargo watch --version >/dev/null 2>&1; then cargo watch --why -x 'run -- serve'; else cargo run -- serve; fi

demo: ## Serve an example with its own data: keys, webhooks, a receiver and traffic
	@scripts/need run
	cargo build --release --locked
	@exec "$$(scripts/target-dir)/release/gatepost" demo

test: ## Run all tests on a temporary Postgres
	@scripts/need test
	@scripts/test

check: ## Run all checks: format, dependencies, lints, documentation, tests
	@scripts/need check
	@scripts/check

schema: ## Write src/schema.rs anew from the migrations, with the Diesel command line
	@scripts/need schema
	@scripts/with-postgres fast scripts/schema

bench: ## Measure against a bare route and the receiver alone; SECTIONS="usage memory" picks some
	@scripts/need bench
	@scripts/with-postgres durable cargo bench --locked --bench load -- $(SECTIONS)

micro: ## Measure the single parts of a verification with Criterion
	@scripts/need bench
	@cargo bench --locked --bench micro

audit: ## Check dependencies against the RustSec advisories (needs network)
	@scripts/need check
	cargo deny --locked check advisories
