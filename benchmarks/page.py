"""How heavy and how quick the page is in a real browser, and the pictures of it in ``docs/``.

    python benchmarks/page.py http://127.0.0.1:8000/ [--rounds 5] [--screenshots docs]

asks a running server (``igan-zoo serve cifar10-ssl mnist-ssl --real cifar10-ssl=uoft-cs/cifar10 --real
mnist-ssl=ylecun/mnist --real-split test``), with an empty cache each time; ``--rounds 0`` only takes
pictures. Wants playwright and /usr/bin/chromium.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Browser, Page, Response, sync_playwright

MODEL, DIGITS = "cifar10-ssl", "mnist-ssl"
WIDTH, HEIGHT = 1200, 1000
PHONE = {"width": 390, "height": 844}
COLORS = 192


def measure(browser: Browser, address: str, view: str) -> tuple[float, float, int, int]:
    """Returns milliseconds until the page is loaded and until the view is drawn, requests, and bytes of bodies."""
    context = browser.new_context()
    page = context.new_page()
    sizes: list[int] = []
    page.on("response", lambda response: count(response, sizes))
    page.goto(f"{address}#{view}")
    page.wait_for_selector(f"body[data-ready={view}]")
    drawn = page.evaluate("performance.now()")
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    context.close()
    return loaded, drawn, len(sizes), sum(sizes)


def count(response: Response, sizes: list[int]) -> None:
    """Adds the size of an answer of the server; images that the page made itself are answers to the browser, too."""
    if response.url.startswith("http"):
        sizes.append(int(response.headers.get("content-length", 0)))


def take_pictures(browser: Browser, address: str, folder: Path) -> None:
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    page = context.new_page()

    show(page, address, f"play/{MODEL}")
    page.wait_for_selector("#explore-sliders input")
    page.click("#play-grid button >> nth=10")
    page.fill("#explore-sliders input >> nth=0", "-1.5")
    page.fill("#explore-sliders input >> nth=2", "2")
    page.wait_for_timeout(1000)
    save(page, folder / "page-play.png")

    show(page, address, f"classify/{MODEL}")
    page.click("#classify-examples button >> nth=4")
    page.wait_for_selector(".bars")
    page.wait_for_timeout(500)
    save(page, folder / "page-classify.png")

    show(page, address, f"turing/{MODEL}")
    page.check("#turing-feedback")
    page.fill("#turing-rounds", "8")
    page.keyboard.press("Enter")
    for number in range(1, 9):
        page.wait_for_selector(f"#turing-progress:text-is('Round {number} of 8')")
        page.wait_for_selector("#turing-answers:not([hidden])")
        page.keyboard.press("r" if number % 2 else "g")
        if number < 8:
            page.wait_for_selector("#turing-next:not([hidden])")
            page.keyboard.press("Enter")
    page.wait_for_selector("#turing-end .headline")
    page.wait_for_timeout(500)
    save(page, folder / "page-turing.png")

    show(page, address, "models")
    page.wait_for_selector("article figure img >> nth=1")
    page.wait_for_timeout(500)
    save(page, folder / "page-models.png")
    context.close()

    context = browser.new_context(viewport=PHONE, color_scheme="dark", device_scale_factor=2)
    page = context.new_page()
    show(page, address, f"classify/{DIGITS}")
    page.click("#classify-examples button >> nth=2")
    page.wait_for_selector(".bars")
    page.wait_for_timeout(500)
    save(page, folder / "page-phone.png")
    context.close()


def show(page: Page, address: str, view: str) -> None:
    page.goto(f"{address}#{view}")
    page.wait_for_selector(f"body[data-ready={view.partition('/')[0]}]")


def save(page: Page, path: Path) -> None:
    """Writes a picture of what is in view, in few colors: these files belong to the repository."""
    page.mouse.move(0, 0)
    page.evaluate("window.scrollTo(0, 0)")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--screenshots", type=Path)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for view in ("play", "classify", "turing", "models") if options.rounds > 0 else ():
            measured = [measure(browser, options.address, view) for _ in range(options.rounds)]
            loaded, drawn, requests, size = (median(column) for column in zip(*measured, strict=True))
            print(f"{view}: loaded {loaded:.0f} ms, drawn {drawn:.0f} ms, {requests:.0f} requests, {size:,.0f} bytes")
        if options.screenshots is not None:
            take_pictures(browser, options.address, options.screenshots)


if __name__ == "__main__":
    main()
