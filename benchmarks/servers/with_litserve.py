"""LitServe, batching: base64 in JSON in, JSON out, as it has no other form. Run by ../serve.py."""

from __future__ import annotations

import base64
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime

MODEL, PORT, THREADS, BATCH, WAIT = sys.argv[1], *map(int, sys.argv[2:6])


class Classifier(litserve.LitAPI):
    def setup(self, _: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.shape = self.session.get_inputs()[0].shape[1:]

    def decode_request(self, request: dict[str, str], **_: Any) -> np.ndarray:
        return np.frombuffer(base64.b64decode(request["images"]), np.uint8).reshape(self.shape)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, images: np.ndarray, **_: Any) -> list[np.ndarray]:
        return self.session.run(None, {"images": images})

    def unbatch(self, output: list[np.ndarray]) -> list[list[np.ndarray]]:
        return [list(row) for row in zip(*output, strict=True)]

    def encode_response(self, output: list[np.ndarray], **_: Any) -> dict[str, Any]:
        return {"outputs": [np.asarray(array).ravel().tolist() for array in output]}


if __name__ == "__main__":
    api = Classifier(max_batch_size=BATCH, batch_timeout=WAIT / 1000)
    server = litserve.LitServer(api, accelerator="cpu", devices=1, workers_per_device=1)
    server.run(host="127.0.0.1", port=PORT, num_api_servers=1, generate_client_file=False, log_level="warning")
