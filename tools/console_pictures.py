"""Takes docs/console-*.png of a running console.

    python tools/console_pictures.py http://127.0.0.1:8480 ann --item S0002/P000248 --store S0002

The password is read from standard input. Needs Chromium on the PATH.
"""

import argparse
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_DESK = {"width": 1280, "height": 820}
_PHONE = {"width": 390, "height": 780}
_PATIENCE_MS = 120_000


def signed_in(browser: Browser, url: str, name: str, password: str, **options: object) -> Page:
    context = browser.new_context(base_url=url, **options)  # type: ignore[arg-type]
    context.set_default_timeout(_PATIENCE_MS)
    page = context.new_page()
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "/sign-in" not in address)
    return page


def keep(page: Page, name: str, *, whole: bool = False) -> None:
    """As a PNG of 256 colours: these pages have few."""
    page.wait_for_timeout(2500)
    if whole:
        page.evaluate("document.getElementById('actions')?.remove()")
    picture = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
    path = _DOCS / f"console-{name}.png"
    few = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--item", required=True, metavar="STORE/PRODUCT")
    parser.add_argument("--store", required=True)
    parser.add_argument("--only", nargs="*", help="of the pages besides Now")
    args = parser.parse_args()
    password = sys.stdin.readline().rstrip("\n")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = signed_in(browser, args.url, args.name, password, viewport=_DESK)
        for key in ("j", "j", "j", "j", "j"):
            page.keyboard.press(key)
        page.wait_for_timeout(1000)
        keep(page, "now")
        for name, path in (
            ("item", f"/items/{args.item}"),
            ("store", f"/stores/{args.store}"),
            ("stores", "/stores"),
            ("executive", "/executive"),
            ("health", "/health"),
        ):
            if args.only and name not in args.only:
                continue
            page.goto(path)
            keep(page, name, whole=name in ("item", "executive", "health"))
        page.goto("/")
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        page.locator("details.incident summary").first.click()
        page.keyboard.press("?")
        keep(page, "dark")
        phone = signed_in(
            browser, args.url, args.name, password, viewport=_PHONE, device_scale_factor=1.5
        )
        keep(phone, "phone")
        browser.close()


if __name__ == "__main__":
    main()
