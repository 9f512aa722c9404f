"""How figures read, and which rows are wanted."""

from dataclasses import replace
from decimal import Decimal
from functools import partial

import pytest

from tillstream.alerting.alert import AlertView, Severity, State
from tillstream.web import pages
from tillstream.web.board import rank
from tillstream.web.filters import Filters
from tillstream.web.pages import Pages
from tillstream.web.people import Person, Role, Scope

VIEW = AlertView(
    alert_id="a1",
    incident_id=None,
    store_id="424",
    product_id="P1",
    product_name="Oat Milk",
    region="north",
    category="dairy",
    supplier_id="7",
    supplier_name="Farm",
    state=State.OPEN,
    severity=Severity.HIGH,
    risk=0.8,
    on_hand=2,
    days_of_cover=0.5,
    empty_p50_days=0.4,
    expected_lost_margin=Decimal("20.50"),
    explanation="",
    low_confidence=False,
    opened_at_ms=1_000,
    since_ms=1_000,
    updated_at_ms=1_000,
    version=1,
)


@pytest.mark.parametrize(
    ("share", "words"),
    [(1.0, "100 %"), (0.999, "> 99 %"), (0.62, "62 %"), (0.004, "< 1 %"), (0.0, "0 %")],
)
def test_nearly_certain_is_not_certain(share: float, words: str) -> None:
    assert pages.percent(share) == words


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "now"), (59, "59 min"), (60, "1 h"), (47 * 60, "47 h"), (48 * 60, "2 d"), (-5, "now")],
)
def test_an_age_has_one_unit(minutes: int, words: str) -> None:
    assert pages.age(0, minutes * 60_000) == words


def test_money_and_days_read_well() -> None:
    assert (pages.money(Decimal("4.1")), pages.money(12345.6)) == ("4.10", "12,346")
    assert (pages.days(0.25), pages.days(3.14), pages.days(40)) == ("6 h", "3.1 d", "40 d")
    assert (pages.days(36500), pages.days(None)) == ("years", "–")


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Filters(), True),
        (Filters(text="oat m"), True),
        (Filters(text="p1"), True),
        (Filters(text="soy"), False),
        (Filters(region="north", store="424", category="dairy", severity="high"), True),
        (Filters(region="south"), False),
        (Filters(severity="critical"), False),
        (Filters(state="all"), True),
        (Filters(state="snoozed"), False),
    ],
)
def test_filters_must_all_agree(wanted: Filters, takes: bool) -> None:
    assert wanted.takes(VIEW) is takes


@pytest.mark.parametrize("state", [State.SNOOZED, State.RESOLVED])
def test_what_needs_nobody_now_is_not_active(state: State) -> None:
    assert not Filters().takes(replace(VIEW, state=state))
    assert Filters(state=state.value).takes(replace(VIEW, state=state))


def test_the_most_expensive_stands_first_and_of_equals_the_oldest() -> None:
    dear = replace(VIEW, alert_id="dear", expected_lost_margin=Decimal(90))
    old = replace(VIEW, alert_id="old", opened_at_ms=1)
    assert sorted([VIEW, old, dear], key=rank) == [dear, old, VIEW]


def test_a_store_manager_sees_their_stores_and_others_see_all() -> None:
    assert Person("max", Role.STORE_MANAGER, frozenset({"424"})).scope == Scope(frozenset({"424"}))
    assert not Scope(frozenset()).sees("424")
    for role in (Role.VIEWER, Role.ON_CALL, Role.ADMIN):
        assert Person("x", role).scope == Scope(None)
    assert [role for role in Role if not Person("x", role).may_act] == [Role.VIEWER]


def test_what_is_kept_is_made_once_and_the_oldest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "_MOST_KEPT_CHARACTERS", 25)
    made: list[str] = []

    def make(text: str) -> str:
        made.append(text)
        return text

    kept = Pages()
    for text in ("a" * 10, "a" * 10, "b" * 10, "c" * 10, "a" * 10):
        assert kept.kept(text, partial(make, text)) == text
    assert [text[0] for text in made] == ["a", "b", "c", "a"]


def test_names_from_outside_cannot_become_markup() -> None:
    html = Pages().render(
        "row.html",
        view=replace(VIEW, store_id='"><script>'),
        product="<img src=x onerror=alert(1)>",
        store=type("Store", (), {"name": "<i>", "region": ""}),
        now_ms=0,
    )
    assert "<script>" not in html
    assert "<img" not in html
    assert "<i>" not in html.replace('<i aria-hidden="true">', "")
