"""The page in a real browser: every view, by mouse and by keyboard, on a narrow screen, and when things go wrong."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from igan_zoo.images.pixels import Shape, conform
from igan_zoo.serving.server.web.page_routes import FOLDER, RUNTIME
from tests.conftest import REPOSITORY
from tests.serving.server.conftest import MODEL
from tests.serving.server.web.browser import RunningServer, chromium, launched, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

DIGITS = REPOSITORY / "docs" / "digits"
VIEWS = ("play", "classify", "turing", "models")
WAIT = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The bundled model, and 100 real images: white noise, which anybody can tell from a digit."""
    path = tmp_path_factory.mktemp("page") / "real.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), np.uint8))
    with running([MODEL], real=(str(path),), turing_rounds=6) as started:
        yield started


class Visit:
    """A tab that notes what it asks for and what it complains of."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.address = address
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def open(self, view: str) -> Page:
        """Goes to a view and waits until it is drawn."""
        self.page.goto(f"{self.address}#{view}")
        self.page.wait_for_selector(f"body[data-ready={view.partition('/')[0]}]")
        return self.page


@contextmanager
def visiting(browser: Browser, address: str, **options: Any) -> Iterator[Visit]:
    """A visit of its own kind, in which something may go wrong."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
    context.set_default_timeout(WAIT)
    try:
        yield Visit(context, address)
    finally:
        context.close()


@pytest.fixture(scope="module")
def tab(browser: Browser, server: RunningServer) -> Iterator[Visit]:
    with visiting(browser, server.address) as visit:
        yield visit


@pytest.fixture
def visit(tab: Visit) -> Iterator[Visit]:
    """A visit during which nothing may go wrong, and nobody but the server may be asked."""
    tab.page.goto("about:blank")
    tab.requested.clear()
    yield tab
    complaints, tab.complaints = tab.complaints, []
    assert complaints == []
    own = (tab.address, f"blob:{tab.address}", "about:blank")
    assert [url for url in tab.requested if not url.startswith(own)] == []


def drawn(page: Page, selector: str) -> str:
    """What a canvas shows, to compare."""
    return str(page.eval_on_selector(selector, "canvas => canvas.toDataURL()"))


