# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The two commands of the README: `make quickstart` and `make check`. Everything else is a step of theirs.
# PRESET=debug builds with AddressSanitizer and UndefinedBehaviorSanitizer into build-debug.

PRESET ?= release
BUILD = $(if $(filter debug,$(PRESET)),build-debug,build)

.PHONY: quickstart check sanitize setup setup-check configure build clean

quickstart: configure
	cmake --build $(BUILD) --target nagc
	scripts/quickstart.sh $(BUILD)

check: setup-check build
	.venv/bin/python scripts/check.py --build $(BUILD)

# The unit and lit tests under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize:
	$(MAKE) build PRESET=debug
	.venv/bin/python scripts/check.py --build build-debug unit lit

setup:
	scripts/setup.sh

setup-check:
	scripts/setup.sh --check

configure: setup
	mkdir -p $(BUILD)
	cmake --preset $(PRESET) -DPython3_EXECUTABLE=$(CURDIR)/.venv/bin/python >$(BUILD)/configure.log || { cat $(BUILD)/configure.log; exit 1; }

build: configure
	cmake --build $(BUILD)

clean:
	rm -rf build build-debug .venv
