"""`tillstream verify | digest`: proof that nothing is lost and nothing is there twice."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tillstream.audit.findings import Audit, PartitionRow
from tillstream.audit.verify import Parts, wait_until_caught_up
from tillstream.audit.verify import verify as run_audit
from tillstream.cli.output import console, emit_json, mark
from tillstream.contracts.topics import HISTORY_PREFIX
from tillstream.errors import ConfigError
from tillstream.settings import Settings

_DAMAGED = 5


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream verify · tillstream verify --wait 60 --ledger run.jsonl --json"
    )(verify)
    app.command(epilog="Example: tillstream digest --json")(digest)


@contextmanager
def open_parts(settings: Settings) -> Iterator[Parts]:
    from clickhouse.client import connect
    from lake.client import connect as connect_lake
    from producers.topics import TopicInspector

    client = connect(settings.warehouse)
    try:
        with TopicInspector(settings.kafka) as inspector:
            lake = connect_lake(settings.lake, url=settings.lake_url)
            yield Parts(settings.kafka, inspector, client, lake)
    finally:
        client.close()


def verify(
    ctx: typer.Context,
    ledger: Annotated[
        list[Path] | None,
        typer.Option(help="A ledger of what was sent, as `tillstream replay` writes; repeatable."),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a `tillstream simulate` run: its ledgers and its faults; repeatable."
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to let the stream catch up first.", min=0)
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Compare Kafka's offsets with every table and the lake, and windows and stock with the facts.

    Exits 0 only when all agree, 5 otherwise. Runs beside the stream: each partition is judged at
    the offset up to which the stream has committed.
    """
    from simulators.ledger import read_ledgers
    from simulators.world.truth import read_faults

    settings: Settings = ctx.obj
    folders = run or []
    ledgers = [*(ledger or []), *(path for folder in folders for path in _ledgers_of(folder))]
    for path in ledgers:
        if not path.is_file():
            raise ConfigError(f"there is no ledger at {path}")
    sent = read_ledgers(ledgers) if ledgers else None
    faults = read_faults(folders) if folders else None
    with open_parts(settings) as parts:
        if wait or sent is not None:
            wait_until_caught_up(parts, timeout_s=wait)
        audit = run_audit(parts, ledger=sent, manifest=faults)
    _remember(settings.home, audit)
    if as_json:
        emit_json({"clean": audit.clean, **asdict(audit)})
    else:
        show_audit(audit)
    raise typer.Exit(0 if audit.clean else _DAMAGED)


def _remember(home: Path, audit: Audit) -> None:
    """The verdict, for whoever asks later what the last one was."""
    wrong = [check.name for check in audit.checks if not check.clean]
    words = "all agree" if audit.clean else f"disagree: {', '.join(wrong) or 'offsets'}"
    verdict = {"at_ms": time.time_ns() // 1_000_000, "clean": audit.clean, "words": words}
    with suppress(OSError):
        folder = home / "run"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "verify.json").write_text(json.dumps(verdict), encoding="utf-8")


def _ledgers_of(folder: Path) -> list[Path]:
    found = sorted(folder.glob("ledger-*.jsonl"))
    if not found:
        raise ConfigError(
            f"{folder} is not the folder of a run: it has no ledger",
            hint="`tillstream simulate` names its folder as it starts",
        )
    return found


def digest(
    ctx: typer.Context,
    database: Annotated[str | None, typer.Option(help="Default: the configured one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Print a hash of each table, to compare two warehouses row for row.

    Everything counts but topic UUIDs and arrival times, which no two runs share.
    """
    from clickhouse.client import connect
    from tillstream.audit.digest import digests

    settings: Settings = ctx.obj
    client = connect(settings.warehouse, database=database)
    found = digests(client)
    client.close()
    if as_json:
        emit_json([asdict(one) for one in found])
        return
    table = Table(box=None)
    for heading in ("table", "rows", "hash"):
        table.add_column(heading, justify="right" if heading == "rows" else "left")
    for one in found:
        table.add_row(one.table, f"{one.rows:,}", one.sha)
    console.print(table)


def show_audit(audit: Audit) -> None:
    """The audit as a person reads it: partitions, checks, then each disagreement."""
    table = Table(box=None, header_style="bold")
    table.add_column("topic")
    headings = ("kafka", "cut", "facts", "duplicates", "quarantine", "missing", "doubled", "lake")
    for heading in headings:
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in audit.partitions:
        table.add_row(*_partition_cells(row))
    console.print(table)
    for check in audit.checks:
        verdict = "agree" if check.clean else f"[bold red]{check.disagreeing:,} disagree[/]"
        console.print(
            f"{mark(check.clean)} {check.name:<11}{check.compared:>12,} compared, {verdict}"
        )
        for finding in check.findings:
            console.print(f"    [red]{finding.kind}[/]: {finding.detail}", soft_wrap=True)
        for note in check.notes:
            console.print(f"    [dim]{note}[/]", soft_wrap=True)
    if audit.clean:
        console.print("[bold green]clean[/]: nothing is missing, nothing is there twice")
    else:
        console.print("[bold red]damaged[/]: see above for the coordinates")


def _partition_cells(row: PartitionRow) -> list[str]:
    gone = row.kafka_end is None
    written = row.topic_id.startswith(HISTORY_PREFIX)
    kafka = f"{row.kafka_start}–{row.kafka_end}"
    name = f"{row.topic}-{row.partition}"
    if gone:
        kafka = "[dim]history[/]" if written else "[dim]deleted[/]"
        name += "" if written else f" [dim]{row.topic_id[:8]}[/]"
    cells = [name, kafka, str(row.cut), f"{row.facts:,}", f"{row.duplicates:,}"]
    cells += [f"{row.quarantine:,}", str(row.missing), str(row.doubled), f"{row.lake_records:,}"]
    return [*cells, mark(row.clean)]
