# Programs that we did not write and that tests talk to, each in an environment of its own, from locks with sums: see
# `make test-everything`. ENVIRONMENTS may lie outside the checkout, and is then kept between runs.
ENVIRONMENTS ?= $(VENV)/environments
LISTS := tests/environments
UV := $(TOOLS)/bin/uv
UV_INSTALL := pip install --quiet --require-hashes --only-binary :all:
FOREIGN := triton kserve olah onnxruntime-1.17 onnxruntime-1.21 oracle

.PHONY: environments programs environment-locks

environments: programs web $(patsubst %,$(ENVIRONMENTS)/%/.installed,$(FOREIGN) node)

$(ENVIRONMENTS)/%/.installed: $(LISTS)/%.txt | $(BIN)/python $(TOOLS)/.installed
	$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	$(UV) $(UV_INSTALL) --python $(@D)/bin/python --requirement $<
	touch $@

# Other tools that score generators. They use the PyTorch of $(VENV), which is as large as all else here together, and
# whatever else is there; the lock has only what is not. vendi-score comes as source alone.
$(ENVIRONMENTS)/oracle/.installed: $(LISTS)/oracle.txt $(VENV)/.installed-dev | $(TOOLS)/.installed
	$(UV) venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/python -c 'import sys; print(*sys.path[1:], sep="\n")' > $(@D)/borrowed.pth
	mv $(@D)/borrowed.pth $$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	$(UV) $(UV_INSTALL) --python $(@D)/bin/python --requirement $< --no-deps --no-binary vendi-score --no-build-isolation
	touch $@

# npm compares sums with those of package-lock.json. No package's own script runs: that of onnxruntime-node fetches CUDA.
$(ENVIRONMENTS)/node/.installed: $(LISTS)/node/package.json $(LISTS)/node/package-lock.json
	rm -rf $(@D)
	mkdir -p $(@D)
	cp $^ $(@D)
	npm ci --prefix $(@D) --silent --ignore-scripts --no-audit --no-fund
	touch $@

# Debian's, where they are not here by another way.
programs:
	@command -v node >/dev/null && command -v npm >/dev/null || \
		{ echo "node and npm are not here: install Node.js 20 or newer."; exit 1; }
	@{ command -v chromium || command -v google-chrome; } >/dev/null && command -v strace >/dev/null || { apt-get update --quiet && \
		apt-get install --quiet --yes --no-install-recommends chromium strace; } || \
		{ echo "Chromium and strace are not here; install them as root: apt-get install chromium strace."; exit 1; }

environment-locks: $(TOOLS)/.installed
	for name in $(FOREIGN); do $(filter-out --constraint constraints.txt,$(COMPILE)) $(LISTS)/$$name.in \
		$$(test $$name != oracle || echo --no-deps) --output-file $(LISTS)/$$name.txt || exit 1; done
	npm install --prefix $(LISTS)/node --silent --package-lock-only --ignore-scripts
