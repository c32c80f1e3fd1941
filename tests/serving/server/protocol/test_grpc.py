"""The Open Inference Protocol over gRPC: status codes, tokens, limits, tensors in every form."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from igan_zoo.errors import IganZooError
from igan_zoo.latents import latents
from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.conftest import REPOSITORY
from tests.serving.server.conftest import CLASSIFIER, GENERATOR, MODEL

grpc = pytest.importorskip("grpc", reason="needs the grpc extra")

from igan_zoo.serving.server.models.datatypes import DATATYPES  # noqa: E402
from igan_zoo.serving.server.protocol.grpc_messages import HEALTH, SERVICE, message, methods  # noqa: E402
from igan_zoo.serving.server.protocol.grpc_service import GrpcServer  # noqa: E402
from igan_zoo.serving.server.protocol.grpc_tensors import read_inputs, write_response  # noqa: E402

Request = message("inference.ModelInferRequest")
Z = latents(100, "uniform", seed=7, start=0, count=3)
Call = Callable[..., Awaitable[Any]]


def infer_request(z: np.ndarray = Z, **fields: Any) -> Any:
    request = Request(**{"model_name": GENERATOR, **fields})
    request.inputs.add(name="latent", datatype="FP32", shape=z.shape)
    request.raw_input_contents.append(z.tobytes())
    return request


def exchange(
    work: Callable[[Call, Repository, GrpcServer], Awaitable[Any]], log: io.StringIO | None = None, **limits: Any
) -> Any:
    """Runs ``work`` beside a server; it calls methods by name with fields or a message, and metadata."""
    options = ServerSettings(**{"threads": 1, **limits})

    async def run() -> Any:
        repository = Repository.open([MODEL], options)
        app = create_app(repository, options, log=(logged := Log(log or io.StringIO())))
        server = GrpcServer(app, host="127.0.0.1", port=0)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            known = {method.name: (service, method) for service in (SERVICE, HEALTH) for method in methods(service)}

            async def call(name: str, request: Any = None, metadata: Any = None, **options: Any) -> Any:
                service, method = known[name]
                stub = channel.unary_unary(
                    f"/{service}/{name}",
                    request_serializer=lambda given: given.SerializeToString(),
                    response_deserializer=message(method.output_type.full_name).FromString,
                )
                kind = message(method.input_type.full_name)
                given = kind(**request) if isinstance(request, dict) else request or kind()
                return await stub(given, metadata=metadata, **options)

            try:
                return await work(call, repository, server)
            finally:
                await server.stop()
                logged.flush()
                repository.close()

    return asyncio.run(run())


async def refused(call: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code().name, error.value.details()


@contextmanager
def slow(repository: Repository) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Holds the generator, which sets the first event when it has begun, until the second is set."""
    engine, begun, hold = repository.graph(GENERATOR).engine, threading.Event(), threading.Event()
    plain = engine.run

    def run(*arguments: Any) -> Any:
        begun.set()
        hold.wait(30)
        return plain(*arguments)

    engine.run = run  # type: ignore[method-assign]
    try:
        yield begun, hold
    finally:
        hold.set()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_images_are_those_of_the_engine_and_wrong_requests_are_told_why() -> None:
    async def work(call: Call, repository: Repository, _: GrpcServer) -> None:
        answer = await call("ModelInfer", infer_request(id="mine"))
        expected = repository.graph(GENERATOR).engine.run("generator", {"latent": Z})["images"]
        assert answer.raw_output_contents[0] == expected.tobytes()
        assert (answer.id, answer.model_version) == ("mine", "1")
        for request, expected_error in (
            (
                infer_request(Z[:, :9]),
                ("INVALID_ARGUMENT", f"{GENERATOR} takes latent of shape [-1, 100], not [3, 9]."),
            ),
            (infer_request(model_version="9"), ("NOT_FOUND", f"{GENERATOR} has no version '9'; it has: 1.")),
            (infer_request(model_name=CLASSIFIER), ("INVALID_ARGUMENT", None)),
            (Request(model_name=GENERATOR), ("INVALID_ARGUMENT", None)),
            (infer_request(Z[:, :0]), ("INVALID_ARGUMENT", None)),
        ):
            code, sentence = await refused(call("ModelInfer", request))
            assert (code, expected_error[1] or sentence) == (expected_error[0], sentence)
        assert (await refused(call("RepositoryModelLoad", {"model_name": GENERATOR})))[0] == "PERMISSION_DENIED"

    exchange(work)


