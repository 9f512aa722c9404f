"""Turning templates into pages, and figures into what people read."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tillstream.web.sessions import Session

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_MINUTE_MS, _HOUR_MS, _DAY_MS = 60_000, 3_600_000, 86_400_000
_LONG_DAYS = 1_000.0
_MOST_KEPT_CHARACTERS = 32_000_000


class Pages:
    """The templates, with what each of them may use."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Callable[..., str]] = {
            "money": money,
            "whole": whole,
            "percent": percent,
            "days": days,
            "age": age,
            "moment": moment,
            "signed": signed,
        }
        self._templates.filters.update(filters)
        self._templates.globals["static"] = static_url
        # A chart's lines keep their order.
        self._templates.policies["json.dumps_kwargs"] = {"sort_keys": False}
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._kept_characters = 0
        self._guard = threading.Lock()

    def render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(values)

    def page(self, template: str, session: Session, **values: Any) -> str:
        """A whole page for somebody who is signed in."""
        return self.render(template, person=session.person, csrf=session.csrf, **values)

    def kept(self, key: str, make: Callable[[], str]) -> str:
        """What `make` gave for `key` when it was asked first, as long as it is not forgotten: many
        browsers look at the same."""
        with self._guard:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._guard:
            self._kept_characters += len(made) - len(self._kept.pop(key, ""))
            self._kept[key] = made
            while self._kept_characters > _MOST_KEPT_CHARACTERS:
                self._kept_characters -= len(self._kept.popitem(last=False)[1])
        return made


@cache
def static_url(name: str) -> str:
    """The address changes with the content, so browsers may keep what they have for ever."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?v={digest}"


def money(amount: float | Decimal | None) -> str:
    if amount is None:
        return "–"
    return f"{amount:,.2f}" if -1000 < amount < 1000 else f"{amount:,.0f}"


def whole(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def signed(number: float | None) -> str:
    return "–" if number is None else f"{number:+,.0f}"


def percent(share: float | None) -> str:
    """Never 100 % or 0 % of what is only nearly so."""
    if share is None:
        return "–"
    if 0.995 <= share < 1:
        return "> 99 %"
    if 0 < share < 0.005:
        return "< 1 %"
    return f"{share:.0%}".replace("%", " %")


def days(number: float | None) -> str:
    """A span of days in the unit that reads best."""
    if number is None:
        return "–"
    if number >= _LONG_DAYS:
        return "years"
    if number < 1:
        return f"{number * 24:.0f} h"
    return f"{number:.1f} d" if number < 10 else f"{number:.0f} d"


def age(since_ms: int, now_ms: int) -> str:
    """How long ago, in one unit. `static/console.js` goes on counting."""
    span_ms = max(now_ms - since_ms, 0)
    if span_ms < _MINUTE_MS:
        return "now"
    if span_ms < _HOUR_MS:
        return f"{span_ms // _MINUTE_MS} min"
    if span_ms < 2 * _DAY_MS:
        return f"{span_ms // _HOUR_MS} h"
    return f"{span_ms // _DAY_MS} d"


def moment(at: int | datetime | None, zone: tzinfo = UTC) -> Markup:
    """A moment as people read it, with the exact one for machines."""
    if at is None:
        return Markup("–")
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at / 1000, UTC)
    when = when.astimezone(zone) if when.tzinfo else when.replace(tzinfo=UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        when.isoformat(), when.strftime("%a %d %b %H:%M")
    )
