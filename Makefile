# fulcio: a certificate authority for code signing, scripted in Lua.
# Two commands on a fresh machine: `make serve` and `make test`.

PREFIX  ?= /usr/local
DESTDIR ?=
LUA     ?= 5.4
CC      ?= gcc
BUILD   ?= build

LIBRARIES := lua$(LUA) libcrypto libssl libcurl libevent libevent_openssl \
             libnghttp2 sqlite3 libpcre2-8 libp11
HARDEN := -fstack-protector-strong -D_FORTIFY_SOURCE=2
CFLAGS ?= -O2 -g
WARN   := -std=c11 -Wall -Wextra -Wpedantic -Werror
FLAGS   = $(WARN) -D_GNU_SOURCE -fPIC $(HARDEN) -Iengine \
          $(shell pkg-config --cflags $(LIBRARIES)) $(CFLAGS)
LIBS    = $(filter-out -llua%,$(shell pkg-config --libs $(LIBRARIES))) -ldl
RELRO  := -Wl,-z,relro,-z,now

SOURCES := $(filter-out engine/main.c,$(wildcard engine/*.c))
OBJECTS := $(SOURCES:engine/%.c=$(BUILD)/%.o) $(BUILD)/llhttp.o

all: $(BUILD)/fulcio $(BUILD)/engine.so

$(BUILD)/%.o: engine/%.c | $(BUILD)
	$(CC) $(FLAGS) -MMD -MP -c $< -o $@

# llhttp is compiled from the source that Debian's node-llhttp installs.
LLHTTP := /usr/share/llhttp
$(BUILD)/llhttp.o: $(LLHTTP)/llhttp.c $(LLHTTP)/api.c $(LLHTTP)/http.c \
                   | $(BUILD)
	for part in llhttp api http; do \
	  $(CC) -w -O2 -g -fPIC $(HARDEN) -DLLHTTP_STRICT_MODE=1 \
	    -I$(LLHTTP) -c $(LLHTTP)/$$part.c -o $(BUILD)/llhttp-$$part.o \
	    || exit 1; \
	done
	$(LD) -r -o $@ $(BUILD)/llhttp-llhttp.o $(BUILD)/llhttp-api.o \
	  $(BUILD)/llhttp-http.o

# The path build/module/?.so finds it as fulcio.engine.
$(BUILD)/engine.so: $(OBJECTS)
	$(CC) -shared $(RELRO) $(CFLAGS) $^ $(LIBS) -o $@
	mkdir -p $(BUILD)/module/fulcio
	ln -sf ../../engine.so $(BUILD)/module/fulcio/engine.so

$(BUILD)/fulcio: $(BUILD)/main.o $(OBJECTS)
	$(CC) -pie -rdynamic $(RELRO) $(CFLAGS) $^ $(LIBS) -llua$(LUA) -o $@

$(BUILD):
	mkdir -p $@

-include $(wildcard $(BUILD)/*.d)

.PHONY: all
