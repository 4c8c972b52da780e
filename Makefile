# SPDX-License-Identifier: Apache-2.0
# A front for meson: two builds of one source (docs/ARCHITECTURE.md), and what
# people type.
#
#   make                 build/immure, ready to use where it is
#   make run             the same, then a real job sealed in here, with its proof
#   make test            every suite; the last line is the sum
#   make install         PREFIX=/usr/local DESTDIR=
#   make uninstall
#   make portable        what needs no Linux: policies, plans and what they render, in
#                        build/portable; CC_MACOS='zig cc -target aarch64-macos' for a Mac,
#                        JANSSON=DIR its sources, without which it reads no policy file
#   make bench           ratios against plain fork+exec and other sandboxes;
#                        QUICK=1 for half a minute, BENCH='launch --json F' for parts
#   make deps            install what is missing to build and test (apt)
#   make clean
#
#   make CC=clang        a build of its own in build/clang
#   make SANITIZE=1      ASan and UBSan, in build/asan
#   NO_INSTALL=1         install no packages

PREFIX ?= /usr/local
DESTDIR ?=
MUSL_CC ?= musl-gcc
JOBS ?=
MESON ?= meson
PYTHON ?= python3

# CC only counts when somebody set it: make has a default of its own.
ifeq ($(origin CC),default)
FULL_CC :=
B := build
else
FULL_CC := CC='$(CC)'
B := $(if $(filter gcc cc,$(CC)),build,build/$(notdir $(firstword $(CC))))
endif

SETUP := -Dprefix='$(PREFIX)'
LEAN := $(shell command -v $(MUSL_CC) 2>/dev/null)
ifneq ($(filter-out 0,$(SANITIZE)),)
B := build/asan
SETUP += -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debug
LEAN :=
endif

L := $(B)/lean
MULTIARCH := $(shell gcc -print-multiarch 2>/dev/null || cc -dumpmachine 2>/dev/null)
NINJA := ninja $(if $(JOBS),-j$(JOBS))
# Replaces a program only when it changed, under a running one as well.
COPY = cmp -s $(1) $(2) || { cp $(1) $(2).new && mv -f $(2).new $(2); }

.PHONY: all full lean portable run test test-kernels bench install uninstall deps clean tools

all: full $(if $(LEAN),lean)
	@$(call COPY,$(B)/src/cli/immure-full,$(B)/immure-full)
	@for p in $$(find $(B)/src -name immure-attack -type f); do $(call COPY,$$p,$(B)/immure-attack); done
ifneq ($(LEAN),)
	@$(call COPY,$(L)/src/cli/immure,$(B)/immure)
	@for p in $$(find $(L)/src -name immure-attack -type f); do $(call COPY,$$p,$(B)/immure-attack); done
	@$(call COPY,$(L)/src/lib/immure-egress,$(B)/immure-egress)
else
	@$(call COPY,$(B)/src/cli/immure-full,$(B)/immure)
	@$(call COPY,$(B)/src/lib/immure-egress,$(B)/immure-egress)
endif
	@$(call COPY,$(B)/src/lib/immure-image,$(B)/immure-image)
	@$(call COPY,$(B)/src/lib/immure-intercept,$(B)/immure-intercept)
	@ln -sfn immure $(B)/immure-sh

tools:
	@tools/deps.sh --check

full: tools
	@test -f $(B)/build.ninja || $(FULL_CC) $(MESON) setup $(B) $(SETUP)
	@$(NINJA) -C $(B)

lean: tools
	@test -f $(L)/build.ninja || CC='$(MUSL_CC)' $(MESON) setup $(L) -Dlean=true \
		-Dprefix='$(PREFIX)' -Dmultiarch='$(MULTIARCH)'
	@$(NINJA) -C $(L)

deps:
	@tools/deps.sh

run:
	@tools/deps.sh --build
	@$(MAKE) --no-print-directory all
	@tools/example.sh $(B)/immure

test: deps
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tools/runtests.py --build $(B)

bench: all
	@$(PYTHON) tests/bench/bench.py --immure $(B)/immure \
		$(if $(filter-out 0,$(QUICK)),--quick) $(BENCH)

# The paths compiled in follow PREFIX, so a prefix other than the one the build
# was set up for configures both builds anew.
install:
	@$(MAKE) --no-print-directory all
	@tools/install.sh install $(B) '$(PREFIX)' '$(DESTDIR)'

uninstall:
	@tools/install.sh uninstall $(B) '$(PREFIX)' '$(DESTDIR)'

portable:
	@tools/portable.sh $(B)/portable$(if $(CC_MACOS),-macos) '$(CC_MACOS)' '$(JANSSON)'

test-kernels:
	@tools/deps.sh --kernels
	@$(MAKE) --no-print-directory all
	@IMMURE_GUEST_TESTS=all IMMURE_GUESTS='$(or $(IMMURE_GUESTS),6.1 6.12 systemd ubuntu arm64)' $(PYTHON) tools/runtests.py --build $(B) kernels

clean:
	rm -rf build
