"""The page that shows the OpenAPI document, in a real browser."""

from __future__ import annotations

from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.web.openapi import document
from tests.serving.server.conftest import MODEL
from tests.serving.server.live import running
from tests.serving.server.web.browser import chromium


def test_every_operation_is_shown_from_this_server_alone_and_opens_with_the_keyboard() -> None:
    operations = [
        operation
        for item in document(ServerSettings())["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    ]
    with running(Repository.open([MODEL], ServerSettings(threads=1))) as port, chromium() as browser:
        origin = f"http://127.0.0.1:{port}/"
        page = browser.new_page(viewport={"width": 360, "height": 700})
        asked: list[str] = []
        wrong: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{origin}docs#classify")
        page.wait_for_selector("details")
        assert page.locator("details").count() == len(operations)
        assert page.locator("details[open]").get_attribute("id") == "classify"
        page.locator("#sample summary").focus()
        page.keyboard.press("Enter")
        assert "Image i of a seed is always the same" in page.locator("#sample").inner_text()
        # Long words break, tables scroll by themselves: a narrow screen needs no scrolling to the side.
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert all(url.startswith((origin, "data:")) for url in asked)
        assert wrong == []
