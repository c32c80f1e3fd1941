"""Everything that tritonclient can ask of a server of ours, over HTTP and gRPC; run by any Python that has it.

    python triton_matrix.py HTTP_ADDRESS GRPC_ADDRESS EXPECTED.npz

prints a line of JSON for each check. It needs tritonclient, numpy and Pillow, nothing of igan-zoo. The server has the
model ``mnist-ssl``, a model ``twins`` of two versions, which lets itself be unloaded, and ``tiny``, a scorer.
``EXPECTED.npz`` has latents, the generator's images, and the classifier's probabilities of them.
"""

from __future__ import annotations

import base64
import io
import json
import queue
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

GENERATOR, CLASSIFIER, TWINS = "mnist-ssl-generator", "mnist-ssl-classifier", "twins-generator"


@dataclass
class Given:
    kind: Any
    client: Any
    z: np.ndarray
    images: np.ndarray
    probabilities: np.ndarray

    @property
    def http(self) -> bool:
        return bool(self.kind.__name__.endswith("http"))

    def latent(self, z: np.ndarray | None = None, datatype: str = "FP32", **options: object) -> Any:
        z = self.z if z is None else z
        tensor = self.kind.InferInput("latent", list(z.shape), datatype)
        tensor.set_data_from_numpy(z, **options)
        return tensor

    def refused(self, call: Callable[[], object], status: str, sentence: str) -> None:
        from tritonclient.utils import InferenceServerException

        caught = None
        try:
            call()
        except InferenceServerException as error:
            caught = error
        assert caught is not None, "nothing was refused"
        assert status in str(caught.status()), caught.status()
        assert sentence in caught.message(), caught.message()
        assert "\n" not in caught.message()


def live_and_ready(given: Given) -> None:
    assert given.client.is_server_live()
    assert given.client.is_server_ready()


def server_metadata(given: Given) -> None:
    found = given.client.get_server_metadata()
    name, extensions = (found["name"], found["extensions"]) if given.http else (found.name, found.extensions)
    assert name == "igan-zoo"
    assert "model_repository" in extensions


def model_metadata(given: Given) -> None:
    found = given.client.get_model_metadata(CLASSIFIER, **({} if given.http else {"as_json": True}))
    assert found["versions"] == ["1"]
    assert [tensor["name"] for tensor in found["outputs"]] == ["logits", "probabilities", "realness"]
    assert list(map(int, found["inputs"][0]["shape"])) == [-1, 28, 28, 1]
    assert found["inputs"][0]["datatype"] == "UINT8"


def model_ready(given: Given) -> None:
    assert given.client.is_model_ready(GENERATOR)
    assert given.client.is_model_ready(GENERATOR, "1")


def infer_in_one_piece(given: Given) -> None:
    result = given.client.infer(GENERATOR, [given.latent()], request_id="my request")
    np.testing.assert_array_equal(result.as_numpy("images"), given.images)
    found = result.get_response()
    assert (found["id"] if given.http else found.id) == "my request"
    assert (found["model_version"] if given.http else found.model_version) == "1"


def infer_in_json_and_binary_all_four_ways(given: Given) -> None:
    for binary_input in (True, False):
        for binary_output in (True, False):
            wanted = given.kind.InferRequestedOutput("images", binary_data=binary_output)
            tensor = given.latent(binary_data=binary_input)
            result = given.client.infer(GENERATOR, [tensor], outputs=[wanted])
            np.testing.assert_array_equal(result.as_numpy("images"), given.images)


def infer_in_typed_contents(given: Given) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    request = service_pb2.ModelInferRequest(model_name=GENERATOR)
    tensor = request.inputs.add(name="latent", datatype="FP32", shape=given.z.shape)
    tensor.contents.fp32_contents.extend(given.z.ravel().tolist())
    answer = service_pb2_grpc.GRPCInferenceServiceStub(given.client._channel).ModelInfer(request)
    assert not answer.raw_output_contents
    (output,) = answer.outputs
    found = np.array(output.contents.uint_contents, np.uint8).reshape(output.shape)
    np.testing.assert_array_equal(found, given.images)


