# The commands of this project; `make` lists them. On a machine without `make`, scripts/setup
# installs it.
.NOTPARALLEL:
.PHONY: help setup setup-test guest build demo test lint audit

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

setup: ## install what the demo needs (Debian)
	scripts/setup demo

setup-test: ## install what the tests need (Debian)
	scripts/setup test

guest: ## build the demo's guest: a kernel and an initrd
	scripts/build-guest

build: ## build the program
	cargo build --release --locked

demo: setup guest build ## run a machine with its BMC, and print what to try
	@printf '    ipmitool -I lanplus -H 127.0.0.1 -p 6230 -U admin -P demo-password %s\n' \
		'mc info' 'power status' 'power cycle' 'sol activate  # ~. leaves it'
	$${CARGO_TARGET_DIR:-target}/release/qemu-bmc run --profile profiles/demo.toml

test: setup-test guest ## run all tests
	cargo test --locked

lint: ## check format, code, documentation and dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@if command -v cargo-deny > /dev/null; then cargo-deny --locked check bans licenses sources; \
		else echo 'cargo-deny is not installed: the dependencies were not checked'; fi

audit: ## check the dependencies for known weaknesses (network)
	cargo-deny --locked check advisories
