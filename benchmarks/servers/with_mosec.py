"""mosec, batching one worker: raw pixels in, the float32 outputs one after another out. Run by ../serve.py."""

from __future__ import annotations

import os
import sys

import numpy as np
import onnxruntime
from mosec import Server, Worker


class Classifier(Worker):
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["BENCHMARK_THREADS"])
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCHMARK_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.shape = self.session.get_inputs()[0].shape[1:]

    def deserialize(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.uint8).reshape(self.shape)

    def serialize(self, data: list[np.ndarray]) -> bytes:
        return b"".join(array.tobytes() for array in data)

    def forward(self, data: list[np.ndarray]) -> list[list[np.ndarray]]:
        outputs = self.session.run(None, {"images": np.stack(data)})
        return [list(row) for row in zip(*outputs, strict=True)]


if __name__ == "__main__":
    # Workers import this file anew, and mosec reads its own options from the command line.
    os.environ["BENCHMARK_MODEL"], port, os.environ["BENCHMARK_THREADS"], batch, wait = sys.argv[1:6]
    sys.argv[1:] = ["--port", port, "--address", "127.0.0.1"]
    server = Server()
    server.append_worker(Classifier, num=1, max_batch_size=int(batch), max_wait_time=int(wait))
    server.run()
