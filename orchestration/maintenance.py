"""Keeping the lake quick and small: objects merged, and forgotten when they are old."""

from datetime import UTC, date, datetime, timedelta

from lake.client import connect
from lake.compaction import Compaction, compact
from lake.coverage import OffsetRange, coverage
from lake.models import MODELS, Registry
from lake.retention import expire
from orchestration.lock import only_night
from tillstream.errors import IntegrityError
from tillstream.settings import Settings


def compact_lake(settings: Settings, day: date) -> Compaction:
    """Merge small objects of arrival dates up to `day`, and prove that the lake holds the same.

    The day that is going on now is left alone: the stream still writes to it. Raises IntegrityError
    when the offsets afterwards are not those before, ServiceError when the lake does not answer or
    another maintenance is at work.
    """
    lake = connect(settings.lake, url=settings.lake_url)
    before = min(day + timedelta(days=1), datetime.now(tz=UTC).date())
    with only_night(settings.home, "lake", doing=f"compaction up to {day}"):
        held = {one.partition: one for one in coverage(lake).partitions}
        done = compact(lake, before=before)
        for one in coverage(lake).partitions:
            known = held.pop(one.partition, None)
            # The stream may have archived more meanwhile; what was there must be there.
            if known and any(_lost(r.first, r.last, one.ranges) for r in known.ranges):
                held[one.partition] = known
        if held:
            raise IntegrityError(
                f"the lake lost offsets of {', '.join(map(str, held))} while it was compacted",
                hint="run `tillstream verify`; Kafka has the last 7 days, and what is gone there"
                " must come from a backup of the lake",
            )
    return done


def expire_lake(settings: Settings, day: date) -> int:
    """Delete objects that arrived longer ago than the lake keeps them; how many. By arrival, never
    by event time. A bucket does so itself, by its lifecycle rule."""
    days = settings.lake.retention_days
    lake = connect(settings.lake, url=settings.lake_url)
    if days is None or lake.folder is None:
        return 0
    with only_night(settings.home, "lake", doing=f"retention of {day}"):
        return expire(lake, before=day - timedelta(days=days))


def expire_models(settings: Settings, day: date) -> dict[str, list[int]]:
    """Delete versions of each model that are older than the newest TILLSTREAM_LAKE__MODELS_KEPT and
    were not in service of late; returns them by model, empty when there were none."""
    lake = connect(settings.lake, url=settings.lake_url)
    with only_night(settings.home, "lake", doing=f"expiry of models, {day}"):
        gone = {
            name: Registry(lake, name).expire(keep=settings.lake.models_kept) for name in MODELS
        }
    return {name: versions for name, versions in gone.items() if versions}


def _lost(first: int, last: int, ranges: tuple[OffsetRange, ...]) -> bool:
    return not any(one.first <= first and last <= one.last for one in ranges)
