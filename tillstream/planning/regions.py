"""A chain's plan, a region at a time: stores of one region help each other out, others do not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa

from clickhouse.client import Client
from tillstream.clock import zone_of
from tillstream.errors import ConfigError
from tillstream.planning.plan import Policy, plan, short_products
from tillstream.planning.reading import newest_score, places, read_items

# Further ahead, sales until then say more than the stock there is now.
MOST_DAYS_AHEAD = 14


@dataclass(frozen=True, slots=True)
class Region:
    """Ids of the stores asked for in one region, of the others there, and the policy on the clocks
    of the first one asked for."""

    asked: list[str]
    nearby: list[str]
    policy: Policy


def regions(
    client: Client,
    stores: Sequence[str] | None,
    *,
    day: str | None = None,
    service_level: float | None = None,
) -> list[Region]:
    """The regions of `stores` (None: of all that have scores), to be planned for `day` (None:
    tomorrow). Raises ConfigError for an unknown store, and a day that is none, is over or is far
    away."""
    newest = newest_score(client)
    known = places(client)
    wanted = set(stores or (one.store_id for one in known))
    if unknown := sorted(wanted - {one.store_id for one in known}):
        some = ", ".join(one.store_id for one in known[:5])
        raise ConfigError(f"no scores of store {', '.join(unknown)}", hint=f"there are {some} …")
    found = []
    for name in sorted({one.region for one in known if one.store_id in wanted}):
        there = [one for one in known if one.region == name]
        asked = [one for one in there if one.store_id in wanted]
        now = newest.astimezone(zone_of(asked[0].time_zone))
        found.append(
            Region(
                asked=[one.store_id for one in asked],
                nearby=[one.store_id for one in there if name and one.store_id not in wanted],
                policy=Policy(now=now, day=day_of(day, now), service_level=service_level),
            )
        )
    return found


def store_plans(
    client: Client,
    stores: Sequence[str] | None,
    *,
    day: str | None = None,
    service_level: float | None = None,
) -> Iterator[pa.Table]:
    """The suggestions of each region, as `regions` are asked for. Stores nearby are read only for
    what the stores asked for are short of, and make the plan the same as that of all stores."""
    for region in regions(client, stores, day=day, service_level=service_level):
        items = read_items(client, region.asked)
        if region.nearby and (short := short_products(items, region.policy)):
            others = read_items(client, region.nearby, products=short)
            items = pa.concat_tables([items, others])
        yield plan(items, region.policy, stores=region.asked)


def day_of(text: str | None, now: datetime) -> date:
    """The day `text` names, else the one after `now`. Raises ConfigError."""
    tomorrow = now.date() + timedelta(days=1)
    if text is None:
        return tomorrow
    try:
        day = date.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(
            f"--date must be a day, got {text!r}", hint=f"for example --date {tomorrow}"
        ) from exc
    if not 0 <= (day - now.date()).days <= MOST_DAYS_AHEAD:
        raise ConfigError(
            f"--date must lie within {MOST_DAYS_AHEAD} days from {now.date()}, the newest score's",
            hint=f"for example --date {tomorrow}",
        )
    return day