def infer_with_selected_outputs(given: Given) -> None:
    tensor = given.kind.InferInput("images", list(given.images.shape), "UINT8")
    tensor.set_data_from_numpy(given.images)
    wanted = [given.kind.InferRequestedOutput(name) for name in ("realness", "probabilities")]
    result = given.client.infer(CLASSIFIER, [tensor], outputs=wanted)
    # Other batches round differently.
    np.testing.assert_allclose(result.as_numpy("probabilities"), given.probabilities, atol=1e-5)
    assert result.as_numpy("realness").shape == (len(given.images),)
    assert result.as_numpy("logits") is None


def infer_more_than_a_batch(given: Given) -> None:
    result = given.client.infer(GENERATOR, [given.latent(np.tile(given.z, (25, 1)))])
    np.testing.assert_array_equal(result.as_numpy("images"), np.tile(given.images, (25, 1, 1, 1)))


def infer_nothing(given: Given) -> None:
    assert given.client.infer(GENERATOR, [given.latent(given.z[:0])]).as_numpy("images").shape == (0, 28, 28, 1)


def images_of_any_size(given: Given) -> None:
    for height in (5, 9):
        tensor = given.kind.InferInput("images", [2, height, 7, 3], "UINT8")
        tensor.set_data_from_numpy(np.full((2, height, 7, 3), 51, np.uint8))
        features = given.client.infer("tiny-scorer", [tensor]).as_numpy("features")
        np.testing.assert_allclose(features, 2.0, rtol=1e-6)


def compressed_requests(given: Given) -> None:
    for way in ("gzip", "deflate"):
        options = {"request_compression_algorithm" if given.http else "compression_algorithm": way}
        result = given.client.infer(GENERATOR, [given.latent()], **options)
        np.testing.assert_array_equal(result.as_numpy("images"), given.images)


def compressed_responses(given: Given) -> None:
    for way in ("gzip", "deflate"):
        result = given.client.infer(GENERATOR, [given.latent()], response_compression_algorithm=way)
        np.testing.assert_array_equal(result.as_numpy("images"), given.images)


def asynchronous(given: Given) -> None:
    if given.http:
        waiting = [given.client.async_infer(GENERATOR, [given.latent()]) for _ in range(5)]
        results = [one.get_result() for one in waiting]
    else:
        answers: queue.Queue[Any] = queue.Queue()
        for _ in range(5):
            given.client.async_infer(GENERATOR, [given.latent()], lambda result, error: answers.put((result, error)))
        found = [answers.get(timeout=30) for _ in range(5)]
        assert not [error for _, error in found if error]
        results = [result for result, _ in found]
    for result in results:
        np.testing.assert_array_equal(result.as_numpy("images"), given.images)


def stream(given: Given) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    given.client.start_stream(lambda result, error: answers.put((result, error)))
    given.client.async_stream_infer(GENERATOR, [given.latent()], request_id="first")
    given.client.async_stream_infer(GENERATOR, [given.latent(given.z[:, :99])], request_id="second")
    given.client.async_stream_infer(GENERATOR, [given.latent()], request_id="third")
    (first, _), (_, error), (third, _) = (answers.get(timeout=30) for _ in range(3))
    given.client.stop_stream()
    assert "takes latent of shape" in error.message()
    for name, result in (("first", first), ("third", third)):
        assert result.get_response().id == name
        np.testing.assert_array_equal(result.as_numpy("images"), given.images)


def repository_index(given: Given) -> None:
    found = given.client.get_model_repository_index(**({} if given.http else {"as_json": True}))
    lines = found if given.http else found["models"]
    states = {(line["name"], line["version"]): line["state"] for line in lines}
    assert states[GENERATOR, "1"] == "READY"
    assert states[TWINS, "2"] == "READY"


