"""The lake against what Kafka held: from a listing and the objects' footers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clickhouse.queries import Cut
from lake.client import Lake
from lake.coverage import coverage
from tillstream.audit.findings import LISTED, Check, Finding


@dataclass(frozen=True, slots=True)
class Archived:
    """Offsets of one partition that the lake should hold but does not (ranges, both ends)."""

    records: int
    missing: tuple[tuple[int, int], ...]

    @property
    def missing_count(self) -> int:
        return sum(last - first + 1 for first, last in self.missing)


def check_archive(
    lake: Lake, wanted: Iterable[tuple[Cut, int]]
) -> tuple[Mapping[tuple[str, int], Archived], Check]:
    """`wanted`: up to which offset each partition is archived, and its first offset."""
    held = coverage(lake, count_rows=True)
    ranges = {
        (one.partition.topic_id, one.partition.number): [(r.first, r.last) for r in one.ranges]
        for one in held.partitions
    }
    result = {}
    findings = []
    for cut, first in wanted:
        key = (cut.topic_id, cut.partition)
        missing = tuple(uncovered(ranges.get(key, []), first, cut.next_offset - 1))
        records = sum(last - start + 1 for start, last in ranges.get(key, []))
        result[key] = Archived(records, missing)
        findings += [
            Finding(
                "not archived",
                f"{cut.topic}-{cut.partition} offsets {a}..{z}: in no object of the lake",
                {"topic": cut.topic, "partition": cut.partition, "first": a, "last": z},
            )
            for a, z in missing
        ]
    for damage in held.damaged or ():
        rows = "cannot be read" if damage.rows is None else f"holds {damage.rows} records"
        detail = f"{damage.name} {rows}; its name promises {damage.expected_rows}"
        findings.append(Finding("damaged object", detail, {"object": damage.name}))
    overlapping = sum(len(span) for one in held.partitions for span in one.overlaps)
    notes = []
    if overlapping:
        notes.append(f"{overlapping} offsets are in more than one object; readers count them once")
    notes += [f"{name}: not written by tillstream" for name in held.foreign[:LISTED]]
    check = Check(
        "lake",
        compared=sum(one.records for one in result.values()),
        disagreeing=sum(one.missing_count for one in result.values()) + len(held.damaged or ()),
        findings=tuple(findings[:LISTED]),
        notes=tuple(notes),
    )
    return result, check


def uncovered(held: list[tuple[int, int]], first: int, last: int) -> Iterable[tuple[int, int]]:
    """The parts of first..last that the ascending, disjoint ranges `held` leave out."""
    position = first
    for start, end in held:
        if start > last:
            break
        if start > position:
            yield position, start - 1
        position = max(position, end + 1)
    if position <= last:
        yield position, last
