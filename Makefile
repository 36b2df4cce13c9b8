# The few commands of the house. Each does all set-up; each may be run again straight after.

target := x86_64-unknown-linux-gnu
release := target/$(target)/release
# Tools installed by packages lie there, and some shells of root don't look.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := demo
.PHONY: demo demo-kubelet demo-docker test conformance-short conformance bench lint setup clean

# A pod's life, step by step over the CRI. IMAGE=reference pulls that one; otherwise an image is assembled on the spot.
demo: setup
	@cargo build --quiet --release -p orlopd -p orlop-shim -p orlop-testkit --bin orlopd --bin orlop-shim --bin orlop-demo
	@$(release)/orlop-demo $(IMAGE)

# A static pod served by a real kubelet, which is built from source first: some minutes, once.
demo-kubelet: setup
	@cargo xtask conformance kubelet --demo

# `docker run -it` of the stock CLI in a real terminal, and what else people do with a container. Debian's CLI where none is there.
demo-docker: setup
	@cargo xtask conformance docker --demo

# The house ring: format, lints, laws, every test. Closes with one line of figures.
test: setup
	@cargo xtask test

# What CI runs after the house ring: suites by others, the short form, and what needs another kernel.
conformance-short: setup
	@cargo xtask conformance crictl
	@cargo xtask conformance critest
	@cargo xtask conformance kubelet
	@cargo xtask conformance docker
	@cargo xtask vm-test

# The long form: the same, and the suites on the peer, which proves the suites.
conformance: conformance-short
	@cargo xtask conformance critest --against containerd
	@cargo xtask conformance kubelet --against containerd
	@cargo xtask conformance docker --against dockerd

# orlopd beside containerd of Debian testing. BENCH holds further words: --gap 1000, --json, --cross-check.
bench: setup
	@cargo xtask bench cri $(BENCH)

lint: setup
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- -D warnings
	@cargo xtask house

setup:
	@scripts/setup

clean:
	cargo clean
