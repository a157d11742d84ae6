# SPDX-License-Identifier: MIT
# Everything is built out of tree, below build/ (build/san with SAN=1).
#
#   make            the programs and the BPF objects
#   make unit       unit tests and packet cases that need no privileges
#   make check      set-up, then every test (root)
#   make check-long tests that wait for minutes (root)
#   make check-vm   tests that need other kernels, in virtual machines (doc/vm.md)
#   make check-debug-kernel  the module on a kernel that watches itself, which is built first: half an hour (doc/vm.md)
#   make demo       set-up, then the demo world (root); KEEP=1 leaves it up
#   make install    programs, units, man pages and completion, below DESTDIR; make uninstall takes them away
#   make module KVER=RELEASE  the kernel module, for the kernel whose headers are installed
#   make dkms-install   gives the module to DKMS, which builds it for each kernel with headers (root)
#   make bench-forward  ns per packet at tc and XDP, live frames beside nftables, tables, relay, a SYN flood (root)
#   make bench-module   ns per packet of the kernel module beside nftables and IPVS, in a virtual machine
#   make bench-tunnel   kkwg beside wireguard-go (root)
#   make bench-publish  a published port, end to end, beside HAProxy over wireguard-go (root); XDP=off: checked at tc
#   make bench-control  Control with 5,100 nodes and 10,000 services
#   make fuzz       libFuzzer, FUZZ_TIME seconds a target
#   make SAN=1      the same with AddressSanitizer and UBSan
#   make TSAN=1 build/tsan/kkwg  kkwg with ThreadSanitizer, for test_kkwg_shards.py

VERSION := $(shell cat VERSION)
CC ?= cc
ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
BPFTOOL ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)

ifdef SAN
B := build/san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
OPT := -O1 -g
else ifdef TSAN
B := build/tsan
SANFLAGS := -fsanitize=thread
OPT := -O1 -g
else
B := build
SANFLAGS :=
OPT := -O2 -g
endif

PKGS := libmicrohttpd jansson sqlite3 libssl libcrypto libcurl libsystemd libnl-route-3.0 libnl-genl-3.0 libbpf libxdp zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lwslay

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith
CPPFLAGS += -D_GNU_SOURCE -DKK_VERSION='"$(VERSION)"' -I. -Iinclude -Ilib -I$B/gen $(PKG_CFLAGS)
CFLAGS += -std=gnu17 $(OPT) $(WARN) -fstack-protector-strong $(SANFLAGS)
LDFLAGS += $(SANFLAGS) -Wl,--as-needed

# A program is a folder with a main.c; the rest of the folder is also an
# archive, so that unit tests can link it.
PROGRAMS := $(patsubst %/main.c,%,$(wildcard controld/main.c gatewayd/main.c agentd/main.c agentd/relay/main.c ctl/main.c kkwg/main.c))
name-controld := kkcontrold
name-gatewayd := kkgatewayd
name-agentd := kkagentd
name-agentd/relay := kkrelay
name-ctl := kkctl
name-kkwg := kkwg

LIB_SRC := $(wildcard lib/*/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$B/obj/%.o)
LIB := $B/libkk.a
BPF_SRC := $(wildcard bpf/*.bpf.c)
BPF_OBJ := $(BPF_SRC:bpf/%.c=$B/bpf/%.o)
BPF_SKEL := $(BPF_SRC:bpf/%.bpf.c=$B/gen/%.skel.h)
BINS := $(foreach p,$(PROGRAMS),$B/$(name-$p))

UNIT_SRC := $(wildcard tests/unit/test_*.c tests/unit/*/test_*.c)
UNIT := $(UNIT_SRC:tests/unit/%.c=$B/unit/%)

.DELETE_ON_ERROR:
.PHONY: all install uninstall module dkms-install dkms-remove bench-forward unit-build vm-build unit check check-vm check-bare demo fmt lint clean
.SECONDARY:

all: $(BINS) $(BPF_OBJ)

$B/obj/%.o: %.c | $(BPF_SKEL)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# Has the contract in it.
$B/obj/controld/rest/contract.o: doc/openapi.json

$(LIB): $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

# $(1): the program's folder, $(2): its other objects
define program
$B/$(subst /,-,$(1)).a: $(2)
	@rm -f $$@
	ar rcs $$@ $(2)
$B/$(name-$(1)): $B/obj/$(1)/main.o $B/$(subst /,-,$(1)).a $(LIB)
	$(CC) $(LDFLAGS) -o $$@ $$^ $(PKG_LIBS) -lm -lpthread