def model_config(given: Given) -> None:
    found = given.client.get_model_config(CLASSIFIER, **({} if given.http else {"as_json": True}))
    config = found if given.http else found["config"]
    assert config["max_batch_size"] == 32
    assert config["input"][0]["data_type"] == "TYPE_UINT8"
    assert config["parameters"]["execution_provider"]["string_value"] == "CPUExecutionProvider"


def statistics(given: Given) -> None:
    def count() -> int:
        found = given.client.get_inference_statistics(GENERATOR, **({} if given.http else {"as_json": True}))
        return int(found["model_stats"][0].get("inference_count", 0))

    before = count()
    given.client.infer(GENERATOR, [given.latent()])
    assert count() == before + len(given.z)
    assert given.client.get_inference_statistics()


def unload_and_load(given: Given) -> None:
    given.client.unload_model(TWINS)
    assert not given.client.is_model_ready(TWINS)
    unavailable = "503" if given.http else "UNAVAILABLE"
    given.refused(lambda: given.client.infer(TWINS, [given.latent()]), unavailable, "is not loaded")
    given.client.load_model(TWINS)
    assert given.client.is_model_ready(TWINS)
    assert given.client.infer(TWINS, [given.latent()]).as_numpy("images").shape == given.images.shape


def load_unknown(given: Given) -> None:
    missing = "404" if given.http else "NOT_FOUND"
    given.refused(lambda: given.client.load_model("nothing"), missing, "No model 'nothing' is served")


def versions(given: Given) -> None:
    one, two, newest = (
        given.client.infer(TWINS, [given.latent()], model_version=version).as_numpy("images")
        for version in ("1", "2", "")
    )
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(newest, two)
    found = given.client.get_model_metadata(TWINS, **({} if given.http else {"as_json": True}))
    assert found["versions"] == ["1", "2"]
    missing = "404" if given.http else "NOT_FOUND"
    given.refused(lambda: given.client.infer(TWINS, [given.latent()], model_version="3"), missing, "has no version '3'")


def wrong_requests(given: Given) -> None:
    bad, missing = ("400", "404") if given.http else ("INVALID_ARGUMENT", "NOT_FOUND")

    def asked(tensor: Any, name: str = GENERATOR, **options: Any) -> Callable[[], object]:
        return lambda: given.client.infer(name, [tensor], **options)

    given.refused(
        asked(given.latent(given.z[:, :99])),
        bad,
        f"{GENERATOR} takes latent of shape [-1, 100], not [{len(given.z)}, 99].",
    )
    given.refused(asked(given.latent(), "nothing"), missing, "No model 'nothing' is served")
    given.refused(asked(given.latent(given.z.astype(np.float64), "FP64")), bad, "as FP32, not FP64")
    renamed = given.kind.InferInput("z", list(given.z.shape), "FP32")
    renamed.set_data_from_numpy(given.z)
    given.refused(asked(renamed), bad, "takes the input latent and nothing else; it was given z.")
    unknown = given.kind.InferRequestedOutput("pictures")
    given.refused(asked(given.latent(), outputs=[unknown]), bad, "has no output 'pictures'; it has: images.")


def half_precision(given: Given) -> None:
    bad = "400" if given.http else "INVALID_ARGUMENT"
    tensor = given.latent(given.z.astype(np.float16), "FP16")
    given.refused(lambda: given.client.infer(GENERATOR, [tensor]), bad, "takes latent as FP32, not FP16.")


def text_elements(given: Given) -> None:
    bad = "400" if given.http else "INVALID_ARGUMENT"
    tensor = given.latent(np.array([[b"a", b"bc"]], np.object_), "BYTES")
    given.refused(lambda: given.client.infer(GENERATOR, [tensor]), bad, "takes latent as FP32, not BYTES.")


def shared_memory(given: Given) -> None:
    bad = "400" if given.http else "INVALID_ARGUMENT"
    tensor = given.kind.InferInput("latent", list(given.z.shape), "FP32")
    tensor.set_shared_memory("mine", given.z.nbytes)
    given.refused(lambda: given.client.infer(GENERATOR, [tensor]), bad, "shared")


