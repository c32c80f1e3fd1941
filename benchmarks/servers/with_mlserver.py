"""MLServer with adaptive batching: tensors in JSON, the only form its REST takes. Run by ../serve.py."""

from __future__ import annotations

import asyncio
import sys

import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):
    async def load(self) -> bool:
        model, threads = self.settings.parameters.uri, int(self.settings.parameters.version)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = NumpyCodec.decode_input(payload.inputs[0])
        outputs = self.session.run(None, {"images": images})
        encoded = [NumpyCodec.encode_output(name, array) for name, array in zip(self.names, outputs, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=encoded)


async def main() -> None:
    model, port, threads, batch, wait = sys.argv[1], *map(int, sys.argv[2:6])
    server = MLServer(
        Settings(
            host="127.0.0.1", http_port=port, grpc_port=port + 1, metrics_port=port + 2, parallel_workers=0, debug=False
        )
    )
    settings = ModelSettings(
        name="classifier",
        implementation=Classifier,
        max_batch_size=batch,
        max_batch_time=wait / 1000,
        parameters={"uri": model, "version": str(threads)},
    )
    await server.start([settings])


if __name__ == "__main__":
    asyncio.run(main())
