"""The console in a real browser: what a person on call sees and does."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fixtures.console import PASSWORD, RunningConsole, find_chromium

pytestmark = pytest.mark.integration

SignIn = Callable[..., Page]
_PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: `.ci/run` installs one")
        pytest.skip("no Chromium here: set TILLSTREAM_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def sign_in(browser: Browser, running_console: RunningConsole) -> Iterator[SignIn]:
    """Opens a browser of its own for a user, signed in; it fails on any script error."""
    contexts, errors = [], []

    def open_page(name: str, **options: Any) -> Page:
        context = browser.new_context(base_url=running_console.url, **options)
        context.set_default_timeout(_PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Now")).to_be_visible()
        expect(page.locator("#link")).not_to_have_class("link down")
        return page

    expect.set_options(timeout=_PATIENCE_MS)
    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def row(page: Page, running: RunningConsole, product: str) -> Any:
    return page.locator(f"#a-{running.alert_id(product)}")


def choose(page: Page, running: RunningConsole, product: str) -> None:
    """Go to a row by keyboard alone: up to the first one, then down."""
    wanted = row(page, running, product)
    expect(wanted).to_be_visible()
    many = page.locator("li.alert").count()
    for key in ["k"] * many + ["j"] * many:
        page.keyboard.press(key)
        if "chosen" in (wanted.get_attribute("class") or ""):
            break
    expect(wanted).to_contain_class("chosen")


def test_a_night_on_call_by_keyboard(running_console: RunningConsole, sign_in: SignIn) -> None:
    ann, bob = sign_in("ann"), sign_in("bob")
    # A new alert arrives by itself, in both browsers.
    running_console.empty_shelf("night")
    for page in (ann, bob):
        expect(row(page, running_console, "night")).to_be_visible()
    # Acknowledged by one, seen by the other.
    choose(ann, running_console, "night")
    ann.keyboard.press("a")
    seen = row(bob, running_console, "night").locator(".state")
    expect(seen).to_contain_text("acknowledged")
    expect(seen).to_contain_text("ann")
    # Escalated, and that undone.
    ann.keyboard.press("e")
    expect(seen).to_contain_text("escalated 1")
    ann.keyboard.press("u")
    expect(seen).to_contain_text("acknowledged")
    # Snoozed: out of sight for both, and back after undo.
    ann.keyboard.press("s")
    expect(ann.get_by_role("dialog")).to_be_visible()
    ann.keyboard.press("1")
    for page in (ann, bob):
        expect(row(page, running_console, "night")).to_have_count(0)
    ann.keyboard.press("u")
    for page in (ann, bob):
        expect(row(page, running_console, "night").locator(".state")).to_contain_text("acknow")


def test_the_second_of_two_is_told_who_was_first(
    running_console: RunningConsole, sign_in: SignIn
) -> None:
    running_console.empty_shelf("race")
    ann, bob = sign_in("ann"), sign_in("bob")
    choose(ann, running_console, "race")
    choose(bob, running_console, "race")
    # Bob's page has not seen what Ann does before he acts.
    bob.evaluate("now.source.close()")
    ann.keyboard.press("a")
    expect(row(ann, running_console, "race").locator(".state")).to_contain_text("ann")
    bob.keyboard.press("a")
    expect(bob.locator(".toast.bad")).to_contain_text("ann acknowledged it first")


def test_a_resolved_alert_leaves_with_its_reason(
    running_console: RunningConsole, sign_in: SignIn
) -> None:
    running_console.empty_shelf("over")
    page = sign_in("ann")
    alert_id = running_console.alert_id("over")
    choose(page, running_console, "over")
    page.keyboard.press("r")
    page.get_by_label("Why is it over?").fill("<b>counted</b>: there are ten")
    page.keyboard.press("Enter")
    expect(page.locator(f"#a-{alert_id}")).to_have_count(0)
    page.goto("/items/304/over")
    # What people write is text, never markup.
    expect(page.get_by_text("resolve: <b>counted</b>: there are ten")).to_be_visible()


def test_a_store_manager_sees_one_store(running_console: RunningConsole, sign_in: SignIn) -> None:
    page = sign_in("max")
    expect(row(page, running_console, "gone-305")).to_be_visible()
    assert page.locator("li.alert[data-store='304']").count() == 0
    running_console.empty_shelf("hidden", store_id="304")
    running_console.empty_shelf("shown", store_id="305")
    expect(row(page, running_console, "shown")).to_be_visible()
    assert page.locator("li.alert[data-store='304']").count() == 0
    for path in ("/items/304/gone-304", "/stores/304", "/items/304/no-such-item"):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 404, path
    page.goto("/stores")
    expect(page.get_by_role("link", name="Store 305")).to_be_visible()
    assert page.get_by_text("Store 304").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    running_console: RunningConsole, sign_in: SignIn, scheme: str
) -> None:
    page = sign_in("root", color_scheme=scheme, reduced_motion="reduce")
    axe = Axe()
    found = []
    pages = ("/", "/items/304/gone-304", "/stores", "/stores/304", "/executive", "/health")
    for path in (*pages, "/?text=nothing-like-it", "/stores/nowhere"):
        page.goto(path)
        expect(page.locator("main")).to_be_visible()
        for one in axe.run(page).response["violations"]:
            if one["impact"] in ("serious", "critical"):
                places = [node["html"][:120] for node in one["nodes"][:2]]
                found.append((path, one["id"], places))
    assert found == []


def test_a_phone_needs_no_sideways_scrolling(
    running_console: RunningConsole, sign_in: SignIn
) -> None:
    page = sign_in("ann", viewport={"width": 360, "height": 740})
    for path in ("/", "/items/304/gone-304", "/stores", "/executive", "/health"):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, f"{path} is {wide} px wide"