def test_tokens_stand_in_the_metadata() -> None:
    def bearer(token: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {token}"),)

    async def work(call: Call, *_: Any) -> None:
        for name in ("ServerLive", "ServerReady", "Check"):
            await call(name)
        for metadata in (None, bearer("wrong"), (("authorization", "s3cret"),)):
            assert (await refused(call("ServerMetadata", metadata=metadata)))[0] == "UNAUTHENTICATED"
            assert (await refused(call("ModelInfer", infer_request(), metadata)))[0] == "UNAUTHENTICATED"
        for token in ("s3cret", "adm1n"):
            await call("ModelInfer", infer_request(), bearer(token))
        loading = {"model_name": GENERATOR}
        assert (await refused(call("RepositoryModelLoad", loading, bearer("s3cret"))))[0] == "UNAUTHENTICATED"
        await call("RepositoryModelLoad", loading, bearer("adm1n"))

    log = io.StringIO()
    exchange(work, log, token="s3cret", admin_token="adm1n", allow_load=True)
    assert "s3cret" not in log.getvalue()
    assert "adm1n" not in log.getvalue()


def test_a_full_queue_has_a_code_of_its_own() -> None:
    async def work(call: Call, repository: Repository, _: GrpcServer) -> None:
        with slow(repository) as (begun, hold):
            running = asyncio.ensure_future(call("ModelInfer", infer_request()))
            await until(begun.is_set)
            waiting = asyncio.ensure_future(call("ModelInfer", infer_request()))
            await until(lambda: repository.graph(GENERATOR).batcher.depth == 1)
            assert await refused(call("ModelInfer", infer_request())) == (
                "RESOURCE_EXHAUSTED",
                "The queue of this model, of 1 request, is full; try again in a second.",
            )
            hold.set()
            for answer in (running, waiting):
                assert (await answer).outputs[0].name == "images"

    exchange(work, queue=1)


def test_a_deadline_has_a_code_of_its_own() -> None:
    async def work(call: Call, repository: Repository, _: GrpcServer) -> None:
        with slow(repository) as (begun, hold):
            running = asyncio.ensure_future(call("ModelInfer", infer_request()))
            await until(begun.is_set)
            code, sentence = await refused(call("ModelInfer", infer_request()))
            assert code == "DEADLINE_EXCEEDED"
            assert "1 second for its turn" in sentence
            hold.set()
            assert (await running).outputs[0].name == "images"

    exchange(work, deadline=1.0)


def test_a_call_waits_no_longer_than_its_own_deadline_or_timeout() -> None:
    async def work(call: Call, repository: Repository, _: GrpcServer) -> None:
        with slow(repository) as (begun, _):
            running = asyncio.ensure_future(call("ModelInfer", infer_request()))
            await until(begun.is_set)
            request = infer_request()
            request.parameters["timeout"].int64_param = 100_000
            assert (await refused(call("ModelInfer", request)))[0] == "DEADLINE_EXCEEDED"
            assert (await refused(call("ModelInfer", infer_request(), timeout=0.1)))[0] == "DEADLINE_EXCEEDED"
            request.parameters["timeout"].string_param = "soon"
            assert (await refused(call("ModelInfer", request)))[0] == "INVALID_ARGUMENT"
        await running

    exchange(work)


def test_messages_beyond_the_limit_are_refused_compressed_ones_too() -> None:
    async def work(call: Call, *_: Any) -> None:
        large = infer_request(np.zeros((1000, 100), np.float32))
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            code, _ = await refused(call("ModelInfer", large, compression=compression))
            assert code == "RESOURCE_EXHAUSTED"

    exchange(work, max_body=100_000)


def test_a_stopping_server_answers_what_it_accepted_and_refuses_the_rest() -> None:
    async def work(call: Call, repository: Repository, server: GrpcServer) -> None:
        with slow(repository) as (begun, hold):
            accepted = asyncio.ensure_future(call("ModelInfer", infer_request()))
            await until(begun.is_set)
            repository.stopping = True
            assert (await refused(call("ModelInfer", infer_request())))[0] == "UNAVAILABLE"
            assert not (await call("ServerReady")).ready
            assert (await call("Check")).status == 2
            stopped = asyncio.ensure_future(server.stop())
            await asyncio.sleep(0.1)
            assert not stopped.done()
            hold.set()
            assert (await accepted).outputs[0].name == "images"
            await stopped

    exchange(work)


def test_a_taken_port_is_said() -> None:
    async def work(call: Call, repository: Repository, server: GrpcServer) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            second = GrpcServer(create_app(repository, ServerSettings()), host="127.0.0.1", port=port)
            with pytest.raises(IganZooError, match=f"Cannot listen at 127.0.0.1, port {port}, for gRPC"):
                await second.start()

    exchange(work)


def test_the_health_service_knows_the_service() -> None:
    async def work(call: Call, *_: Any) -> None:
        assert (await call("Check")).status == 1
        assert (await call("Check", {"service": SERVICE})).status == 1
        assert (await refused(call("Check", {"service": "other"})))[0] == "NOT_FOUND"

    exchange(work)


def test_a_request_id_comes_back_and_stands_in_the_log() -> None:
    log = io.StringIO()

    async def work(call: Call, *_: Any) -> None:
        await call("ModelInfer", infer_request(), (("x-request-id", "mine-7"),))
        await call("ModelInfer", infer_request(), (("x-request-id", "a b"),))

    exchange(work, log)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["id"] == "mine-7" for line in lines] == [True, False]
    assert {(line["method"], line["model"], line["status"]) for line in lines} == {("gRPC", GENERATOR, "OK")}


