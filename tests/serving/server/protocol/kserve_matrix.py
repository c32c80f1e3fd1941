"""What KServe's clients can ask of a server of ours, over REST and gRPC; run by any Python that has kserve.

    python kserve_matrix.py HTTP_ADDRESS GRPC_ADDRESS EXPECTED.npz

prints a line of JSON for each check. It needs kserve and numpy, nothing of igan-zoo; see ``triton_matrix.py`` for what
the server has.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np

GENERATOR = "mnist-ssl-generator"


@dataclass
class Given:
    http: str
    grpc: str
    z: np.ndarray
    images: np.ndarray

    @property
    def base(self) -> str:
        return f"http://{self.http}"

    def rest(self) -> Any:
        from kserve import InferenceRESTClient, RESTConfig

        return InferenceRESTClient(RESTConfig(protocol="v2", retries=0))

    def stub(self) -> Any:
        from kserve import InferenceGRPCClient

        return InferenceGRPCClient(self.grpc, retries=0)

    def request(self, z: np.ndarray | None = None, *, binary: bool, **options: Any) -> Any:
        from kserve import InferInput, InferRequest

        z = self.z if z is None else z
        tensor = InferInput("latent", list(z.shape), "FP32")
        tensor.set_data_from_numpy(z, binary_data=binary)
        return InferRequest(GENERATOR, [tensor], **options)

    def check(self, response: Any) -> None:
        (output,) = response.outputs
        np.testing.assert_array_equal(output.as_numpy(), self.images)


async def rest_health(given: Given) -> None:
    client = given.rest()
    assert await client.is_server_live(given.base)
    assert await client.is_server_ready(given.base)
    assert await client.is_model_ready(given.base, GENERATOR)


async def rest_unknown_model(given: Given) -> None:
    assert not await given.rest().is_model_ready(given.base, "nothing")


async def rest_json(given: Given) -> None:
    given.check(await given.rest().infer(given.base, given.request(binary=False), model_name=GENERATOR))


async def rest_binary_input(given: Given) -> None:
    given.check(await given.rest().infer(given.base, given.request(binary=True), model_name=GENERATOR))


async def rest_binary_output(given: Given) -> None:
    from kserve.protocol.infer_type import RequestedOutput

    wanted = RequestedOutput("images", parameters={"binary_data": True})
    request = given.request(binary=True, request_outputs=[wanted], request_id="my request")
    response = await given.rest().infer(given.base, request, model_name=GENERATOR)
    assert response.id == "my request"
    given.check(response)


async def rest_wrong_shape(given: Given) -> None:
    import httpx

    answer = None
    try:
        request = given.request(given.z[:, :99], binary=True)
        await given.rest().infer(given.base, request, model_name=GENERATOR)
    except httpx.HTTPStatusError as error:
        answer = error.response
    assert answer is not None, "nothing was refused"
    assert answer.status_code == 400
    assert "takes latent of shape [-1, 100]" in answer.json()["error"]


async def grpc_health(given: Given) -> None:
    client = given.stub()
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready(GENERATOR)
    await client.close()


async def grpc_infer(given: Given) -> None:
    client = given.stub()
    for binary in (False, True):
        given.check(await client.infer(given.request(binary=binary)))
    await client.close()


CHECKS = (
    rest_health,
    rest_unknown_model,
    rest_json,
    rest_binary_input,
    rest_binary_output,
    rest_wrong_shape,
    grpc_health,
    grpc_infer,
)


async def main(http: str, grpc: str, expected: str) -> None:
    with np.load(expected) as arrays:
        given = Given(http, grpc, arrays["z"], arrays["images"])
    for check in CHECKS:
        outcome = "ok"
        try:
            await check(given)
        except Exception:
            outcome = traceback.format_exc()
        print(json.dumps({"check": check.__name__, "outcome": outcome}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