endef
# Only agentd has a program in a sub-folder; other sub-folders are parts of their program.
sources = $(filter-out %/main.c $(if $(filter agentd,$1),agentd/relay/%),$(wildcard $1/*.c $1/*/*.c))
$(foreach p,$(PROGRAMS),$(eval $(call program,$p,$(patsubst %.c,$B/obj/%.o,$(call sources,$p)))))
ARCHIVES := $(foreach p,$(PROGRAMS),$B/$(subst /,-,$p).a)

# BPF: one object per program file and its skeleton, embedded into the loader.
BPF_CFLAGS := -std=gnu17 -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-parameter -D__TARGET_ARCH_x86 \
	-I. -Iinclude -I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
$B/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c -o $@ $<

$B/gen/%.skel.h: $B/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(BPFTOOL) gen skeleton $< name $* > $@

# tests/unit/test_x.c links the library; tests/unit/PROGRAM/test_x.c that program's archive too.
$B/unit/%: $B/obj/tests/unit/%.o $(LIB) $(ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(wildcard $B/$(patsubst %/,%,$(dir $*)).a) $(LIB) $(PKG_LIBS) -lcmocka -lm -lpthread

# BPF programs of benchmarks.
$B/bpf/%.bpf.o: tests/bench/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c -o $@ $<
$(patsubst %,$B/obj/tests/bench/bench_%.o,live relay flood module): $B/gen/live.skel.h
$B/obj/tests/bench/bench_forward.o $B/obj/tests/bench/bench_xdp.o: $B/gen/drive.skel.h

# Lets allocations fail.
$B/unit/kkwg/test_wg_shards: private LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

# tests/bench/bench_x.c measures; nothing runs it but the one who asks.
$B/bench/%: $B/obj/tests/bench/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $< $(LIB) $(PKG_LIBS) -lm -lpthread

BENCH_FORWARD := $(addprefix $B/bench/bench_,forward tables xdp live relay flood)
bench-forward: $(BENCH_FORWARD) $B/bench/connect
	$B/bench/bench_forward
	$B/bench/bench_tables
	$B/bench/bench_xdp
	$B/bench/bench_live
	$B/bench/bench_relay
	$B/bench/bench_flood $B/bench/connect

# What the whole-system tests need besides the programs.
unit-build: $(UNIT) $B/bench/flood

# tests/vm/test_x.c: the same, but run on the kernels of make check-vm.
VM_TEST_SRC := $(wildcard tests/vm/test_*.c) tests/vm/fuzz_genl.c
VM_TEST := $(VM_TEST_SRC:tests/vm/%.c=$B/vm/%)
$B/vm/fuzz_genl: $B/obj/tests/vm/fuzz_message.o $B/obj/tests/vm/fuzz_traffic.o
$B/vm/test_module_faults: $B/obj/tests/vm/fuzz_traffic.o
$B/vm/%: $B/obj/tests/vm/%.o $(LIB)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(PKG_LIBS) -lcmocka -lm -lpthread

vm-build: $(VM_TEST)

unit: all unit-build
	scripts/check unit

# Whoever asks for everything has nothing else to do; make -j N check is taken at its word.
ALL_CPUS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

check:
	scripts/bootstrap
	$(MAKE) $(ALL_CPUS) all unit-build vm-build
	$(MAKE) $(ALL_CPUS) SAN=1 all unit-build
	$(MAKE) $(ALL_CPUS) TSAN=1 build/tsan/kkwg
	scripts/check all

.PHONY: check-long
check-long: all
	scripts/check long

# On other kernels, in virtual machines; KK_VM_KERNELS="6.1 6.12" says which.
check-vm:
	scripts/bootstrap
	$(MAKE) $(ALL_CPUS) all unit-build vm-build
	KK_FUZZ_S=$${KK_FUZZ_S:-120} scripts/check vm

# The module's tests with KASAN, lockdep, kmemleak and others looking on (scripts/vm debug).
.PHONY: check-debug-kernel
check-debug-kernel:
	scripts/bootstrap
	$(MAKE) $(ALL_CPUS) vm-build
	scripts/check debug

# ns per packet of the module beside nftables, flowtable, IPVS and plain forwarding, in a virtual machine of BENCH_KERNEL;
# BENCH_OPTIONS=--icount counts instructions instead, on a machine that others use.
BENCH_KERNEL ?= 6.12
.PHONY: bench-module
bench-module: $B/bench/bench_module
	tests/bench/module $(BENCH_KERNEL) $(BENCH_OPTIONS)

# Interleaved with PEER (default wireguard-go); see tests/bench/tunnel.py.
.PHONY: bench-tunnel
bench-tunnel: $B/kkwg $B/bench/rr
	/usr/bin/python3 tests/bench/tunnel.py

# A published port beside HAProxy over PEER (default wireguard-go); CPU=cgroup beside others; see tests/bench/publish.py.
.PHONY: bench-publish
bench-publish: all $B/bench/rr $B/bench/connect
	/usr/bin/python3 tests/bench/publish.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CPU),--cpu $(CPU)) $(if $(XDP),--xdp $(XDP))