def test_a_failure_of_the_server_tells_nothing_of_its_inside() -> None:
    log = io.StringIO()

    async def work(call: Call, repository: Repository, _: GrpcServer) -> None:
        def broken(*_: Any) -> Any:
            raise RuntimeError("secret inside")

        repository.graph(GENERATOR).engine.run = broken  # type: ignore[method-assign]
        code, sentence = await refused(call("ModelInfer", infer_request()))
        assert code == "INTERNAL"
        assert "secret" not in sentence

    exchange(work, log)
    assert "secret inside" in log.getvalue()


TYPES = {
    "BOOL": hnp.arrays(np.bool_, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    "FP64": hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)),
    "FP32": hnp.arrays(np.float32, hnp.array_shapes(max_side=4)),
    **{
        name: hnp.arrays(DATATYPES[name], hnp.array_shapes(max_side=4))
        for name in ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
    },
}


@given(data=st.data(), typed=st.booleans())
@settings(max_examples=40, deadline=None)
def test_tensors_of_every_type_come_through_raw_and_typed(data: st.DataObject, typed: bool) -> None:
    """What is written as an output is read as an input: the forms are the same on both sides."""
    arrays = {name: data.draw(TYPES[name]) for name in data.draw(st.sets(st.sampled_from(sorted(TYPES)), min_size=1))}
    asked = Request()
    # Without raw contents, inputs are typed, and so are the outputs.
    asked.inputs.add(name="x", datatype="FP32", shape=[1])
    if not typed:
        asked.raw_input_contents.append(b"\0\0\0\0")
    response = write_response("m", "1", asked, arrays)
    assert bool(response.raw_output_contents) != typed
    request = Request(raw_input_contents=response.raw_output_contents)
    for output in response.outputs:
        tensor = request.inputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if typed:
            tensor.contents.CopyFrom(output.contents)
    found = read_inputs(Request.FromString(request.SerializeToString()))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_half_precision_is_raw_whatever_the_form_of_the_inputs() -> None:
    asked = Request()
    asked.inputs.add(name="x", datatype="FP32", shape=[0])
    array = np.array([1.5, -2], np.float16)
    response = write_response("m", "1", asked, {"half": array})
    assert response.raw_output_contents == [array.tobytes()]


def wrong(datatype: str = "FP32", shape: tuple[int, ...] = (2,), **contents: Any) -> Any:
    request = Request()
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    return request


def twice() -> Any:
    request = wrong(fp32_contents=[1, 2])
    request.inputs.add().CopyFrom(request.inputs[0])
    return request


def both() -> Any:
    request = wrong(fp32_contents=[1, 2])
    request.raw_input_contents.append(bytes(8))
    return request


