"""Many small objects become few large ones, with every record once, before and after.

The new object is written first, read back and compared, and only then are the old ones deleted. A
death in between leaves records in two objects, which readers count once; the next compaction finds
the large object, proves it, and deletes the small ones it stands for.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from lake.client import Lake
from lake.coverage import archived
from lake.paths import RAW_PREFIX, ObjectName
from tillstream.errors import IntegrityError

# A group is read into memory whole.
_MOST_ROWS = 500_000
_LARGE_BYTES = 64 << 20
# A writer that is still at work renames its file within seconds.
_ABANDONED_S = 3600.0


@dataclass(frozen=True, slots=True)
class Group:
    """`members` hold, together and without a gap, exactly the offsets that `target` names."""

    target: ObjectName
    members: tuple[ObjectName, ...]


@dataclass(slots=True)
class Compaction:
    """What was done. `damaged` objects, and their neighbours, were left as they were."""

    objects_before: int = 0
    objects_after: int = 0
    records: int = 0
    abandoned: int = 0
    damaged: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = (
            f"{self.objects_before:,} objects are now {self.objects_after:,}, "
            f"with {self.records:,} records compared; {self.abandoned} unfinished files removed"
        )
        return text + "".join(f"; left as it was: {name}" for name in self.damaged)


def plan(objects: Iterable[tuple[ObjectName, int]], *, before: date) -> list[Group]:
    """Which objects of arrival dates before `before` become one. A large one stays as it is."""
    by_place: defaultdict[tuple[object, ...], list[tuple[ObjectName, int]]] = defaultdict(list)
    for name, size_bytes in objects:
        if name.arrival_date < before:
            place = (name.topic, name.topic_id, name.partition, name.arrival_date)
            by_place[place].append((name, size_bytes))
    groups = []
    for _, members in sorted(by_place.items()):
        for run in _runs(sorted(members, key=lambda one: (one[0].first_offset, -one[0].rows))):
            if len(run) > 1:
                groups.append(Group(_spanning(run), tuple(run)))
    return groups


def compact(
    lake: Lake, *, before: date, after_write: Callable[[ObjectName], None] = lambda _: None
) -> Compaction:
    """Merge what `plan` names. `after_write` is told of each new object before the old ones go.

    Raises ServiceError when the lake cannot be read or written, IntegrityError when what was
    written is not what was read: nothing is deleted then.
    """
    done = Compaction(abandoned=_remove_abandoned(lake))
    for group in plan(archived(lake)[0], before=before):
        try:
            records = _merged(lake, group)
        except IntegrityError as exc:
            done.damaged.append(str(exc))
            continue
        if group.target not in group.members:
            lake.write(str(group.target), records)
            after_write(group.target)
        if not lake.read(str(group.target)).equals(records):
            raise IntegrityError(
                f"lake object {group.target} does not hold what was written to it",
                hint="nothing was deleted; remove that object and look at the disk",
            )
        for name in group.members:
            if name != group.target:
                lake.delete(str(name))
        done.objects_before += len(group.members)
        done.objects_after += 1
        done.records += records.num_rows
    return done


def _runs(members: list[tuple[ObjectName, int]]) -> Iterable[list[ObjectName]]:
    """Neighbours without a gap, as many as make one large object."""
    run: list[ObjectName] = []
    rows = size = 0
    last = -1
    for name, size_bytes in members:
        covered = bool(run) and name.last_offset <= last
        joins = bool(run) and name.first_offset <= last + 1
        grows = rows + name.rows <= _MOST_ROWS and size < _LARGE_BYTES
        if not covered and not (joins and grows):
            yield run
            run, rows, size, last = [], 0, 0, -1
        run.append(name)
        if not covered:
            rows += name.rows
            size += size_bytes
            last = max(last, name.last_offset)
    yield run


def _spanning(members: list[ObjectName]) -> ObjectName:
    first, last = members[0], max(name.last_offset for name in members)
    return ObjectName(
        first.topic,
        first.topic_id,
        first.partition,
        min(name.first_offset for name in members),
        last,
        first.arrival_date,
    )


def _merged(lake: Lake, group: Group) -> pa.Table:
    """Every record of the group once, in order. Raises IntegrityError for a damaged member."""
    parts = []
    position = group.target.first_offset
    for name in group.members:
        table = lake.read(str(name))
        offsets = table["offset"].to_numpy()
        if (
            len(offsets) != name.rows
            or offsets[0] != name.first_offset
            or ((offsets[1:] - offsets[:-1]) != 1).any()
        ):
            raise IntegrityError(f"{name} holds {len(offsets)} records, its name says {name.rows}")
        parts.append(table.filter(pc.field("offset") >= position))
        position = max(position, name.last_offset + 1)
    merged = pa.concat_tables(parts, promote_options="default").combine_chunks()
    return merged.replace_schema_metadata(None)


def _remove_abandoned(lake: Lake) -> int:
    """Delete what writers left unfinished when they were killed. Only folders have such files: an
    S3 server never shows half an object."""
    if lake.folder is None:
        return 0
    removed = 0
    for path in (lake.folder / RAW_PREFIX).rglob(".*.tmp"):
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
