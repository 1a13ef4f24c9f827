# The commands of this project; `make` lists them. On a machine without `make`, scripts/setup
# installs it.
.NOTPARALLEL:
.PHONY: help setup setup-test setup-container guest demo-guest python-clients build reproduce release demo
.PHONY: test matrix fuzz soak bench bench-network bench-sol bench-ipmi bench-density container-test container-measure
.PHONY: lint audit

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

setup: ## install what the demo needs (Debian)
	scripts/setup demo

setup-test: ## install what the tests need (Debian)
	scripts/setup test

guest: demo-guest ## build the guests of the demo and of the tests: kernels and initrds
	scripts/build-guest --ipmi

demo-guest:
	scripts/build-guest

build: ## build the program for release
	scripts/build-release

reproduce: ## build the release a second time, elsewhere, and compare
	scripts/reproduce

release: ## make the files of a release in target/dist
	scripts/release

demo: setup demo-guest build ## run a machine with its BMC, and print what to try
	@printf '    ipmitool -I lanplus -H 127.0.0.1 -p 6230 -U admin -P demo-password %s\n' \
		'mc info' 'power status' 'power cycle' 'sol activate  # ~. leaves it'
	$${CARGO_TARGET_DIR:-target}/release/qemu-bmc run --profile profiles/demo.toml

python-clients:
	scripts/python-clients

# Twice as many tests at once as there are processors: most wait for a machine most of the time.
test: setup-test guest python-clients ## run all tests
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(nproc)))} cargo test --locked

matrix: setup-test python-clients ## run real IPMI clients against this BMC and against OpenIPMI's simulator
	cargo test --locked --test matrix -- --test-threads 6
	MATRIX_PEER=ipmi_sim cargo test --locked --test matrix -- --test-threads 20

fuzz: ## fuzz each target for FUZZ_SECONDS (600), beginning at FUZZ_SEED (the time)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-600} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%s)} \
		cargo test --locked --release --test fuzz -- --nocapture

soak: setup-test ## run clients of all kinds at once for SOAK_SECONDS (1800), with SOAK_SEED (the time) (root)
	SOAK_SECONDS=$${SOAK_SECONDS:-1800} SOAK_SEED=$${SOAK_SEED:-$$(date +%s)} \
		cargo test --locked --release --test e2e -- --nocapture soak::

bench: bench-ipmi bench-sol bench-density bench-network ## measure all that docs/performance.md tells, one after the other (root)

bench-network: setup-test guest ## measure the wirings side by side (root)
	cargo bench --locked --bench network

bench-sol: setup-test ## measure Serial-over-LAN beside OpenIPMI's simulator
	cargo bench --locked --bench sol

bench-ipmi: setup-test python-clients ## measure sessions and commands beside OpenIPMI's simulator and a bare echo server
	cargo bench --locked --bench ipmi

bench-density: setup-test ## measure up to 200 BMCs on this host, each in its network namespace (root)
	cargo bench --locked --bench density

setup-container: ## install what the tests of the container image need (Debian)
	scripts/setup container

container-test: setup-container guest ## build the container image and try all that it promises (root, or a Docker engine)
	scripts/with-docker cargo test --locked --test container -- --ignored --nocapture checks

container-measure: setup-container ## measure the container image, for docs/container.md (root, or a Docker engine)
	scripts/with-docker cargo test --locked --test container -- --ignored --nocapture figures

lint: ## check format, code, documentation and dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@if command -v cargo-deny > /dev/null; then cargo-deny --locked check bans licenses sources; \
		else echo 'cargo-deny is not installed: the dependencies were not checked'; fi

audit: ## check the dependencies for known weaknesses (network)
	cargo-deny --locked check advisories
