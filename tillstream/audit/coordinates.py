"""Kafka's offsets against the rows they became, partition by partition."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from clickhouse.client import Client
from clickhouse.queries import FACT_TABLES, LANDING_TABLES, Cut, select
from tillstream.audit.findings import LISTED, Check, Finding

Coordinates = tuple[str, int, int]
# Which of these (topic, partition, offset) does the broker hold a record at?
HasRecord = Callable[[list[Coordinates]], set[Coordinates]]
KafkaRanges = Mapping[tuple[str, int], tuple[int, int]]

_ROWS = " UNION ALL ".join(
    f"SELECT '{table}' AS source, toString(topic_id) AS topic_id, partition, offset FROM {table}"
    for table in LANDING_TABLES
)


@dataclass(frozen=True, slots=True)
class Landed:
    """Rows of one partition from `first` up to the cut, by where they landed, and the offsets that
    are not there (`missing`, ranges with both ends) or there more than once (`doubled`)."""

    cut: Cut
    first: int
    facts: int
    duplicates: int
    quarantine: int
    missing: tuple[tuple[int, int], ...]
    doubled: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def missing_count(self) -> int:
        return sum(last - first + 1 for first, last in self.missing)


def landed(client: Client, cut: Cut, *, oldest: int, has_record: HasRecord) -> Landed:
    """Look at one partition. `oldest` is Kafka's log start: offsets before the first stored one
    are missing only if Kafka still has them. An offset where the broker itself has no record
    (transaction markers, compaction) is not missing."""
    where = "topic_id = {t:String} AND partition = {p:Int32} AND offset < {c:Int64}"
    parameters = {"t": cut.topic_id, "p": cut.partition, "c": cut.next_offset}
    rows = f"(SELECT source, offset FROM ({_ROWS}) WHERE {where})"
    counts = select(
        client,
        f"SELECT countIf(source NOT IN ('duplicates', 'quarantine')) AS facts,"
        " countIf(source = 'duplicates') AS duplicates,"
        " countIf(source = 'quarantine') AS quarantine, count() AS n,"
        f" groupBitmap(toUInt64(offset)) AS distinct, min(offset) AS first FROM {rows}",
        parameters=parameters,
    ).to_pylist()[0]
    first = min(counts["first"], oldest) if counts["n"] else oldest
    missing: list[tuple[int, int]] = []
    if counts["distinct"] != max(cut.next_offset - first, 0):
        gaps = _gaps(client, rows, parameters, first, cut)
        missing = _really_missing(cut, gaps, oldest, has_record)
    doubled: list[tuple[int, tuple[str, ...]]] = []
    if counts["n"] != counts["distinct"]:
        found = select(
            client,
            f"SELECT offset, groupArray(source) AS sources FROM {rows} GROUP BY offset"
            " HAVING count() > 1 ORDER BY offset",
            parameters=parameters,
        )
        doubled = [(row["offset"], tuple(sorted(row["sources"]))) for row in found.to_pylist()]
    return Landed(
        cut,
        first,
        counts["facts"],
        counts["duplicates"],
        counts["quarantine"],
        tuple(missing),
        tuple(doubled),
    )


def _gaps(
    client: Client, rows: str, parameters: Mapping[str, object], first: int, cut: Cut
) -> list[tuple[int, int]]:
    found = select(
        client,
        "SELECT before + 1 AS a, offset - 1 AS z FROM ("
        f" SELECT offset, lagInFrame(offset, 1, {first - 1}) OVER (ORDER BY offset"
        "  ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before"
        f" FROM (SELECT DISTINCT offset FROM {rows} UNION DISTINCT SELECT {cut.next_offset}))"
        " WHERE offset > before + 1 ORDER BY a",
        parameters=dict(parameters),
    )
    return [(row["a"], row["z"]) for row in found.to_pylist()]


def _really_missing(
    cut: Cut, gaps: Iterable[tuple[int, int]], oldest: int, has_record: HasRecord
) -> list[tuple[int, int]]:
    """Gaps less the offsets where the broker has no record either.

    Below `oldest` nobody can be asked any more: those are missing. Long gaps are not looked up: no
    marker or compaction makes one in these topics.
    """
    missing = []
    for first, last in gaps:
        asked_from = max(first, oldest)
        if last - asked_from >= LISTED:
            missing.append((first, last))
            continue
        if first < asked_from:
            missing.append((first, min(last, asked_from - 1)))
        places = [(cut.topic, cut.partition, offset) for offset in range(asked_from, last + 1)]
        held = has_record(places) if places else set()
        missing += [(place[2], place[2]) for place in places if place in held]
    return missing


def check_coordinates(found: Iterable[Landed]) -> Check:
    """Every offset below the cut in exactly one of facts, duplicates, quarantine."""
    partitions = list(found)
    findings = []
    for one in partitions:
        place = {
            "topic": one.cut.topic,
            "topic_id": one.cut.topic_id,
            "partition": one.cut.partition,
        }
        for first, last in one.missing:
            span = f"offset {first}" if first == last else f"offsets {first}..{last}"
            detail = f"{one.cut.topic}-{one.cut.partition} {span}: in no table"
            findings.append(Finding("missing", detail, {**place, "first": first, "last": last}))
        for offset, sources in one.doubled:
            detail = (
                f"{one.cut.topic}-{one.cut.partition} offset {offset}: "
                f"{len(sources)} rows, in {', '.join(sources)}"
            )
            findings.append(Finding("doubled", detail, {**place, "offset": offset}))
    return Check(
        "offsets",
        compared=sum(one.cut.next_offset - one.first for one in partitions),
        disagreeing=sum(one.missing_count + len(one.doubled) for one in partitions),
        findings=tuple(findings[:LISTED]),
    )


def check_identities(client: Client) -> Check:
    """No event identity counted twice in a fact table, whatever its coordinates."""
    union = " UNION ALL ".join(
        f"SELECT '{table}' AS source, event_key, count() AS n, groupArray((topic_id, partition,"
        f" offset)) AS places FROM {table} GROUP BY event_key HAVING n > 1"
        for table in FACT_TABLES
    )
    found = select(
        client, f"SELECT source, hex(event_key) AS k, toString(places) AS p FROM ({union})"
    )
    total = select(
        client,
        " + ".join(f"(SELECT count() FROM {t})" for t in FACT_TABLES).join(["SELECT ", " AS n"]),
    )["n"][0].as_py()
    findings = [
        Finding(
            "counted twice", f"{row['source']}: one event at {row['p']}", {"event_key": row["k"]}
        )
        for row in found.slice(0, LISTED).to_pylist()
    ]
    return Check("identities", compared=total, disagreeing=found.num_rows, findings=tuple(findings))
