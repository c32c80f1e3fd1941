"""The OpenAPI document tells the truth: schemathesis asks the server what it says, and finds nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.protocol.unsupported import ROUTES
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.web.openapi import document
from tests.serving.server.conftest import MODEL
from tests.serving.server.running import serving

HERE = Path(__file__).parent
# For a longer run: the examples that are made for each route in each phase.
EXAMPLES = os.environ.get("IGAN_ZOO_SCHEMATHESIS_EXAMPLES", "2")


def described(**settings: object) -> dict[tuple[str, str], dict[str, object]]:
    """Operations by path and method."""
    found = document(ServerSettings(**settings))  # type: ignore[arg-type]
    methods = ("get", "post", "put", "delete")
    return {
        (path, method.upper()): item[method]
        for path, item in found["paths"].items()
        for method in methods
        if method in item
    }


def test_every_route_stands_in_the_document_and_nothing_else() -> None:
    table = create_app(Repository([], ServerSettings()), ServerSettings()).table
    routed = {
        (re.sub(r":(path|int)\}", "}", route.path), method)
        for route in table
        for method in route.methods or ()
        if method != "HEAD" and route.path not in ("/v2/", *ROUTES)
    }
    assert routed == set(described())


def test_every_operation_has_an_id_of_its_own_and_says_what_it_answers() -> None:
    operations = described()
    names = [str(operation["operationId"]) for operation in operations.values()]
    assert len(set(names)) == len(names)
    for (path, method), operation in operations.items():
        responses = operation["responses"]
        assert operation["summary"]
        assert isinstance(responses, dict)
        assert any(status.startswith("2") for status in responses), path
        if method == "POST":
            assert {"408", "413", "503"} <= set(responses), path


def test_limits_and_tokens_are_those_of_the_server() -> None:
    def most(**settings: object) -> int:
        parameters = described(**settings)["/sample", "GET"]["parameters"]
        return next(one["schema"]["maximum"] for one in parameters if one["name"] == "n")  # type: ignore[attr-defined, no-any-return]

    assert most() == 4096
    assert most(max_images=10) == 10
    assert "x-maximum" not in json.dumps(document(ServerSettings()))
    assert "security" not in document(ServerSettings())
    assert document(ServerSettings(token="t"))["security"] == [{"token": []}]
    assert described(admin_token="a")["/metrics", "GET"]["security"] == [{"adminToken": []}]
    assert "security" not in described()["/metrics", "GET"]
    assert described(token="t")["/v2/health/live", "GET"]["security"] == []


def test_the_document_takes_no_body_that_the_server_never_takes() -> None:
    def schema(path: str, kind: str) -> Any:
        return described()[path, "POST"]["requestBody"]["content"][kind]["schema"]  # type: ignore[index]

    assert schema("/score", "multipart/form-data")["properties"]["file"]["minItems"] == 2
    latents = document(ServerSettings())["components"]["schemas"]["Latents"]["properties"]["latents"]
    assert (latents["minItems"], latents["items"]["minItems"]) == (1, 1)


def test_the_document_and_its_page_are_given_without_a_token(client_of: object) -> None:
    make: type[TestClient] = client_of  # type: ignore[assignment]
    client = make(Repository.open([MODEL], ServerSettings(threads=1)), token="secret")  # type: ignore[call-arg]
    assert client.get("/openapi.json").json()["openapi"] == "3.1.0"
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    # Without a slash in front, so that the page also works behind a path of a proxy.
    assert not re.search(r'(?:href|src)="/', page.text)
    names = re.findall(r'(?:href|src)="(docs/[^"]+)"', page.text)
    assert names
    for name in names:
        assert client.get(name).status_code == 200
    assert client.get("/docs/nothing.js").status_code == 404
    assert not re.search(r"https?://", page.text + client.get("/docs/docs.css").text)


# Without tokens the same would be asked again, so there the systematic phase is left out.
@pytest.mark.parametrize(
    ("tokens", "phases"), [(False, "fuzzing"), (True, "coverage,fuzzing")], ids=["open", "with tokens"]
)
def test_schemathesis_finds_nothing(tmp_path: Path, tokens: bool, phases: str) -> None:
    if importlib.util.find_spec("schemathesis") is None:
        pytest.skip("needs schemathesis")
    secrets = {"IGAN_ZOO_TOKEN": "s3cret", "IGAN_ZOO_ADMIN_TOKEN": "adm1n"}
    options = ["--token", "s3cret", "--admin-token", "adm1n"] if tokens else []
    with serving(tmp_path, MODEL, "--threads", 1, "--reload", 0, "--no-log-requests", *options) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
        command += ["run", f"http://{server.http}/openapi.json", "--max-examples", EXAMPLES, "--seed", "1"]
        command += ["--phases", phases, "--no-color", "--generation-database", "none"]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | secrets, cwd=tmp_path)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert server.process.poll() is None
        with urllib.request.urlopen(f"http://{server.http}/v2/health/ready") as answer:
            assert answer.status == 200
        assert '"event":"failure"' not in server.log.read_text()