def classes(given: Given) -> None:
    images = given.kind.InferInput("images", list(given.images.shape), "UINT8")
    images.set_data_from_numpy(given.images)
    wanted = [given.kind.InferRequestedOutput("probabilities", class_count=3)]
    found = given.client.infer(CLASSIFIER, [images], outputs=wanted).as_numpy("probabilities")
    assert found.shape == (len(given.images), 3)
    for row, probabilities in zip(found, given.probabilities, strict=True):
        for element, index in zip(row, np.argsort(-probabilities, kind="stable"), strict=False):
            value, number, label = element.decode().split(":")
            assert (float(value), int(number), label) == (round(float(probabilities[index]), 6), index, str(index))


def encoded_images(given: Given) -> None:
    from PIL import Image

    files = []
    for image in given.images:
        content = io.BytesIO()
        Image.fromarray(image[:, :, 0]).save(content, "PNG")
        files.append(content.getvalue())
    for elements in (files, [base64.b64encode(file) for file in files]):
        tensor = given.kind.InferInput("image_bytes", [len(files), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(elements, np.object_)[:, None])
        found = given.client.infer(CLASSIFIER, [tensor]).as_numpy("probabilities")
        np.testing.assert_allclose(found, given.probabilities, atol=1e-5)
    damaged = given.kind.InferInput("image_bytes", [1], "BYTES")
    damaged.set_data_from_numpy(np.array([b"no image"], np.object_))
    bad = "400" if given.http else "INVALID_ARGUMENT"
    refused = "Image 0 of image_bytes is not a PNG"
    given.refused(lambda: given.client.infer(CLASSIFIER, [damaged]), bad, refused)


def what_the_server_does_not_have(given: Given) -> None:
    bad, client = "501" if given.http else "UNIMPLEMENTED", given.client
    for call in (client.get_system_shared_memory_status, client.get_cuda_shared_memory_status):
        given.refused(call, bad, "This server shares no memory with its clients; send tensors in the request.")
    given.refused(lambda: client.register_system_shared_memory("a", "/a", 10), bad, "shares no memory")
    given.refused(client.unregister_cuda_shared_memory, bad, "shares no memory")
    given.refused(client.get_trace_settings, bad, "has no trace settings")
    given.refused(lambda: client.update_trace_settings(GENERATOR, {"trace_level": "OFF"}), bad, "has no trace settings")
    given.refused(client.get_log_settings, bad, "log of this server")


BOTH = (
    live_and_ready,
    server_metadata,
    model_metadata,
    model_ready,
    infer_in_one_piece,
    infer_with_selected_outputs,
    infer_more_than_a_batch,
    infer_nothing,
    images_of_any_size,
    compressed_requests,
    asynchronous,
    repository_index,
    model_config,
    statistics,
    unload_and_load,
    load_unknown,
    versions,
    wrong_requests,
    half_precision,
    text_elements,
    shared_memory,
    classes,
    encoded_images,
    what_the_server_does_not_have,
)
CHECKS = {
    "http": (*BOTH, infer_in_json_and_binary_all_four_ways, compressed_responses),
    "grpc": (*BOTH, infer_in_typed_contents, stream),
}
NAMES = [f"{way}: {check.__name__}" for way, checks in CHECKS.items() for check in checks]


def main(http_address: str, grpc_address: str, expected: str) -> None:
    import tritonclient.grpc
    import tritonclient.http

    with np.load(expected) as arrays:
        known = [arrays[name] for name in ("z", "images", "probabilities")]
    for way, kind, address in (("http", tritonclient.http, http_address), ("grpc", tritonclient.grpc, grpc_address)):
        client = kind.InferenceServerClient(address)
        for check in CHECKS[way]:
            outcome = "ok"
            try:
                check(Given(kind, client, *known))
            except Exception:
                outcome = traceback.format_exc()
            print(json.dumps({"check": f"{way}: {check.__name__}", "outcome": outcome}), flush=True)
        client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
