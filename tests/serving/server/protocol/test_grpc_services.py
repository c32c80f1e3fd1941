"""What comes with the protocol over gRPC: reflection, health that is watched, and what there is not."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import numpy as np
import pytest

from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import CLASSIFIER, MODEL

grpc = pytest.importorskip("grpc", reason="needs the grpc extra")

from igan_zoo.serving.server.protocol.grpc_messages import HEALTH, REFLECTION, SERVICE, message  # noqa: E402
from igan_zoo.serving.server.protocol.grpc_service import GrpcServer  # noqa: E402
from igan_zoo.serving.server.protocol.unsupported import METHODS  # noqa: E402
from tests.serving.server.protocol.test_grpc import Call, exchange, refused  # noqa: E402


def beside_a_server(work: Any, **limits: Any) -> Any:
    """Runs ``work(port, repository)`` in a thread beside a server."""
    options = ServerSettings(**{"threads": 1, **limits})

    async def run() -> Any:
        repository = Repository.open([MODEL], options)
        server = GrpcServer(create_app(repository, options, log=Log(io.StringIO())), host="127.0.0.1", port=0)
        port = await server.start()
        try:
            return await asyncio.to_thread(work, port, repository)
        finally:
            await server.stop()
            repository.close()

    return asyncio.run(run())


def test_a_client_learns_the_services_and_calls_one_by_reflection() -> None:
    reflection = pytest.importorskip("grpc_reflection.v1alpha.proto_reflection_descriptor_database")
    from google.protobuf import descriptor_pool, message_factory

    def work(port: int, _: Repository) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            known = reflection.ProtoReflectionDescriptorDatabase(channel)
            assert set(known.get_services()) == {SERVICE, HEALTH, REFLECTION}
            pool = descriptor_pool.DescriptorPool(known)
            method = pool.FindServiceByName(SERVICE).FindMethodByName("ModelMetadata")
            request = message_factory.GetMessageClass(method.input_type)(name=CLASSIFIER)
            call = channel.unary_unary(
                f"/{SERVICE}/ModelMetadata",
                request_serializer=lambda given: given.SerializeToString(),
                response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
            )
            assert call(request).inputs[0].name == "images"
            # A client that knows the file by its name.
            assert pool.FindFileByName("inference.proto").package == "inference"

    beside_a_server(work)


def ask_reflection(port: int, name: str, *requests: Any, token: str | None = None) -> list[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(
            f"/{name}/ServerReflectionInfo",
            request_serializer=lambda given: given.SerializeToString(),
            response_deserializer=message("grpc.reflection.v1.ServerReflectionResponse").FromString,
        )
        metadata = [("authorization", f"Bearer {token}")] if token else None
        return list(call(iter(requests), metadata=metadata))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_names_of_the_reflection_service_answer_and_unknown_symbols_are_errors(version: str) -> None:
    kind = message("grpc.reflection.v1.ServerReflectionRequest")

    def work(port: int, _: Repository) -> None:
        name = f"grpc.reflection.{version}.ServerReflection"
        questions = [
            kind(list_services=""),
            kind(file_containing_symbol="inference.ModelInferRequest"),
            kind(file_containing_symbol="x" * 1000),
            kind(all_extension_numbers_of_type="inference.ModelInferRequest"),
        ]
        services, file, unknown, extensions = ask_reflection(port, name, *questions)
        assert len(services.list_services_response.service) == 3
        assert len(file.file_descriptor_response.file_descriptor_proto) == 1
        assert unknown.error_response.error_code == 5
        assert len(unknown.error_response.error_message) < 300
        assert extensions.error_response.error_code == 5

    beside_a_server(work)


def test_reflection_asks_for_the_token() -> None:
    kind = message("grpc.reflection.v1.ServerReflectionRequest")

    def work(port: int, _: Repository) -> None:
        with pytest.raises(grpc.RpcError) as error:
            ask_reflection(port, REFLECTION, kind(list_services=""))
        assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert ask_reflection(port, REFLECTION, kind(list_services=""), token="s3cret")

    beside_a_server(work, token="s3cret")


def test_health_is_watched_until_the_server_stops() -> None:
    request, response = (message(f"grpc.health.v1.HealthCheck{name}") for name in ("Request", "Response"))

    def work(port: int, repository: Repository) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = channel.unary_stream(
                f"/{HEALTH}/Watch",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            assert [one.status for one in watch(request(service="other"))] == [3]
            watched = watch(request(service=SERVICE))
            assert next(watched).status == 1
            repository.stopping = True
            assert [one.status for one in watched] == [2]

    beside_a_server(work)


@pytest.mark.parametrize("name", METHODS)
def test_what_the_server_does_not_have_is_unimplemented_in_one_sentence(name: str) -> None:
    log = io.StringIO()

    async def work(*_: Any) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = channel.unary_unary(f"/{SERVICE}/{name}")
            code, sentence = await refused(stub(b"\x0a\x01a\x10\x05"))
            assert (code, sentence) == ("UNIMPLEMENTED", METHODS[name])

    options = ServerSettings(threads=1)

    async def run() -> None:
        nonlocal port
        server = GrpcServer(create_app(Repository([], options), options, log=Log(log)), host="127.0.0.1", port=0)
        port = await server.start()
        await work()
        await server.stop()
        await asyncio.sleep(0.1)

    port = 0
    asyncio.run(run())
    assert [json.loads(line)["status"] for line in log.getvalue().splitlines()] == ["UNIMPLEMENTED"]


def test_classes_and_encoded_images_come_through_typed_contents() -> None:
    from tests.serving.server.protocol.test_classification import DIGITS

    async def work(call: Call, *_: Any) -> None:
        request = message("inference.ModelInferRequest")(model_name=CLASSIFIER)
        request.inputs.add(name="image_bytes", datatype="BYTES", shape=[2, 1]).contents.bytes_contents.extend(DIGITS)
        request.outputs.add(name="probabilities").parameters["classification"].int64_param = 1
        (output,) = (await call("ModelInfer", request)).outputs
        assert (output.datatype, output.shape) == ("BYTES", [2, 1])
        assert [element.split(b":")[2] for element in output.contents.bytes_contents] == [b"2", b"7"]
        request.outputs[0].parameters["classification"].string_param = "many"
        assert await refused(call("ModelInfer", request)) == (
            "INVALID_ARGUMENT",
            "The parameter classification of the output probabilities must be a number of classes.",
        )
        request.outputs[0].name = "nothing"
        request.outputs[0].parameters.clear()
        assert "has no output 'nothing'" in (await refused(call("ModelInfer", request)))[1]
        assert np.prod(output.shape) == 2

    exchange(work)