def too_many() -> Any:
    request = wrong()
    request.raw_input_contents.extend([bytes(8), bytes(8)])
    return request


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (wrong(fp32_contents=[1]), "has 2 elements in fp32_contents, not 1."),
        (wrong(), "has 2 elements in fp32_contents, not 0."),
        (wrong(fp64_contents=[1, 2]), "not 0 and some in fp64_contents."),
        (wrong("UINT8", uint_contents=[1, 256]), "out of the range of UINT8"),
        (wrong("INT8", int_contents=[1, -129]), "out of the range of INT8"),
        (wrong("FP16", fp32_contents=[1, 2]), "FP16 has no typed contents"),
        (wrong("FP99"), "There is no datatype 'FP99'"),
        (wrong(shape=(-1,)), "[-1] is not a valid shape"),
        (wrong(shape=(1,) * 40), "is not a valid shape"),
        (wrong(shape=(2**62, 2**62)), "is not a valid shape"),
        (wrong(shape=(2**62, 0)), "is not a valid shape"),
        (wrong(shape=(0, 2**62)), "is not a valid shape"),
        (twice(), "The input x is given twice."),
        (both(), "both contents and raw contents"),
        (too_many(), "1 input, but 2 raw contents"),
    ],
)
def test_tensors_that_are_none_are_refused_in_one_sentence(request_: Any, sentence: str) -> None:
    with pytest.raises(ProtocolError) as error:
        read_inputs(request_)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_the_compiled_messages_are_those_of_the_protocol_files(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    folder = REPOSITORY / "serving" / "server" / "protocol"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", f"--descriptor_set_out={tmp_path / 'new'}"]
    subprocess.run([*command, "inference.proto", "health.proto", "reflection.proto"], check=True)
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    one, other = (
        FileDescriptorSet.FromString(path.read_bytes()) for path in (tmp_path / "new", folder / "messages.desc")
    )
    assert one == other, "run make proto"


def test_the_numbers_of_all_fields_are_those_that_tritonclient_has() -> None:
    script = """
import sys, warnings
from tritonclient.grpc import service_pb2, model_config_pb2
from igan_zoo.serving.server.protocol.grpc_messages import SERVICE, _POOL, methods
from google.protobuf import descriptor_pool
theirs = descriptor_pool.Default()
seen = set()
def compare(message):
    if message.full_name in seen: return
    seen.add(message.full_name)
    other = theirs.FindMessageTypeByName(message.full_name)
    for field in message.fields:
        known = other.fields_by_name[field.name]
        for what in ("number", "type", "is_repeated"):
            assert getattr(known, what) == getattr(field, what), field.full_name
        if field.message_type: compare(field.message_type)
        if field.enum_type:
            for value in field.enum_type.values:
                assert known.enum_type.values_by_name[value.name].number == value.number, value.name
for method in methods(SERVICE):
    known = theirs.FindServiceByName(SERVICE).methods_by_name[method.name]
    for one, other in ((method.input_type, known.input_type), (method.output_type, known.output_type)):
        assert one.full_name == other.full_name
        compare(one)
    assert (method.client_streaming, method.server_streaming) == (known.client_streaming, known.server_streaming)
print(len(seen))
"""
    pytest.importorskip("tritonclient", reason="needs tritonclient[grpc]")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40


def test_a_server_without_the_extra_says_which_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from igan_zoo.errors import MissingExtraError
    from igan_zoo.serving.server.running import serve

    monkeypatch.delitem(sys.modules, "igan_zoo.serving.server.protocol.grpc_service")
    monkeypatch.setitem(sys.modules, "grpc", None)
    options = ServerSettings(threads=1)
    with pytest.raises(MissingExtraError, match=r"gRPC needs grpc, of the grpc extra: pip install '.\[grpc,cpu\]'"):
        serve(Repository([], options), options, host="127.0.0.1", port=0, announce=lambda _: None, grpc_port=0)


def test_a_name_of_a_million_letters_is_not_sent_back() -> None:
    async def work(call: Call, *_: Any) -> None:
        code, sentence = await refused(call("ModelMetadata", {"name": "x" * 10**6}))
        assert code == "NOT_FOUND"
        assert len(sentence) < 1000

    exchange(work)


def test_empty_contents_may_come_along_with_raw_ones() -> None:
    request = infer_request()
    request.inputs[0].contents.SetInParent()
    assert list(read_inputs(request)) == ["latent"]
