# BigBrotr for PostgreSQL. `make help` lists what there is.
#
# PG_CONFIG chooses the server, as everywhere with PostgreSQL. Without it: the pg_config on the PATH if it has a server's
# headers, else the newest server below /usr/lib/postgresql. Recursive on purpose: `deps` may install the server first.

PG_CONFIG ?= $(shell scripts/pg-config)
CARGO ?= $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo),cargo)
DESTDIR ?=
STRIP ?= strip

EXTENSION := bigbrotr
VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" bigbrotr.control)
TARGET := $(or $(CARGO_TARGET_DIR),target)/release

PG_MAJOR = $(shell $(PG_CONFIG) --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
PKGLIBDIR = $(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)
EXTENSIONDIR = $(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension

PURE := models core nips utils seeder finder validator monitor synchronizer refresher
# One selection and one profile for everything but `make` and `make check`: a dependency is compiled once.
WORKSPACE = --workspace --no-default-features --features bigbrotr/pg$(PG_MAJOR)

# A toolchain on the PATH works under another HOME too.
ifeq ($(RUSTUP_HOME)$(wildcard $(HOME)/.rustup),)
ifneq ($(wildcard $(dir $(CARGO))../../.rustup),)
export RUSTUP_HOME := $(abspath $(dir $(CARGO))../../.rustup)
endif
endif
export PG_CONFIG
export PGRX_PG_CONFIG_PATH = $(PG_CONFIG)

say = @if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then printf '\033[1m== %s\033[0m\n' '$(1)'; else echo '== $(1)'; fi

.DEFAULT_GOAL := build
.SUFFIXES:
.NOTPARALLEL:
.PHONY: build install uninstall check lint test fuzz soak kills demo demo-stop run bench deps toolchain headers workspace clean help

## build: compile the extension for the server of PG_CONFIG (the default)
build: toolchain headers
	$(call say,building bigbrotr $(VERSION) for PostgreSQL $(PG_MAJOR) ($(PG_CONFIG)))
	@$(CARGO) build --release -p bigbrotr --no-default-features --features pg$(PG_MAJOR)
	@echo "built $(TARGET)/libbigbrotr.so; next: sudo make install"

## install: put it where the server of PG_CONFIG looks (DESTDIR is honoured); build first
install: headers
	@test -f $(TARGET)/libbigbrotr.so || { echo "nothing built yet: run make first" >&2; exit 1; }
	@install -d '$(PKGLIBDIR)' '$(EXTENSIONDIR)'
	@# By rename: a running server keeps the file it has mapped, and writing into that would crash it.
	@scripts/install-script > $(TARGET)/$(EXTENSION)--$(VERSION).sql
	@set -e; put() { install -m "$$1" "$$2" "$$3.new"; mv -f "$$3.new" "$$3"; echo "installed $$3"; }; \
	$(STRIP) --strip-debug -o $(TARGET)/$(EXTENSION).so $(TARGET)/libbigbrotr.so; \
	put 755 $(TARGET)/$(EXTENSION).so '$(PKGLIBDIR)/$(EXTENSION).so'; \
	put 644 bigbrotr.control '$(EXTENSIONDIR)/$(EXTENSION).control'; \
	put 644 $(TARGET)/$(EXTENSION)--$(VERSION).sql '$(EXTENSIONDIR)/$(EXTENSION)--$(VERSION).sql'; \
	for file in sql/$(EXTENSION)--*.sql; do \
	  if [ -f "$$file" ]; then put 644 "$$file" "$(EXTENSIONDIR)/$${file##*/}"; fi; \
	done

## uninstall: take it out again
uninstall: headers
	@rm -fv '$(PKGLIBDIR)/$(EXTENSION).so' '$(EXTENSIONDIR)/$(EXTENSION).control' '$(EXTENSIONDIR)/$(EXTENSION)'--*.sql

## check: formatting and the tests of the pure crates; needs no PostgreSQL
check: toolchain
	$(call say,formatting)
	@$(CARGO) fmt --all --check
	$(call say,tests of the pure crates)
	@$(CARGO) test --release --quiet $(PURE:%=-p bigbrotr-%)

## lint: clippy over everything, warnings are errors
lint: toolchain headers
	$(call say,clippy)
	@$(CARGO) clippy --release --quiet $(WORKSPACE) --all-targets -- -D warnings

## test: install what is missing, build, lint, and run every test
test: deps workspace
	$(call say,formatting)
	@$(CARGO) fmt --all --check
	$(call say,all tests: pure crates; SQL and end to end on private servers)
	@$(CARGO) test --release --no-fail-fast $(WORKSPACE)
	@$(MAKE) --no-print-directory lint
	$(call say,all tests passed)

KILLS ?= 200
## kills: kill server processes at random, KILLS (200) times under load, and compare the archive; KILLS_SEED repeats a run
kills: deps workspace
	@KILLS=$(KILLS) KILLS_SEED=$(KILLS_SEED) $(CARGO) test --release $(WORKSPACE) --test kills -- --nocapture

FUZZ_INPUTS ?= 1000000
## fuzz: FUZZ_INPUTS (1,000,000) mutated inputs for every parser of strangers' bytes; FUZZ_TARGET for one, FUZZ_SEED for others
fuzz: toolchain headers
	@$(CARGO) build --release --quiet $(WORKSPACE) --bin fuzz
	@# An allocation sized by a stranger fails here.
	@ulimit -v 4000000; FUZZ_INPUTS=$(FUZZ_INPUTS) FUZZ_TARGET=$(FUZZ_TARGET) FUZZ_SEED=$(FUZZ_SEED) $(TARGET)/fuzz

# The library and every program beside it, in the selection that all but `make` use.
workspace: toolchain headers
	$(call say,building everything for PostgreSQL $(PG_MAJOR) ($(PG_CONFIG)))
	@$(CARGO) build --release $(WORKSPACE)

## soak: every kind of misbehaving relay at once, at full scale (SOAK_EVENTS, SOAK_BURST, SOAK_CAP, SOAK_RELAYS, SOAK_SECONDS)
soak: export SOAK_EVENTS ?= 20000
soak: export SOAK_BURST ?= 3000
soak: export SOAK_CAP ?= 500
soak: export SOAK_SECONDS ?= 1200
soak: deps workspace
	@$(CARGO) test --release $(WORKSPACE) --test soak -- --nocapture

## demo: install what is missing, build, and archive a small relay network on this machine; offline
demo: deps workspace
	@$(TARGET)/demo

## demo-stop: stop the server the demo left for you
demo-stop:
	@$(TARGET)/demo stop

## run: the same on the real network, from the built-in seeds, until Ctrl-C
run: deps workspace
	@# An interrupt ends the display; the server is then stopped in order.
	@trap : INT TERM HUP; $(TARGET)/demo live; status=$$?; \
	if [ $$status -gt 1 ]; then echo; $(TARGET)/demo live-stop; else exit $$status; fi

## bench: the benchmarks
bench: deps workspace
	@# Thousands of connections at a time, at both ends.
	@ulimit -n "$$(ulimit -Hn)"; $(TARGET)/bigbrotr-benches

## deps: install the system packages that are missing (Debian, Ubuntu)
deps:
	@scripts/deps

## clean: remove what was built and the demo's servers
clean:
	@if [ -x $(TARGET)/demo ]; then $(TARGET)/demo clean; fi
	@$(CARGO) clean --quiet

## help: this list
help:
	@sed -n 's/^## \([a-z-]*\): /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name text; do printf 'make %-10s %s\n' "$$name" "$$text"; done
	@echo 'PG_CONFIG=/path/to/pg_config chooses the server.'

toolchain:
	@$(CARGO) --version > /dev/null || { echo 'Rust is missing: install it by rustup (https://rustup.rs) or your packages, version 1.90 or later.' >&2; exit 1; }

# libpq brings a pg_config of its own that knows no server.
headers:
	@test -f "$$($(PG_CONFIG) --includedir-server 2> /dev/null)/postgres.h" || { \
	  echo "no server headers for PG_CONFIG=$(PG_CONFIG): run make deps, or set PG_CONFIG" >&2; exit 1; }