def until(page: Page, expression: str, argument: Any = None) -> None:
    """Waits until an expression is true. Playwright's own way evaluates text in the page, which its policy forbids."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"never: {expression}"
        page.wait_for_timeout(50)


def text(page: Page, selector: str) -> str:
    return page.inner_text(selector)


def test_the_first_visit_asks_for_little(visit: Visit) -> None:
    sizes: list[int] = []
    visit.page.on("response", lambda response: sizes.append(int(response.headers.get("content-length", 0))))
    visit.open("play")
    assert len(visit.requested) <= 24
    assert sum(sizes) < 250_000


def test_play_draws_a_seed_moves_along_directions_and_between_seeds(visit: Visit) -> None:
    page = visit.open("play")
    assert page.locator("#play-grid canvas").count() == 36
    page.evaluate("document.querySelector('#play-count').add(new Option('1'))")
    page.select_option("#play-count", "1")
    page.wait_for_selector("#play-status:has-text('1 image of ')")
    page.select_option("#play-count", "16")
    until(page, "document.querySelectorAll('#play-grid canvas').length === 16")
    first = drawn(page, "#play-grid canvas")
    page.click("#play-grid button >> nth=3")
    assert text(page, "#explore-title") == "Around image 3 of seed 7"
    chosen = drawn(page, "#explore-picture")
    assert chosen == drawn(page, "#play-grid button:nth-child(4) canvas") != first

    page.wait_for_selector("#explore-sliders input")
    assert page.locator("#explore-sliders input").count() == 6
    page.focus("#explore-sliders input >> nth=0")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    until(page, "before => document.querySelector('#explore-picture').toDataURL() !== before", chosen)
    page.click("#explore-reset")
    assert drawn(page, "#explore-picture") == chosen

    page.fill("#between-way", "0")
    until(
        page,
        "document.querySelector('#between-picture').toDataURL() ==="
        " document.querySelector('#between-strip canvas').toDataURL()",
    )
    assert drawn(page, "#between-picture") == first, "the way begins at image 0 of the first seed"
    page.click("#between-go")
    until(page, "first => document.querySelector('#between-picture').toDataURL() !== first", first)
    page.click("#between-go")
    assert page.get_attribute("#between-go", "aria-pressed") == "false"


def test_a_grid_is_saved_as_a_picture(visit: Visit) -> None:
    page = visit.open("play")
    page.fill("#play-seed", "12")
    page.keyboard.press("Tab")
    until(page, "document.querySelector('#explore-title').textContent.includes('seed 12')")
    with page.expect_download() as saved:
        page.click("#play-download")
    assert saved.value.suggested_filename == f"{MODEL}-seed-12.png"
    with Image.open(saved.value.path()) as picture:
        # 6 times 28 pixels fit a thousand 5 times; every image has a white line of 5 pixels beside it.
        assert picture.size == (6 * 29 * 5 + 5, 6 * 29 * 5 + 5)


def test_the_page_draws_what_the_command_line_draws(visit: Visit, server: RunningServer) -> None:
    page = visit.open("play")
    shown = page.evaluate(
        "() => [...document.querySelectorAll('#play-grid canvas')].map(canvas =>"
        " [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, at) => at % 4 === 0))"
    )
    content = page.request.get(f"{server.address}sample?model={MODEL}&n=36&seed=7&format=npz").body()
    with np.load(io.BytesIO(content)) as archive:
        assert (np.array(shown, np.uint8).reshape(36, 28, 28, 1) == archive["images"]).all()


def test_an_image_is_classified_however_it_comes(visit: Visit) -> None:
    page = visit.open(f"classify/{MODEL}")
    page.set_input_files("#classify-file", DIGITS / "7.png")
    page.wait_for_selector(".bars")
    best = "#classify-answer dt >> nth=0"
    assert text(page, best) == "7"
    assert text(page, "#classify-answer dd >> nth=1") == "100.0 %"
    assert page.locator("#classify-answer dt").count() == 11  # ten classes and the realness
    widths = page.evaluate(
        "[...document.querySelectorAll('#classify-answer .track')]"
        ".map(track => track.firstChild.getBoundingClientRect().width / track.getBoundingClientRect().width)"
    )
    assert widths[0] == pytest.approx(1, abs=0.001)
    assert max(widths[1:10]) < 0.05

    for event, digit in [("paste", "2"), ("drop", "4")]:
        page.evaluate(
            """([bytes, event]) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], 'image.png', { type: 'image/png' }));
              const made = event === 'paste'
                ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
                : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
              (event === 'paste' ? document : document.querySelector('#classify-drop')).dispatchEvent(made);
            }""",
            [list((DIGITS / f"{digit}.png").read_bytes()), event],
        )
        until(page, "d => document.querySelector('#classify-answer dt')?.textContent === d", digit)

    assert page.locator("#classify-examples button").count() == 8
    page.click("#classify-examples button >> nth=1")
    page.wait_for_selector("#classify-examples button:nth-child(2)[aria-pressed=true]")


def test_a_digit_can_be_drawn(visit: Visit) -> None:
    page = visit.open(f"classify/{MODEL}")
    page.locator("#classify-pad").scroll_into_view_if_needed()
    box = page.locator("#classify-pad").bounding_box()
    assert box is not None

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    page.mouse.move(*at(0.55, 0.2))
    page.mouse.down()
    page.mouse.move(*at(0.5, 0.5))
    page.mouse.move(*at(0.45, 0.8))
    page.mouse.up()
    page.wait_for_selector(".bars")
    assert text(page, "#classify-answer dt >> nth=0") == "1"
    page.click("#classify-clear")
    assert page.evaluate(
        "document.querySelector('#classify-pad').getContext('2d').getImageData(0, 0, 280, 280).data"
        ".every((value, at) => value === (at % 4 === 3 ? 255 : 0))"
    )


def touching(page: Page, selector: str) -> dict[str, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return dict(box)


def test_on_a_phone_the_answer_is_under_the_picture_and_the_pad_stays_where_it_is(
    browser: Browser, server: RunningServer
) -> None:
    with visiting(browser, server.address, viewport={"width": 390, "height": 844}, has_touch=True) as visit:
        page = visit.open(f"classify/{MODEL}")
        pad = touching(page, "#classify-pad")
        page.mouse.move(pad["x"] + 90, pad["y"] + 40)
        page.mouse.down()
        page.mouse.move(pad["x"] + 90, pad["y"] + 160)
        assert touching(page, "#classify-pad") == pad
        page.mouse.up()
        page.wait_for_selector(".bars")
        assert touching(page, "#classify-pad") == pad
        answer = touching(page, "#classify-answer .bars >> nth=0")
        assert answer["y"] < 844, "the best class is in view"
        assert answer["y"] < touching(page, "#classify-examples")["y"]
        page.locator("#classify-examples button >> nth=0").scroll_into_view_if_needed()
        page.click("#classify-examples button >> nth=0")
        page.wait_for_selector("#classify-picture:not([hidden])")
        assert touching(page, "#classify-picture")["y"] >= 0
        assert visit.complaints == []


def photo(width: int, height: int, orientation: int) -> bytes:
    """A large JPEG, light above and dark below once it is upright."""
    upright = Image.new("L", (width, height), 255)
    upright.paste(0, (0, height // 2, width, height))
    assert orientation == 6, "turned by a quarter, as phones save what was held upright"
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_a_photo_of_24_megapixels_is_made_smaller_and_stays_upright(visit: Visit) -> None:
    page = visit.open(f"classify/{MODEL}")
    large = photo(4000, 6000, 6)
    page.set_input_files("#classify-file", {"name": "IMG_1.JPG", "mimeType": "image/jpeg", "buffer": large})
    page.wait_for_selector(".bars")
    assert page.evaluate("(({ width, height }) => [width, height])(document.querySelector('#classify-picture'))") == [
        683,
        1024,
    ]
    small = (DIGITS / "7.png").read_bytes()
    sent = [
        bytes(
            page.evaluate(
                "async bytes => Array.from(new Uint8Array(await (await (await import('/page/photos.js'))"
                ".smaller(new File([new Uint8Array(bytes)], 'image'))).arrayBuffer()))",
                list(content),
            )
        )
        for content in (large, small)
    ]
    with Image.open(io.BytesIO(sent[0])) as image:
        assert image.size == (683, 1024)
        gray = np.asarray(image.convert("L"))
    assert (gray[:400] > 200).all()
    assert (gray[-400:] < 50).all()
    assert sent[1] == small, "what is small is sent as it is"


def test_what_is_dark_on_light_can_be_inverted(visit: Visit) -> None:
    page = visit.open(f"classify/{MODEL}")
    with Image.open(DIGITS / "7.png") as digit:
        pixels = 255 - np.asarray(digit.convert("L"))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    page.set_input_files("#classify-file", {"name": "7.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.wait_for_selector(".hint:has-text('dark on light')")
    page.click(".hint button")
    page.wait_for_selector(".hint:has-text('were exchanged')")
    assert text(page, "#classify-answer dt >> nth=0") == "7"
    page.click(".hint button")
    page.wait_for_selector(".hint:has-text('dark on light')")


def test_what_the_model_does_not_know_is_said_so(visit: Visit) -> None:
    page = visit.open(f"classify/{MODEL}")
    file = io.BytesIO()
    Image.new("L", (28, 28), 60).save(file, "PNG")
    page.set_input_files("#classify-file", {"name": "gray.png", "mimeType": "image/png", "buffer": file.getvalue()})
    page.wait_for_selector(".hint:has-text('does not look like the digits the model was trained on')")
    page.set_input_files("#classify-file", DIGITS / "7.png")
    until(page, "!document.querySelector('.hint')")


def test_examples_are_of_the_models_kind_and_generated_ones_are_said_to_be(visit: Visit) -> None:
    # This server's real images are noise, given for no model: the model makes examples itself.
    page = visit.open(f"classify/{MODEL}")
    assert "this model generated these digits itself" in text(page, "#examples-note")
    page.click("#classify-examples button >> nth=0")
    page.wait_for_selector(".bars")
    shown = page.evaluate(
        "[...document.querySelector('#classify-picture').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    content = page.request.get(f"{visit.address}sample?model={MODEL}&n=8&seed=3&format=npz").body()
    with np.load(io.BytesIO(content)) as archive:
        assert (np.array(shown, np.uint8).reshape(28, 28, 4)[..., 0] == archive["images"][0, ..., 0]).all()


def test_a_morph_is_saved(visit: Visit) -> None:
    page = visit.open(f"play/{MODEL}")
    for form in ("webp", "gif"):
        with page.expect_download() as saved:
            page.click(f"[data-morph={form}]")
        assert saved.value.suggested_filename == f"{MODEL}-7-to-8.{form}"
        with Image.open(saved.value.path()) as picture:
            assert (picture.format, picture.is_animated) == (form.upper(), True)  # type: ignore[attr-defined]


def test_a_turing_test_says_how_long_it_takes_and_whether_answers_are_saved(visit: Visit) -> None:
    page = visit.open("turing")
    assert text(page, "#turing-length") == "6 images (digits): less than a minute."
    page.fill("#turing-rounds", "60")
    assert text(page, "#turing-length") == "60 images (digits): about 4 minutes."
    page.check("#turing-feedback")
    assert text(page, "#turing-length") == "60 images (digits): about 6 minutes."
    # This server keeps no file.
    assert "saved nowhere" in text(page, "#turing-saved")
    assert "47.6 %" in text(page, "#turing-results .paper")


def film(path: Path, picture: Path) -> Path:
    """A film for Chromium's pretended camera, of a grey picture that stands still."""
    grey = Image.open(picture).convert("L").resize((280, 280))
    colours = bytes([128]) * (2 * 140 * 140)  # both planes of half the size, without colour
    path.write_bytes(b"YUV4MPEG2 W280 H280 F10:1 Ip A1:1 C420jpeg\n" + b"FRAME\n" + grey.tobytes() + colours)
    return path


