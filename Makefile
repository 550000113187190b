# The commands of this repository. `make help` lists them.
#
# Every target does its own set-up: host packages by tools/set-up (which says
# what it installs and why), guest images by the `images` crate.

CARGO ?= cargo
VM_BOOT = target/release/vm-boot

# Arguments for the VM of `make boot`, for example RUN='--cpus 4'.
RUN ?=

.DEFAULT_GOAL := help
.PHONY: help boot debian test lint unit bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

lint: ## formatting and lints, as CI wants them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

unit: ## every test of the workspace, optimised, with overflow and debug checks on
	$(CARGO) test --workspace --profile checked

test: ## all that CI runs: set-up, lint, tests, boots
	tools/set-up boot debian test
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory unit
