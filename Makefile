# Everything a person types. Each target sets up what it needs, into a cache outside the clone, and
# prints what it does.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export KELLY_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kelly
# Outside the clone, so that a fresh clone does not build every crate again.
export CARGO_TARGET_DIR ?= $(KELLY_CACHE)/target
PYTHON := $(KELLY_CACHE)/python/bin

.PHONY: help run demo build test lint bench fuzz kafka setup format install clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: build ## Build Kelly and run everything on this machine (Ctrl-C ends it)
	@exec "$(CARGO_TARGET_DIR)/release/kelly" up

demo: build ## The same with believable traffic: thirty days behind, then live
	@exec "$(CARGO_TARGET_DIR)/release/kelly" up --demo --data ./kelly-data/demo

build: ## Build the release binary
	@scripts/setup build engine
	@echo "building kelly (the first time takes some minutes)"
	@cargo build --locked --release --bin kelly

test: ## Set up what is missing and pass every test
	@scripts/setup build engine kafka python redis prometheus browser
	@scripts/test

lint: ## Formatting, clippy, documentation, the compose file's schema
	@scripts/setup build python
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --features kelly-fuzz/libfuzzer -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	@echo "docker-compose.yml is checked against the compose specification's schema; nothing is started"
	"$(PYTHON)/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml

bench: ## Build and run the benchmarks; the results go to bench/results
	@scripts/setup build engine kafka bench
	@cargo build --locked --release --bin kelly --bin kelly-engine --bin kelly-bench
	@"$(CARGO_TARGET_DIR)/release/kelly-bench" all

fuzz: ## Fuzz every target for a minute (FUZZ_SECONDS=5 for less; scripts/fuzz SECONDS TARGET … for one)
	@scripts/setup build
	@scripts/fuzz $(or $(FUZZ_SECONDS),60)

kafka: ## Fetch Apache Kafka's jars for tests and benchmarks
	@scripts/setup kafka

setup: ## Set up everything the other targets need
	@scripts/setup build engine kafka python redis prometheus browser

format: ## Format the code
	cargo fmt --all

install: build ## Put the binary into ~/.local/bin
	install -D "$(CARGO_TARGET_DIR)/release/kelly" "$(HOME)/.local/bin/kelly"
	@command -v kelly >/dev/null || echo "add ~/.local/bin to your PATH"

clean: ## Remove what was built; downloads and recorded data stay
	cargo clean
