"""`tillstream bench score`."""

from dataclasses import asdict
from typing import Annotated

import typer

from tillstream.cli.bench_session import Json, this_machine
from tillstream.cli.output import console, emit_json, progress_bar


def register(group: typer.Typer) -> None:
    group.command(
        epilog="Examples: tillstream bench score · tillstream bench score --items 5000000 --json"
    )(score)


def score(
    items: Annotated[int, typer.Option(help="Shelves to score.", min=1)] = 1_000_000,
    threads: Annotated[int | None, typer.Option(help="At a time; as many as cores.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Score made-up shelves as the stream and the night do: risk with orders on their way, wrong
    books, late suppliers and expiry, units that will be lost, how long stock lasts, reorder points.

    Reading shelves from the warehouse and writing scores to it is not part of the figures.
    """
    from tillstream.bench.machine import load_average
    from tillstream.bench.scoring import measure_scoring

    machine = this_machine(as_json)
    busy_before = load_average()
    with progress_bar(as_json) as show:
        run = measure_scoring(
            items=items,
            threads=threads or machine.cores,
            on_share=lambda share: show("scoring", share),
        )
    if as_json:
        emit_json({"machine": asdict(machine), "load_before": busy_before, "run": run.as_dict()})
        return
    console.print(
        f"{run.items:,} shelves in {run.wall_s:.1f} s: {run.items_per_s:,.0f} a second with "
        f"{run.threads} threads, {run.busy_s:.1f} s of processor time, "
        f"{run.peak_bytes / 2**30:.2f} GiB at most (load of the machine before: {busy_before})"
    )