# Control killed 200 times in the middle of writes, and how long it took to start; make check does it 12 times.
.PHONY: check-control-kill
check-control-kill: $B/kkcontrold
	KK_KILLS=200 scripts/check system -k test_killed_again_and_again --timeout=900 -s

# Control with 5,100 nodes and 10,000 services; see tests/bench/control.py.
.PHONY: bench-control
bench-control: $B/kkcontrold $B/bench/control_nodes
	/usr/bin/python3 -B tests/bench/control.py

# libFuzzer: FUZZ_TIME seconds for each target of the tunnel and for the forwarding core; finds go to build/fuzz.
FUZZ_TIME ?= 60
FUZZ_WG := wg_message kkwg_uapi kkwg_offload
.PHONY: fuzz fuzz-wg fuzz-core
fuzz: fuzz-wg fuzz-core fuzz-control
build/fuzz/%: tests/fuzz/fuzz_%.c $(wildcard lib/wg/*.[ch] kkwg/*.[ch])
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g -DKK_FUZZ -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $@ $< $(wildcard lib/wg/*.c lib/util/*.c) $(filter-out kkwg/main.c,$(wildcard kkwg/*.c)) -lcrypto -ljansson
fuzz-wg: $(FUZZ_WG:%=build/fuzz/%)
	@for t in $(FUZZ_WG); do mkdir -p build/fuzz/corpus/$$t && \
		build/fuzz/$$t -max_total_time=$(FUZZ_TIME) -artifact_prefix=build/fuzz/$$t- -timeout=10 -print_final_stats=1 \
			build/fuzz/corpus/$$t tests/fuzz/corpus/$$t || exit 1; done

build/fuzz/core: tests/fuzz/fuzz_core.c $(wildcard lib/core/*.c include/kk/core/*.h lib/core/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $@ $(filter %.c,$^)
# The short way through the core beside the general one, tables and all.
FUZZ_WAYS := tests/fuzz/fuzz_ways.c $(wildcard lib/core/*.c lib/util/*.c)
build/fuzz/ways: $(FUZZ_WAYS) $(wildcard include/kk/core/*.h lib/core/*.h tests/unit/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $@ $(FUZZ_WAYS) -ljansson -lcrypto -lcmocka
fuzz-core: build/fuzz/core build/fuzz/ways
	@mkdir -p build/fuzz/corpus/core build/fuzz/cases
	/usr/bin/python3 -B tests/packets/generate.py --corpus build/fuzz/cases
	$< -max_total_time=$(FUZZ_TIME) -max_len=8192 -artifact_prefix=$<- -timeout=10 -print_final_stats=1 \
		build/fuzz/corpus/core build/fuzz/cases
	@mkdir -p build/fuzz/corpus/ways build/fuzz/ways-cases
	/usr/bin/python3 -B tests/packets/generate.py --corpus build/fuzz/ways-cases --tables
	build/fuzz/ways -max_total_time=$(FUZZ_TIME) -max_len=8192 -artifact_prefix=build/fuzz/ways- -timeout=10 \
		-print_final_stats=1 build/fuzz/corpus/ways build/fuzz/ways-cases tests/fuzz/corpus/ways

# Control: tokens and messages, requests to every operation, nodes' WebSockets.
FUZZ_CONTROL := control control_rest control_ws
FUZZ_CONTROL_LIB := $(wildcard lib/proto/*.c lib/util/*.c)
FUZZ_CONTROLD := $(filter-out controld/main.c controld/password.c,$(wildcard controld/*.c controld/*/*.c)) \
	$(wildcard lib/ws/*.c lib/poll/*.c)
build/fuzz/control: tests/fuzz/fuzz_control.c $(FUZZ_CONTROL_LIB) $(wildcard lib/proto/*.h lib/util/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		-o $@ $(filter %.c,$^) -ljansson -lcrypto
FUZZ_CONTROL_OBJ := $(patsubst %.c,build/fuzz/obj/%.o,$(FUZZ_CONTROLD) $(FUZZ_CONTROL_LIB))
build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g -DKK_FUZZ -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
		-MMD -MP -c -o $@ $<
build/fuzz/obj/controld/rest/contract.o: doc/openapi.json
build/fuzz/control_rest build/fuzz/control_ws: build/fuzz/control_%: build/fuzz/obj/tests/fuzz/fuzz_control_%.o $(FUZZ_CONTROL_OBJ)
	$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ -ljansson -lsqlite3 -lssl -lcrypto -lsystemd -lwslay -lz -lpthread
-include $(FUZZ_CONTROL_OBJ:.o=.d) $(patsubst %,build/fuzz/obj/tests/fuzz/fuzz_control_%.d,rest ws)
.PHONY: fuzz-control
fuzz-control: $(FUZZ_CONTROL:%=build/fuzz/%)
	@for t in $(FUZZ_CONTROL); do mkdir -p build/fuzz/corpus/$$t && \
		build/fuzz/$$t -max_total_time=$(FUZZ_TIME) -artifact_prefix=build/fuzz/$$t- -timeout=10 -print_final_stats=1 \
			build/fuzz/corpus/$$t tests/fuzz/corpus/$$t || exit 1; done

check-bare:
	scripts/check-bare

demo:
	scripts/bootstrap
	$(MAKE) all
	scripts/demo $(if $(KEEP),--keep)

# Tables that a program wrote stay as it wrote them.
C_FILES = $(shell git ls-files '*.c' '*.h' ':!tests/unit/wg_vectors.h')
# The module: the kernel's own build in a copy, since it writes beside its sources. KVER: as uname -r prints it.
KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build
MODULE_SRC := Kbuild VERSION $(wildcard kmod/*.[ch] include/uapi/*.h include/kk/core/*.h)

module: $B/kmod/$(KVER)/kakuremichi.ko

$B/kmod/%/kakuremichi.ko: $(MODULE_SRC)
	@test -d $(KDIR) || { echo "make: no headers of kernel $*: install linux-headers-$*, or give KVER=" >&2; exit 1; }
	@mkdir -p $(@D)
	cp --parents -p $(MODULE_SRC) $(@D)
	+$(MAKE) -C $(KDIR) M=$(CURDIR)/$(@D) $(if $(V),,-s) modules

# Below /usr, where the units look for them. Nothing that runs is touched: restart it yourself.
INSTALL_PROGRAMS := $(foreach p,$(PROGRAMS),$(name-$p))
install-dir-kkctl := /usr/bin
install-dir-kkwg := /usr/bin
install-dir-kkrelay := /usr/libexec/kakuremichi
install-dir = $(or $(install-dir-$1),/usr/sbin)
INSTALL_MAN := $(wildcard doc/*.[1-8])
INSTALL_UNITS := $(wildcard packaging/*.service)

# $(1): file, $(2): folder, $(3): mode
define install-file
	install -D -m $3 $1 $(DESTDIR)$2/$(notdir $1)

endef
define uninstall-file
	rm -f $(DESTDIR)$2/$(notdir $1)

endef
folder-of = $2
# $(1): what is done to each
install-all = $(foreach p,$(INSTALL_PROGRAMS),$(call $1,$B/$p,$(call install-dir,$p),755)) \
	$(foreach f,$(INSTALL_MAN),$(call $1,$f,/usr/share/man/man$(subst .,,$(suffix $f)),644)) \
	$(foreach f,$(INSTALL_UNITS),$(call $1,$f,/usr/lib/systemd/system,644)) \
	$(call $1,packaging/bash-completion/kkctl,/usr/share/bash-completion/completions,644)

install: $(BINS)
	$(call install-all,install-file)

# Folders that are only ours go too; below DESTDIR, all that are empty then.
uninstall:
	$(call install-all,uninstall-file)
	@for folder in $(if $(DESTDIR),$(sort $(call install-all,folder-of)),/usr/libexec/kakuremichi); do \
		if [ -d "$(DESTDIR)$$folder" ]; then \
			cd "$(or $(DESTDIR),/)" && rmdir $(if $(DESTDIR),-p) --ignore-fail-on-non-empty "$${folder#/}"; \
		fi; \
	done

# As a package would put it: a copy of the sources, which DKMS builds for KVER now and for later kernels by itself.
DKMS_SRC := /usr/src/kakuremichi-$(VERSION)

dkms-install:
	@command -v dkms >/dev/null || { echo "make: no dkms here: apt-get install dkms" >&2; exit 1; }
	mkdir -p $(DKMS_SRC)
	cp --parents -p $(MODULE_SRC) $(DKMS_SRC)
	sed 's/@VERSION@/$(VERSION)/' dkms.conf >$(DKMS_SRC)/dkms.conf
	dkms install --force kakuremichi/$(VERSION) -k $(KVER)

dkms-remove:
	dkms remove kakuremichi/$(VERSION) --all
	rm -rf $(DKMS_SRC)

fmt:
	clang-format -i $(C_FILES)

lint: $(BPF_SKEL)
	scripts/lint

clean:
	rm -rf build

-include $(shell find $B -name '*.d' 2>/dev/null)
