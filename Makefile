# Everything happens in .venv, with the versions of constraints.txt.
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What an installation is made from: it is made again when these change.
SETUP := pyproject.toml constraints.txt setup.py $(wildcard zoo/ops/csrc/*)

.PHONY: demo web test check proto clean

# 50,000 samples with a picture, and a few classified digits. Installs no PyTorch and trains nothing.
demo: $(VENV)/.installed-cpu
	$(BIN)/igan-zoo sample --n 50000 --out demo/samples.npz --force
	$(BIN)/igan-zoo classify docs/digits

# Everything that the tests need, and the tests.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

# Lint, format and types. mypy wants the package laid out as it is imported, so it reads a copy.
check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build
	$(PIP) --no-deps --no-build-isolation --target build/typing .
	MYPYPATH=build/typing $(BIN)/mypy -p igan_zoo

# onnxruntime for browsers, into the page's package data: with it the page can run models on the reader's own device.
# From npm, 33 MB of which 14 are kept.
ORT_WEB := onnxruntime-web-1.30.0
ORT_WEB_SHA256 := d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71
VENDOR := serving/server/web/page/vendor

web: $(VENDOR)/$(ORT_WEB).LICENSE

$(VENDOR)/$(ORT_WEB).LICENSE: | $(VENV)/.installed-cpu
	rm -rf build/web $(VENDOR)
	mkdir -p build/web $(VENDOR)
	npm pack --silent --pack-destination build/web $(subst web-,web@,$(ORT_WEB))
	echo '$(ORT_WEB_SHA256)  build/web/$(ORT_WEB).tgz' | sha256sum --check --quiet
	tar --extract --file build/web/$(ORT_WEB).tgz --directory $(VENDOR) --strip-components 2 --touch \
		$(patsubst %,package/dist/%,ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm)
	rm -r build/web
	cp "$$($(BIN)/python -c 'import onnxruntime, pathlib; print(pathlib.Path(onnxruntime.__file__).parent / "LICENSE")')" $@

# The gRPC messages of the server, compiled; needs grpcio-tools.
PROTOCOL := serving/server/protocol
proto: $(VENV)/.installed-dev
	$(BIN)/python -m grpc_tools.protoc -I$(PROTOCOL) --descriptor_set_out=$(PROTOCOL)/messages.desc inference.proto health.proto

clean:
	rm -rf $(VENV) build demo *.egg-info zoo/ops/*.so serving/server/web/page/vendor

$(BIN)/python:
	python3 -m venv $(VENV)

$(VENV)/.installed-cpu: $(SETUP) | $(BIN)/python
	test -e $(VENV)/.installed-dev || $(PIP) --editable '.[cpu]'
	touch $@

$(VENV)/.installed-dev: $(SETUP) | $(BIN)/python
	$(PIP) --editable '.[cpu,train,serve,grpc,dask,ray,dev]'
	touch $@
