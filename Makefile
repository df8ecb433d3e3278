# `make` lists the targets. What is needed: Rust (rustup reads rust-toolchain.toml), a C compiler, make.
# Everything builds in the dev profile, whose dependencies are optimised (Cargo.toml): from clean in a fraction of the
# time of a release build, and fast enough for the demo and the tests. `make release` is for a daemon that stays.

CARGO ?= cargo
.DEFAULT_GOAL := help
.PHONY: help demo build release test lint alerts bench instructions counts curves flames fmt servers clean-servers

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## play a night's storm through the real daemon; needs no server
	$(CARGO) run --locked -- demo

build: ## target/debug/incidentd
	$(CARGO) build --locked

release: ## target/release/incidentd
	$(CARGO) build --locked --release

test: servers lint alerts instructions ## all that CI runs: lint, alert rules, every test, with the real servers they talk to
	$(CARGO) test --locked

lint: ## formatting, clippy and documentation with warnings as errors; dependencies if cargo-deny is installed
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check bans licenses sources; fi

alerts: servers ## the Prometheus files of deploy/, with their unit tests
	promtool check config deploy/prometheus/prometheus.yml
	promtool check rules deploy/prometheus/alerts.yml
	promtool test rules deploy/prometheus/alerts.test.yml

bench: servers ## the table of docs/performance.md: speed and CPU beside Alertmanager and the floor; BENCH_ONLY=#5 for a row
	$(CARGO) bench --locked --bench daemon

# Only our own crate is built for it, with optimisation, beside what the tests use. See benches/instructions.toml.
instructions:
	$(CARGO) bench --locked --profile dev --config benches/instructions.toml --bench instructions --no-run

counts: servers instructions ## count the instructions of the hot path anew and write them into docs/performance.md
	UPDATE_GOLDEN=1 $(CARGO) test --locked --test it -- instructions::
	@git --no-pager diff --unified=0 docs/performance.md

curves: ## measure cost against alerts, rules, labels, windows and shards; draws docs/performance/*.svg
	$(CARGO) bench --locked --bench curves

flames: ## flame graphs of the daemon on each path, into docs/performance/flame-*.svg
	benches/flames.sh

fmt: ## format the sources
	$(CARGO) fmt

servers: ## fetch the servers that the tests talk to, once: Kafka, Prometheus, Alertmanager, schemathesis
	tests/servers/fetch.sh

clean-servers: ## remove what was fetched outside the repository
	rm -rf "$${INCIDENTD_TEST_CACHE:-$$HOME/.cache/incidentd-tests}"
