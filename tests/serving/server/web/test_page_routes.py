"""The page's files: light, complete, and none of another place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.web import page_routes
from igan_zoo.serving.server.web.page_routes import FOLDER, RUNTIME

FILES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())


@pytest.fixture(scope="module")
def client() -> TestClient:
    """A server without any model."""
    return TestClient(create_app(Repository([], ServerSettings()), ServerSettings()))


def test_the_page_is_light() -> None:
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 100_000


def test_no_file_names_another_host() -> None:
    for name in FILES:
        hosts = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", (FOLDER / name).read_text())
        # The name space of SVG is an identifier, and never fetched.
        assert set(hosts) <= {"http://www.w3.org"}, name


@pytest.mark.parametrize("name", [*FILES, ""])
def test_every_file_is_served_with_its_type_and_asked_for_again_only_if_it_changed(
    client: TestClient, name: str
) -> None:
    address = f"/page/{name}" if name else "/"
    response = client.get(address)
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == kinds[Path(name or "index.html").suffix]
    assert response.headers["cache-control"] == "no-cache"
    again = client.get(address, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["no-such.js", "../page_routes.py", "%2e%2e/app.py", "vendor/package.json", "vendor/"])
def test_nothing_else_is_served(client: TestClient, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404


def test_what_the_index_asks_for_is_there() -> None:
    index = (FOLDER / "index.html").read_text()
    assert set(re.findall(r'(?:src|href)="page/([^"]+)"', index)) <= set(FILES)


def test_every_module_imports_modules_that_are_there() -> None:
    for path in FOLDER.glob("*.js"):
        assert set(re.findall(r"['\"]\./([^'\"]+)['\"]", path.read_text())) <= set(FILES), path.name


def test_the_switch_for_this_device_is_there_only_with_the_whole_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from igan_zoo.serving.server.web.page_routes import _files

    (tmp_path / "vendor").mkdir()
    (tmp_path / "index.html").write_bytes((FOLDER / "index.html").read_bytes())
    monkeypatch.setattr(page_routes, "FOLDER", tmp_path)
    for name in RUNTIME:
        assert b'data-device="absent"' in _files()["index.html"].content
        (tmp_path / "vendor" / name).write_bytes(b"")
    assert b'data-device="present"' in _files()["index.html"].content


# Text and what it stands on, by the names of the style sheet.
PAIRS = [
    *[(text, ground) for text in ("ink", "soft", "accent", "wrong") for ground in ("paper", "panel")],
    *[("ink", "tint"), ("accent", "tint"), ("on-accent", "accent"), ("real", "panel"), ("generated", "panel")],
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground_as_accessibility_guidelines_want(theme: str) -> None:
    style = (FOLDER / "style.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in style.split("@media", 2)[:2])
    colours = light if theme == "light" else dark
    for text, ground in PAIRS:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    # The edge of a control needs less.
    assert contrast(colours["edge"], colours["panel"]) >= 3


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""
    low, high = sorted(luminance(colour) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
