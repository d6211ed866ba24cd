# fulcio: a certificate authority for code signing, scripted in Lua.
# Two commands on a fresh machine: `make serve` and `make test`.
#
#   deps     installs what `all` and `serve` need (Debian 12, apt-get)
#   all      builds build/fulcio and build/engine.so
#   serve    a CA, its log and an issuer to try them with, on this machine
#            (DATA=build/serve keeps its keys; PORT, ISSUER_PORT, LOG_PORT)
#   test     every spec, the real clients among them
#   check    format, lint, lengths, documentation, links
#   kryoptic a PKCS#11 module that the specs then use, too: minutes
#   san      the specs under AddressSanitizer and UBSan
#   coverage lines of the signing path that no spec runs
#   fuzz     every fuzzing target for SECONDS (60) each (TARGETS)
#   bench    what a certificate costs in CPU time, beside the bare floor
#   install  PREFIX= DESTDIR=

PREFIX  ?= /usr/local
DESTDIR ?=
LUA     ?= 5.4
CC      ?= gcc
BUILD   ?= build

LIBRARIES := lua$(LUA) libcrypto libssl libcurl libevent libevent_openssl \
             libnghttp2 sqlite3 libpcre2-8 libp11 p11-kit-1 zlib
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2
CFLAGS ?= -O2 -g
WARN   := -std=c11 -Wall -Wextra -Wpedantic -Werror
FLAGS   = $(WARN) -D_GNU_SOURCE -fPIC $(HARDEN) -Iengine \
          $(shell pkg-config --cflags $(LIBRARIES)) $(CFLAGS)
LIBS    = $(filter-out -llua%,$(shell pkg-config --libs $(LIBRARIES))) -ldl
RELRO  := -Wl,-z,relro,-z,now
, := ,
# Debian's folders for Lua modules, the only ones the program looks in
# besides its own.
PLACES  = -DLUA_MODULES='"$(shell pkg-config --variable=INSTALL_LMOD \
            lua$(LUA))"' \
          -DLUA_C_MODULES='"$(shell pkg-config --variable=INSTALL_CMOD \
            lua$(LUA))"'

