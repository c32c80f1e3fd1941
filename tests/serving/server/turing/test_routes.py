"""The Turing test over HTTP: nothing tells an answer before it is given, and every answer is saved."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from igan_zoo.errors import OutputError
from igan_zoo.latents import latents
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.turing.game import wilson_interval
from tests.serving.server.conftest import MODEL

Connect = Callable[..., TestClient]
NOISE = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), np.uint8)


@pytest.fixture
def connect(tmp_path: Path, client_of: Connect) -> Connect:
    """A client of a server with 60 real images of noise."""
    np.save(tmp_path / "real.npy", NOISE)

    def make(**settings: Any) -> TestClient:
        repository = Repository.open([MODEL])
        return client_of(repository, **{"real": (str(tmp_path / "real.npy"),), **settings})

    return make


def begin(client: TestClient, rounds: int = 6, *, feedback: bool = False) -> str:
    response = client.post("/turing", json={"model": MODEL, "rounds": rounds, "feedback": feedback})
    assert response.status_code == 201, response.text
    assert response.json()["rounds"] == rounds
    return str(response.json()["test"])


def pixels(client: TestClient, test: str, number: int) -> Any:
    return np.asarray(Image.open(io.BytesIO(client.get(f"/turing/{test}/{number}.png").content)))


def answer(client: TestClient, test: str, number: int, said: str = "real") -> dict[str, Any]:
    response = client.post(f"/turing/{test}/{number}", json={"answer": said})
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_without_feedback_nothing_is_told_before_the_last_answer(connect: Connect, tmp_path: Path) -> None:
    client = connect(turing_results=tmp_path / "answers.jsonl")
    test = begin(client, 4)
    for number in (1, 2, 3):
        assert answer(client, test, number) == {"answers": number, "finished": False}
        assert set(client.get(f"/turing/{test}").json()) == {"model", "feedback", "rounds", "answers", "finished"}
        # Sums of unfinished tests would tell, too.
        (summary,) = client.get("/turing/results").json()["results"]
        assert (summary["answers"], summary["errors"], summary["unfinished"]) == (0, 0, 1)
    last = answer(client, test, 4)
    low, high = wilson_interval(2, 4)
    expected = {"answers": 4, "finished": True, "errors": 2, "error_rate": 0.5, "low": low, "high": high}
    assert last == expected
    state = client.get(f"/turing/{test}").json()
    assert sorted(state["truth"]) == ["generated", "generated", "real", "real"]
    assert state["given"] == ["real"] * 4


def test_with_feedback_each_answer_is_judged(connect: Connect) -> None:
    client = connect()
    test = begin(client, 6, feedback=True)
    wrong = 0
    for number in range(1, 7):
        # Noise is what the real images of this server are.
        real = any((pixels(client, test, number) == noise[..., 0]).all() for noise in NOISE)
        told = answer(client, test, number, "real")
        wrong += not real
        assert (told["correct"], told["errors"], told["answers"]) == (real, wrong, number)
    assert wrong == 3


def test_images_differ_in_nothing_but_their_pixels(connect: Connect) -> None:
    client = connect()
    test = begin(client, 8)
    seen = []
    for number in range(1, 9):
        response = client.get(f"/turing/{test}/{number}.png", headers={"Accept-Encoding": "gzip, deflate"})
        headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
        seen.append((headers, response.content[:33], Image.open(io.BytesIO(response.content)).info))
        answer(client, test, number)
    assert all(one == seen[0] for one in seen)
    assert seen[0][0]["cache-control"] == "no-store"
    assert "content-encoding" not in seen[0][0]


def test_generated_images_are_those_of_the_seed_in_the_record(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    client = connect(turing_results=path)
    test = begin(client, 6)
    shown = []
    for number in range(1, 7):
        shown.append(pixels(client, test, number))
        answer(client, test, number)
    engine = Repository.open([MODEL]).model(MODEL).graphs["generator"].engine
    for image, line in zip(shown, path.read_text().splitlines(), strict=True):
        record = json.loads(line)
        if record["kind"] == "real":
            expected = NOISE[record["index"]]
        else:
            z = latents(100, "uniform", seed=record["seed"], start=record["index"], count=1)
            expected = engine.run("generator", {"latent": z})["images"][0]
        # Batches of other sizes round differently: a grey level may tip.
        assert np.abs(image.astype(int) - expected[..., 0]).max() <= 1
        assert (record["model"], record["real"]) == (MODEL, str(tmp_path / "real.npy"))


def test_an_answer_is_taken_once_and_in_turn(connect: Connect) -> None:
    client = connect()
    test = begin(client, 4)
    answer(client, test, 1)
    for number, status in [(1, 409), (3, 409), (5, 404), (0, 404)]:
        response = client.post(f"/turing/{test}/{number}", json={"answer": "real"})
        assert (response.status_code, list(response.json())) == (status, ["error"])
    assert client.get(f"/turing/{test}/4.png").status_code == 409
    assert client.get(f"/turing/{test}").json()["answers"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"model": "mnist-ssl"}', 400),
        (b'{"model": "mnist-ssl", "rounds": 0}', 400),
        (b'{"model": "mnist-ssl", "rounds": 201}', 400),
        (b'{"model": "mnist-ssl", "rounds": 180}', 400),
        (b'{"model": "mnist-ssl", "rounds": "4"}', 400),
        (b'{"model": "mnist-ssl", "rounds": 4.5}', 400),
        (b'{"model": "mnist-ssl", "rounds": 1e300}', 400),
        (b'{"model": "mnist-ssl", "rounds": 4, "seed": 1}', 400),
        (b'{"model": "\xff", "rounds": 4}', 400),
        (b'{"model": "no-such", "rounds": 4}', 404),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_in_a_sentence(connect: Connect, body: bytes, status: int) -> None:
    response = connect().post("/turing", content=body)
    assert (response.status_code, list(response.json())) == (status, ["error"])


def test_a_whole_number_may_be_written_with_a_fraction(connect: Connect) -> None:
    response = connect().post("/turing", content=b'{"model": "mnist-ssl", "rounds": 4.0}')
    assert (response.status_code, response.json()["rounds"]) == (201, 4)


def test_an_answer_is_real_or_generated_and_its_test_exists(connect: Connect) -> None:
    client = connect()
    test = begin(client, 2)
    assert client.post(f"/turing/{test}/1", json={"answer": "perhaps"}).status_code == 400
    assert client.post("/turing/nothing/1", json={"answer": "real"}).status_code == 404
    assert client.get("/turing/nothing").status_code == client.get("/turing/nothing/1.png").status_code == 404


def test_results_go_on_after_a_restart(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for tests in (1, 2):
        client = connect(turing_results=path)
        test = begin(client, 2, feedback=tests == 2)
        for number in (1, 2):
            answer(client, test, number)
    found = client.get("/turing/results").json()["results"]
    assert [(one["feedback"], one["tests"], one["errors"], one["fooled"]) for one in found] == [
        (False, 1, 1, 1.0),
        (True, 1, 1, 1.0),
    ]
    assert client.get("/turing/results?model=another").json() == {"results": []}


def test_results_that_cannot_be_written_are_named_before_the_first_test(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"answers\.jsonl: No such file or directory; name another file"):
        connect(turing_results=tmp_path / "no folder" / "answers.jsonl")


def test_an_answer_that_cannot_be_saved_counts_nowhere_and_can_be_given_again(connect: Connect, tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    client = connect(turing_results=folder / "answers.jsonl")
    test = begin(client, 2)
    shutil.rmtree(folder)
    for _ in range(2):
        response = client.post(f"/turing/{test}/1", json={"answer": "real"})
        assert response.status_code == 503
        assert str(folder) not in response.text
        assert client.get("/turing/results").json() == {"results": []}
        assert client.get(f"/turing/{test}").json()["answers"] == 0
    folder.mkdir()
    for number in (1, 2):
        assert client.post(f"/turing/{test}/{number}", json={"answer": "real"}).status_code == 200
    assert client.get(f"/turing/{test}").json()["finished"]
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 2


def test_a_server_without_real_images_says_how_to_start_one(client: TestClient) -> None:
    assert client.get("/turing").json() == {
        "models": [{"name": MODEL, "dataset": "ylecun/mnist", "real_images": 0}],
        "real_images": 0,
        "rounds": 0,
        "max_rounds": 0,
        "saved": False,
    }
    response = client.post("/turing", json={"model": MODEL, "rounds": 2})
    assert (response.status_code, "igan-zoo turing --real" in response.json()["error"]) == (403, True)
    assert client.get("/examples").json() == {"examples": 0, "own": False}


def test_each_model_may_have_real_images_of_its_own(tmp_path: Path, connect: Connect) -> None:
    np.save(tmp_path / "digits.npy", NOISE[:20])
    digits = f"{MODEL}={tmp_path / 'digits.npy'}"
    client = connect(real=(str(tmp_path / "real.npy"), digits), turing_results=tmp_path / "answers.jsonl")
    facts = client.get("/turing").json()
    assert (facts["models"][0]["real_images"], facts["real_images"], facts["saved"]) == (18, 54, True)
    assert client.get(f"/examples?model={MODEL}").json() == {"examples": 2, "own": True}
    assert client.get("/examples").json() == {"examples": 6, "own": False}
    assert client.post("/turing", json={"model": MODEL, "rounds": 37}).status_code == 400
    test = begin(client, 2)
    answer(client, test, 1)
    assert json.loads((tmp_path / "answers.jsonl").read_text())["real"] == str(tmp_path / "digits.npy")


def test_a_model_without_real_images_beside_one_that_has_them_says_which_are_missing(
    tmp_path: Path, connect: Connect
) -> None:
    client = connect(real=(f"another={tmp_path / 'real.npy'}",))
    response = client.post("/turing", json={"model": MODEL, "rounds": 2})
    assert response.status_code == 403
    assert f"no real images for {MODEL}; start it with: igan-zoo turing --real {MODEL}=SOURCE." in response.text


def test_examples_are_real_images_in_the_models_form(connect: Connect) -> None:
    client = connect()
    assert client.get("/examples").json() == {"examples": 6, "own": False}
    for number, index in [(1, 0), (6, 50)]:
        response = client.get(f"/examples/{number}.png?model={MODEL}")
        assert (np.asarray(Image.open(io.BytesIO(response.content))) == NOISE[index, ..., 0]).all()
    assert client.get(f"/examples/7.png?model={MODEL}").status_code == 404
    assert client.get("/examples/1.png?model=no-such").status_code == 404
    # One in ten is an example; the others are for tests, half of whose rounds are real.
    assert client.get("/turing").json()["max_rounds"] == 108