def test_a_picture_is_taken_with_the_camera(browser: Browser, server: RunningServer, tmp_path: Path) -> None:
    camera = f"--use-file-for-fake-video-capture={film(tmp_path / 'seven.y4m', DIGITS / '7.png')}"
    pretended = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with (
        launched(browser.browser_type, *pretended, camera) as filming,
        visiting(filming, server.address) as visit,
    ):
        page = visit.open(f"classify/{MODEL}")
        page.click("#classify-camera")
        page.wait_for_selector("#classify-camera:text('Take the picture')")
        until(page, "document.querySelector('#classify-video').videoWidth === 280")
        page.click("#classify-camera")
        page.wait_for_selector(".bars")
        assert text(page, "#classify-answer dt >> nth=0") == "7"
        assert page.is_hidden("#classify-video")
        assert text(page, "#classify-camera") == "Camera"
        assert visit.complaints == []


def test_a_camera_that_may_not_be_used_is_an_error_in_the_page(visit: Visit) -> None:
    page = visit.open("classify")
    page.click("#classify-camera")
    page.wait_for_selector("[role=alert]:has-text('the camera cannot be used, or may not be')")
    assert text(page, "#classify-camera") == "Camera"


def test_what_is_no_image_is_refused_in_the_page(visit: Visit) -> None:
    page = visit.open("classify")
    page.set_input_files("#classify-file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no image"})
    page.wait_for_selector("#problem:not(:empty)")
    assert page.get_attribute("#problem", "role") == "alert"
    page.set_input_files("#classify-file", DIGITS / "1.png")
    page.wait_for_selector(".bars")
    assert text(page, "#problem") == ""
    # The browser itself notes the answer 400.
    assert all("400" in complaint for complaint in visit.complaints)
    visit.complaints.clear()