SOURCES := $(filter-out engine/main.c,$(wildcard engine/*.c))
OBJECTS := $(SOURCES:engine/%.c=$(BUILD)/%.o) $(BUILD)/llhttp.o

all: $(BUILD)/fulcio $(BUILD)/engine.so

$(BUILD)/%.o: engine/%.c | $(BUILD)
	$(CC) $(FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/main.o: FLAGS += $(PLACES)
$(BUILD)/head.o: FLAGS += $(LLHTTP_FLAGS)

# llhttp is compiled from the source that Debian's node-llhttp installs.
LLHTTP := /usr/share/llhttp
LLHTTP_FLAGS := -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp
$(BUILD)/llhttp.o: | $(BUILD)
	for part in llhttp api http; do \
	  $(CC) -w -O2 -g -fPIC $(HARDEN) $(LLHTTP_FLAGS) \
	    -c $(LLHTTP)/$$part.c -o $(BUILD)/llhttp-$$part.o || exit 1; \
	done
	$(LD) -r -o $@ $(BUILD)/llhttp-llhttp.o $(BUILD)/llhttp-api.o \
	  $(BUILD)/llhttp-http.o

# The path build/module/?.so finds it as fulcio.engine.
$(BUILD)/engine.so: $(OBJECTS)
	$(CC) -shared $(RELRO) $(CFLAGS) $^ $(LIBS) -o $@
	mkdir -p $(BUILD)/module/fulcio
	ln -sf ../../engine.so $(BUILD)/module/fulcio/engine.so

# What Lua's modules and specs look up in the program. Nothing more: a PKCS#11
# module that has a function of the same name would call ours.
EXPORTED := $(patsubst %,-Wl$(,)--export-dynamic-symbol=%,'lua_*' 'luaL_*' \
              pkey_push pkey_check)

# Lua is linked in whole: calls inside the shared library go through a table,
# which costs a certificate several microseconds.
LUA_INSIDE := -Wl,--whole-archive -l:liblua$(LUA).a -Wl,--no-whole-archive -lm

$(BUILD)/fulcio: $(BUILD)/main.o $(OBJECTS) $(COUNTING)
	$(CC) -pie $(EXPORTED) $(RELRO) $(CFLAGS) \
	  $(if $(COUNTING),-Wl$(,)--wrap=lua_newstate) $^ $(LUA_INSIDE) $(LIBS) \
	  -o $@

# With `make -j deps all` the packages come first.
$(BUILD): | $(filter deps,$(MAKECMDGOALS))
	mkdir -p $@

-include $(wildcard $(BUILD)/*.d)

# Make again, on all processors, now that the packages are there.
QUIETLY = $(MAKE) --no-print-directory -s \
          $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# Packages -------------------------------------------------------------

DEPS := ca-certificates gcc libc6-dev libcurl4-openssl-dev libevent-dev \
        liblua5.4-dev libnghttp2-dev libp11-dev libp11-kit-dev \
        libpcre2-dev libsqlite3-dev \
        libssl-dev lua-cjson lua-yaml node-llhttp pkg-config zlib1g-dev
TEST_DEPS := curl dbus lua5.4 lua-busted libnss3-tools libtpm2-pkcs11-1 \
             libtss2-tcti-tabrmd0 opensc openssl p11-kit p11-kit-modules \
             procps python3-venv softhsm2 swtpm tpm2-abrmd valgrind
FUZZ_DEPS := clang-14 libclang-rt-14-dev llvm-14
CHECK_DEPS := clang-format-14 clang-tidy-14 cppcheck lua5.4 lua-check

# Asks dpkg first, so that it costs nothing when all is there.
define packages
@missing=; for name in $(1); do \
  dpkg-query -W -f '$${db:Status-Status}' $$name 2>/dev/null \
    | grep -qx installed || missing="$$missing $$name"; done; \
test -z "$$missing" && exit 0; \
echo "installing:$$missing"; \
root=; test "$$(id -u)" = 0 || root=sudo; \
$$root apt-get -qq update && \
$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
  -o Dpkg::Use-Pty=0 --no-install-recommends install $$missing >/dev/null
endef

deps: ; $(call packages,$(DEPS))
test-deps: ; $(call packages,$(DEPS) $(TEST_DEPS))
fuzz-deps: ; $(call packages,$(DEPS) $(FUZZ_DEPS))
check-deps: ; $(call packages,$(DEPS) $(CHECK_DEPS))

# Running and installing -----------------------------------------------

DATA ?= build/serve
export PORT ISSUER_PORT LOG_PORT GRPC_PORT METRICS_PORT

serve: deps
	+@$(QUIETLY) all
	@exec examples/serve.bash $(BUILD)/fulcio $(DATA)

# The engine goes where lua$(LUA) looks for it, so that other hosts of Lua
# can require it too; the program has its own copy inside.
ROOT   = $(DESTDIR)$(PREFIX)
SHARED = $(ROOT)/share/fulcio

install: all
	install -d $(ROOT)/bin $(SHARED)/lua/fulcio/ca $(SHARED)/policies \
	  $(ROOT)/lib/lua/$(LUA)/fulcio $(ROOT)/share/lua/$(LUA)
	install -m 755 $(BUILD)/fulcio $(ROOT)/bin/fulcio
	install -m 644 $(BUILD)/engine.so $(ROOT)/lib/lua/$(LUA)/fulcio/engine.so
	cd lua && find fulcio -name '*.lua' \
	  -exec install -D -m 644 {} $(abspath $(SHARED))/lua/{} \;
	cd policies && find . -type f \
	  -exec install -D -m 644 {} $(abspath $(SHARED))/policies/{} \;
	ln -sfn ../../fulcio/lua/fulcio $(ROOT)/share/lua/$(LUA)/fulcio

# A PKCS#11 module for specs, with other vendors' rules over SoftHSM.
$(BUILD)/hsm_shim.so: spec/hsm/shim.c | $(BUILD)
	$(CC) $(WARN) -D_GNU_SOURCE -fPIC -O2 -shared $(RELRO) \
	  $(shell pkg-config --cflags p11-kit-1) $< -ldl -o $@

# What a module's own signature costs, for the bench.
$(BUILD)/hsm_speed: spec/hsm/speed.c | $(BUILD)
	$(CC) $(WARN) -D_GNU_SOURCE -O2 $(shell pkg-config --cflags p11-kit-1) \
	  $< -ldl -o $@

# gRPC's clients, for the bench.
$(BUILD)/bench_calls: spec/bench/calls.c | $(BUILD)
	$(CC) $(WARN) -D_GNU_SOURCE -O2 $< -lnghttp2 -o $@

# Kryoptic, another PKCS#11 module for specs, from crates.io: with a Rust of
# one's own. Minutes; without it its specs are skipped.
KRYOPTIC := $(BUILD)/kryoptic/release/libkryoptic_module.so
kryoptic: $(KRYOPTIC)
$(KRYOPTIC): spec/hsm/kryoptic/Cargo.toml spec/hsm/kryoptic/module.rs
	$(call packages,libclang1-14 libsqlite3-dev libssl-dev)
	mkdir -p $(BUILD)/kryoptic/clang
	ln -sf /usr/lib/llvm-14/lib/libclang.so.1 \
	  $(BUILD)/kryoptic/clang/libclang.so
	LIBCLANG_PATH=$(abspath $(BUILD))/kryoptic/clang \
	  CARGO_TARGET_DIR=$(BUILD)/kryoptic cargo build -q --release \
	  --locked --manifest-path $<

# Specs ----------------------------------------------------------------

BUSTED := lua5.4 /usr/bin/busted --output=spec/summary.lua
SPEC ?= spec

# Modules that only specs load: OpenSSL's own certificates to compare ours
# with, a key whose signer waits, and connections by the thousand.
spec-modules: $(BUILD)/module/openssl_oracle.so \
              $(BUILD)/module/yielding_signer.so \
              $(BUILD)/module/sockets.so $(BUILD)/hsm_shim.so
$(BUILD)/module/%.so: spec/%.c $(BUILD)/engine.so
	$(CC) $(FLAGS) -shared $< -lcrypto -ldl -o $@

test: test-deps
	+@$(QUIETLY) all spec-modules
	@$(BUSTED) $(SPEC)

# Sanitizers: the same specs on a build of its own, run by the program, which
# has the sanitizers linked in. A spec that starts lua5.4 gets one that
# preloads them.
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer -Wl,-z,nodelete -Wno-format-truncation
SAN := build/asan
RUNTIME = $(foreach name,libasan libubsan,$(shell \
            $(CC) -print-file-name=$(name).so))

san: test-deps
	+@$(QUIETLY) all spec-modules BUILD=$(SAN) \
	  CFLAGS="$(SANITIZE)"
	@mkdir -p $(SAN)/bin
	@printf '#!/bin/sh\nLD_PRELOAD="%s" exec /usr/bin/lua5.4 "$$@"\n' \
	  "$(RUNTIME)" >$(SAN)/bin/lua5.4
	@chmod +x $(SAN)/bin/lua5.4
	@BUILD=$(SAN) ROUNDS=$(or $(ROUNDS),10) PATH="$(CURDIR)/$(SAN)/bin:$$PATH" \
	  $(SAN)/fulcio run /usr/bin/busted --output=spec/summary.lua $(SPEC)

# Coverage: the specs on a build that counts, then what of the signing path
# none of them ran. Programs that they start write their lines of Lua to a
# file of their own.
COVERAGE := build/coverage

$(COVERAGE)/lines.o: spec/lines.c | $(COVERAGE)
	$(CC) $(WARN) -D_GNU_SOURCE $(shell pkg-config --cflags lua$(LUA)) \
	  -O2 -c $< -o $@

coverage: test-deps
	+@$(QUIETLY) all spec-modules BUILD=$(COVERAGE) CFLAGS="-O1 -g --coverage" \
	  COUNTING=$(COVERAGE)/lines.o
	@rm -f $(COVERAGE)/*.gcda
	@: >$(COVERAGE)/programs.txt && chmod 666 $(COVERAGE)/programs.txt
	-@BUILD=$(COVERAGE) LINES=$(CURDIR)/$(COVERAGE)/programs.txt \
	  $(BUSTED) --helper=spec/coverage.lua $(SPEC)
	@BUILD=$(COVERAGE) lua5.4 spec/coverage.lua

# Fuzzing: libFuzzer on a build of its own. A target is a function of Lua in
# spec/fuzz/NAME.lua, which build/fuzz/target runs; http1 is C.
FUZZ := build/fuzz
FUZZING := -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
           -fno-sanitize-recover=all -fno-omit-frame-pointer

fuzz: fuzz-deps
	+@$(QUIETLY) all
	+@$(QUIETLY) fuzz-targets BUILD=$(FUZZ) CC=clang-14 CFLAGS="$(FUZZING)"
	@rm -rf $(FUZZ)/seeds
	@build/fulcio run spec/fuzz/seeds.lua $(FUZZ)/seeds
	@spec/fuzz/run.bash $(FUZZ) $(or $(SECONDS),60) $(TARGETS)

fuzz-targets: $(BUILD)/target $(BUILD)/http1
$(BUILD)/target $(BUILD)/http1: $(BUILD)/%: spec/fuzz/%.c $(OBJECTS)
	$(CC) $(FLAGS) -fsanitize=fuzzer -rdynamic $^ $(LIBS) -llua$(LUA) -o $@

# What a certificate costs, three rounds of SECONDS for each configuration.
bench: test-deps
	+@$(QUIETLY) all $(BUILD)/hsm_speed $(BUILD)/bench_calls
	@$(BUILD)/fulcio run spec/bench/bench.lua $(or $(SECONDS),5)

# Checks ---------------------------------------------------------------

C_FILES := $(wildcard engine/*.c engine/*.h spec/*.c spec/bench/*.c \
             spec/fuzz/*.c)
CHECKED := $(SOURCES:engine/%.c=$(BUILD)/check/%.tidy) \
           $(patsubst engine/%.c,$(BUILD)/check/%.tidy,$(wildcard \
             engine/main.c))
HOUSE := lengths leftovers links documented

check: check-deps
	+@$(QUIETLY) all check-now

check-now: check-format check-tidy check-cppcheck check-luacheck check-house
	@echo "check: clean"

check-format:
	@clang-format-14 --dry-run --Werror $(C_FILES)

check-tidy: $(CHECKED)

# One stamp a file: only what changed is looked at again.
$(BUILD)/check/%.tidy: engine/%.c .clang-tidy $(wildcard engine/*.h)
	@mkdir -p $(@D)
	@clang-tidy-14 --quiet $< -- $(FLAGS) $(PLACES) $(LLHTTP_FLAGS) \
	  >$@.log 2>&1 || { grep -v "warnings generated" $@.log; exit 1; }
	@touch $@

check-cppcheck:
	@mkdir -p $(BUILD)/check/cppcheck
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability \
	  --inline-suppr --suppressions-list=.cppcheck --error-exitcode=1 \
	  --cppcheck-build-dir=$(BUILD)/check/cppcheck -Iengine engine

LUA_FILES := $(wildcard lua policies spec examples engine/engine.lua)

check-luacheck:
	@luacheck -q --no-color $(LUA_FILES) \
	  >$(BUILD)/check/luacheck.log || { cat $(BUILD)/check/luacheck.log; \
	  exit 1; }

check-house: $(BUILD)/engine.so
	@status=0; for check in $(HOUSE); do \
	  lua5.4 spec/check/$$check.lua || status=1; done; exit $$status

format:
	clang-format-14 -i $(C_FILES)

clean:
	rm -rf $(BUILD)

.PHONY: all serve install deps test-deps check-deps test spec-modules san \
        coverage fuzz fuzz-targets fuzz-deps kryoptic bench \
        check check-now check-format check-tidy check-cppcheck \
        check-luacheck check-house format clean
