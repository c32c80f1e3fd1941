"""Ray Serve, batching one replica: raw pixels in, the float32 outputs one after another out. Run by ../serve.py."""

from __future__ import annotations

import signal
import sys
import tempfile

import numpy as np
import onnxruntime
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

MODEL, PORT, THREADS, BATCH, WAIT = sys.argv[1], *map(int, sys.argv[2:6])


@serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Classifier:
    def __init__(self, model: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.shape = self.session.get_inputs()[0].shape[1:]

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WAIT / 1000)
    async def run(self, images: list[np.ndarray]) -> list[list[np.ndarray]]:
        outputs = self.session.run(None, {"images": np.stack(images)})
        return [list(row) for row in zip(*outputs, strict=True)]

    async def __call__(self, request: Request) -> Response:
        row = await self.run(np.frombuffer(await request.body(), np.uint8).reshape(self.shape))
        return Response(b"".join(array.tobytes() for array in row))


if __name__ == "__main__":
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=tempfile.mkdtemp(prefix="ray-benchmark-")
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT, "access_log": False})
    serve.run(Classifier.bind(MODEL, THREADS), route_prefix="/classify")
    signal.pause()
