"""What KServe's REST client asks a server of; run by test_kserve_client.py with a Python that has kserve."""

from __future__ import annotations

import asyncio
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig  # type: ignore[import-not-found]
from kserve.protocol.infer_type import RequestedOutput  # type: ignore[import-not-found]


async def main(address: str, name: str, expected: str) -> None:
    answers = np.load(expected)
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    assert await client.is_server_live(address)
    assert await client.is_server_ready(address)
    assert await client.is_model_ready(address, name)
    for binary in (True, False):
        images = InferInput(name="images", shape=list(answers["images"].shape), datatype="UINT8")
        images.set_data_from_numpy(answers["images"], binary_data=binary)
        for names in (["logits", "probabilities", "realness"], ["probabilities"]):
            wanted = [RequestedOutput(output, {"binary_data": binary}) for output in names]
            request = InferRequest(model_name=name, infer_inputs=[images], request_outputs=wanted, request_id="mine")
            answer = await client.infer(address, request, model_name=name)
            assert answer.id == "mine"
            assert [output.name for output in answer.outputs] == names
            for output in answer.outputs:
                np.testing.assert_array_equal(output.as_numpy(), answers[output.name])
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