def test_a_whole_turing_test_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit.open("play")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for _ in range(4):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#turing"
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready=turing]")
    while page.evaluate("document.activeElement.id") != "turing-feedback":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for number, key in enumerate("rgRG", 1):
        answer_round(page, number, key)
    answer_round(page, 5, "ArrowLeft")
    page.wait_for_selector("#turing-progress:text-is('Round 6 of 6')")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#turing-end .headline")
    assert re.fullmatch(r"You got \d of 6 wrong: \d+\.\d %", text(page, "#turing-end .headline"))
    assert page.locator("#turing-end .gallery li").count() == 6
    assert "MNIST on MTurk: 47.6 %" in str(page.get_attribute("#turing-end .scale", "aria-label"))
    assert "told after each answer" in text(page, "#turing-results")


def answer_round(page: Page, number: int, key: str) -> None:
    """Answers by a key, reads the verdict, and goes on with Enter."""
    page.wait_for_selector(f"#turing-progress:text-is('Round {number} of 6')")
    page.wait_for_selector("#turing-answers:not([hidden])")
    page.keyboard.press(key)
    page.wait_for_selector("#turing-next:not([hidden])")
    assert re.fullmatch(r"(Right|Wrong): it is (real|generated)\.", text(page, "#turing-verdict"))
    assert re.search(rf"of {number} wrong: \d+\.\d % \(95 %: ", text(page, "#turing-running"))
    assert page.evaluate("document.activeElement.parentElement.id") == "turing-next"
    page.keyboard.press("Enter")


