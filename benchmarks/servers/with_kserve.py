"""KServe's Python SDK, which does not batch: binary tensors of the Open Inference Protocol. Run by ../serve.py."""

from __future__ import annotations

import sys
from typing import Any

import kserve
import onnxruntime

MODEL, PORT, THREADS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Classifier(kserve.Model):
    def __init__(self) -> None:
        super().__init__("classifier")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.names = [output.name for output in self.session.get_outputs()]
        self.ready = True

    async def predict(self, payload: Any, *_: Any, **__: Any) -> Any:
        images = payload.inputs[0].as_numpy()
        outputs = []
        for name, array in zip(self.names, self.session.run(None, {"images": images}), strict=True):
            outputs.append(kserve.InferOutput(name=name, shape=list(array.shape), datatype="FP32"))
            outputs[-1].set_data_from_numpy(array, binary_data=True)
        return kserve.InferResponse(response_id=payload.id or "", model_name="classifier", infer_outputs=outputs)


if __name__ == "__main__":
    server = kserve.ModelServer(
        http_port=PORT, enable_grpc=False, workers=1, access_log_format=None, enable_docs_url=False
    )
    server.start([Classifier()])
