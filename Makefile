# The commands of this repository. `make help` lists them.
#
# Every target does its own set-up: host packages by tools/set-up (which says
# what it installs and why), guest images by the `images` crate. What is there
# already is left alone.

CARGO ?= cargo

# More arguments for the VM of `make boot` and `make debian`, say RUN='--cpus 4'.
RUN ?=

# Arguments for the program of `make bench`, say BENCH='--runs 1 --only boot'; `--help`
# lists them.
BENCH ?=

# The disk `make debian` boots: a copy of the image, made once, that keeps what is
# done in it. Remove it to start afresh.
DISK ?= $(OUT)/debian-disk.img

TARGET = $(or $(CARGO_TARGET_DIR),target)
VM_BOOT = $(TARGET)/release/vm-boot
IMAGES = $(CARGO) run --quiet --release -p images --
OUT = images/out

.DEFAULT_GOAL := help
.PHONY: help boot debian demo test lint unit bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

boot: ## boot Debian's kernel to a busybox shell (poweroff or Ctrl-A x ends it)
	@tools/set-up boot
	$(CARGO) build --release -p vm-boot -p aot-builder -p images
	$(IMAGES) linux-busybox
	$(VM_BOOT) run --kernel $(OUT)/linux-busybox/Image \
	    --initrd $(OUT)/linux-busybox/initramfs.cpio \
	    --append "console=ttyS0" $(RUN)

debian: ## boot Debian 13 from a disk image to its login (root, no password)
	@tools/set-up boot debian
	$(CARGO) build --release -p vm-boot -p images
	$(IMAGES) debian
	@[ -e $(DISK) ] || cp --sparse=always --reflink=auto $(OUT)/debian/disk.img $(DISK)
	$(VM_BOOT) run --kernel $(OUT)/debian/Image --initrd $(OUT)/debian/initramfs.cpio \
	    --append "console=ttyS0 root=/dev/vda" --disk file=$(DISK) \
	    --memory 1G --cpus 2 $(RUN)

demo: ## run the guest that is built into vm-boot
	$(CARGO) run --release

test: ## all that CI runs: set-up, formatting, lints, tests, boots
	@tools/set-up boot debian test
	$(MAKE) --no-print-directory lint
	$(CARGO) build --profile checked -p vm-boot -p images
	$(TARGET)/checked/images linux-busybox
	$(TARGET)/checked/images firmware
	$(TARGET)/checked/images debian
	$(MAKE) --no-print-directory unit

lint: ## formatting and lints, as CI wants them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

unit: ## every test of the workspace, optimised, with overflow and debug checks on
	$(CARGO) test --workspace --profile checked --no-fail-fast

bench: ## measure against QEMU and native code, print medians and ratios
	@tools/set-up boot debian bench
	$(CARGO) build --release -p vm-boot -p images
	$(IMAGES) linux-busybox
	$(IMAGES) debian
	$(IMAGES) qemu
	$(CARGO) run --release -p tests --bin bench -- $(BENCH)