def test_without_feedback_the_page_tells_nothing_before_the_end(visit: Visit) -> None:
    page = visit.open("turing")
    page.fill("#turing-rounds", "3")
    page.click("#turing-start .primary")
    for number in (1, 2, 3):
        page.wait_for_selector(f"#turing-progress:text-is('Round {number} of 3')")
        assert (text(page, "#turing-verdict"), text(page, "#turing-running")) == ("", "The result comes at the end.")
        page.click("#turing-answers button >> nth=0")
    page.wait_for_selector("#turing-end .headline")
    assert page.locator("#turing-end .right, #turing-end .wrong").count() == 3
    page.click("#turing-end .primary")
    assert page.evaluate("document.activeElement.textContent") == "Begin"


def test_the_models_are_shown_with_their_cards(visit: Visit) -> None:
    page = visit.open("models")
    article = f"article[aria-label={MODEL}]"
    assert "96 of 10000" in text(page, article)
    page.wait_for_selector(f"{article} > figure img")
    assert page.evaluate(f"document.querySelector('{article} > figure img').naturalWidth") > 100
    page.click(f"{article} summary")
    page.wait_for_selector(f"{article} .card pre")
    assert page.locator(f"{article} .card h4").count() >= 4
    assert "onnx/generator.onnx" in text(page, f"{article} .card")


def test_a_server_with_a_scorer_alone_has_something_to_show(visit: Visit) -> None:
    scorer = {"name": "inception", "summary": "A single ONNX file", "roles": ["scorer"], "provider": "CPU"}
    scorer |= dict.fromkeys(("image", "classes", "latent", "parity")) | {"results": []}
    visit.page.route("**/models", lambda route: route.fulfill(json=[scorer]))
    try:
        page = visit.open("models")
        assert "any size" in text(page, "article[aria-label=inception]")
        assert "has a generator" in text(visit.open("play"), "#play-status")
        assert "has a classifier" in text(visit.open("classify"), "#classify-answer")
    finally:
        visit.page.unroute("**/models")


def test_views_have_addresses_of_their_own(visit: Visit) -> None:
    page = visit.open(f"classify/{MODEL}")
    page.click("nav a >> nth=3")
    page.wait_for_selector("body[data-ready=models]")
    assert page.get_attribute("nav a >> nth=3", "aria-current") == "page"
    assert page.title() == "Models - igan-zoo"
    page.go_back()
    page.wait_for_selector("body[data-ready=classify]")
    assert [page.is_visible(f"#{view}-view") for view in VIEWS] == [False, True, False, False]
    page.goto(f"{visit.address}#no-such-view")
    page.wait_for_selector("body[data-ready=play]")


def test_nothing_has_to_be_scrolled_sideways_on_a_narrow_screen(browser: Browser, server: RunningServer) -> None:
    with visiting(browser, server.address, viewport={"width": 360, "height": 640}, color_scheme="dark") as visit:
        for view in VIEWS:
            page = visit.open(view)
            if view == "models":
                page.click("summary")
                page.wait_for_selector(".card pre")
            assert page.evaluate("document.documentElement.scrollWidth") == 360, view


def test_every_control_has_a_name_and_every_view_one_heading(visit: Visit) -> None:
    for view in VIEWS:
        page = visit.open(view)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('input, select, button, canvas:not(button canvas, .strip canvas)')]
              .filter(it => !it.getAttribute('aria-label') && !it.labels?.[0]?.textContent.trim())
              .filter(it => !it.textContent.trim())
              .map(it => it.outerHTML)"""
        )
        assert nameless == []
        assert page.locator("h1:visible").count() == 1
    assert page.locator("header, nav, main, footer").count() == 4


def test_when_the_server_dies_the_page_says_so_and_waits_for_it(browser: Browser) -> None:
    with running([MODEL]) as server, visiting(browser, server.address) as visit:
        page = visit.open("play")
        server.stop()
        page.click("#play-another")
        page.wait_for_selector("#problem:has-text('The server does not answer')")
        server.start()
        page.wait_for_selector("#problem:empty", state="attached")
        page.click("#play-another")
        until(page, "!document.querySelector('#explore-title').textContent.endsWith('seed 7')")
        assert text(page, "#problem") == ""


def test_a_token_is_asked_for_and_kept_for_this_tab_only(browser: Browser) -> None:
    with running([MODEL], token="open-sesame") as server, visiting(browser, server.address) as visit:
        page = visit.open("play")
        assert "token" in text(page, "#problem")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#token:not([hidden])")
        page.fill("#token-field", "open-sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#play-grid canvas")
        page.wait_for_selector("#problem:empty", state="attached")
        assert page.is_hidden("#token")
        for view, sign in [("models", "article > figure img"), ("classify", "#classify-examples canvas")]:
            visit.open(view)
            page.wait_for_selector(sign)
        assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        assert not any("sesame" in url for url in visit.requested)


# The greatest difference: where rows shrink less than columns a new Pillow begins with the columns.
SIZES = [(28, 28, 0), (160, 120, 0), (320, 280, 0), (20, 10, 0), (1, 5, 0), (31, 97, 1)]


def test_a_device_resizes_as_the_server_does(visit: Visit) -> None:
    page = visit.open("models")
    for width, height, allowed in SIZES:
        image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width), np.uint8))
        expected = conform(image, Shape(1, 28, 32))
        resized = page.evaluate(
            "async ([values, width, height]) => Array.from("
            "(await import('/page/resize.js')).resize(Uint8Array.from(values), width, height, 32, 28))",
            [np.asarray(image).ravel().tolist(), width, height],
        )
        assert np.abs(np.array(resized).reshape(28, 32, 1) - expected.astype(int)).max() <= allowed, (width, height)


@pytest.mark.skipif(
    not all((FOLDER / "vendor" / name).is_file() for name in RUNTIME), reason="needs onnxruntime-web: make web"
)
def test_this_device_and_the_server_agree(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("play")
    page.check("#device input")
    page.wait_for_selector("#play-status:has-text('on this device')")
    page.click("#play-compare")
    page.wait_for_selector("#play-agreement:has-text('agree')")
    agreement = text(page, "#play-agreement")
    # Sums in another order may tip a value that lies between two grey levels; the export allows one level, too.
    assert "are equal" in agreement or "within 1 of 255" in agreement

    page.goto(f"{visit.address}#classify")
    page.wait_for_selector("body[data-ready=classify]")
    photo = np.random.default_rng(0).integers(0, 256, (140, 140, 4), np.uint8)
    photo[..., 3] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    before = len(visit.requested)
    page.set_input_files("#classify-file", tmp_path / "photo.png")
    page.wait_for_selector("#classify-answer .note:has-text('on this device')")
    assert not any(url.endswith("/classify") or "/classify?" in url for url in visit.requested[before:])
    page.click("#classify-compare")
    page.wait_for_selector("#classify-agreement:has-text('Device and server')")
    said = text(page, "#classify-agreement")
    found = re.search(r"differ by ([\d.e-]+) at most", said)
    # The export allows 1e-5 between PyTorch and onnxruntime.
    assert "are equal" in said or (found and float(found.group(1)) <= 1e-5), said


def test_without_the_runtime_the_switch_is_hidden(browser: Browser, server: RunningServer) -> None:
    with visiting(browser, server.address) as visit:
        visit.page.route(
            lambda url: url == server.address,
            lambda route: route.fulfill(content_type="text/html", body=(FOLDER / "index.html").read_text()),
        )
        assert visit.open("models").is_hidden("#device")
