"""`tillstream chaos`: break every part on purpose, and prove that nothing was lost or doubled."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tillstream.cli.output import console, emit_json, errors
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.chaos.faults import Action
    from tillstream.chaos.run import Outcome, Plan

_DAMAGED = 5


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Examples: tillstream chaos --seed 7 · tillstream chaos --seed 7 --actions kill,cut"
        " --json · tillstream chaos --campaign 1-30 --record docs/chaos.jsonl"
        " · tillstream chaos --report docs/chaos.jsonl"
    )(chaos)


def chaos(
    ctx: typer.Context,
    seed: Annotated[int, typer.Option(help="Decides everything that happens.", min=0)] = 1,
    minutes: Annotated[float, typer.Option(help="How long the load lasts.", min=0.1)] = 3.0,
    rate: Annotated[float, typer.Option(help="Events a second, sales and stock.", min=10)] = 5_000,
    actions: Annotated[
        str | None, typer.Option(help="Only these actions, comma-separated.", metavar="LIST")
    ] = None,
    deduplicate: Annotated[
        bool, typer.Option(help="Without, the run must find damage: it judges the judge.")
    ] = True,
    into: Annotated[
        Path | None, typer.Option("--into", help="A new folder to run in; it is kept.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the scratch folder.")] = False,
    minio: Annotated[
        Path | None,
        typer.Option(
            help="MinIO's binary; without one the lake is a folder.", envvar="TILLSTREAM_MINIO"
        ),
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan", help="Only print the schedule.")] = False,
    campaign: Annotated[
        str | None, typer.Option(help="Seeds to run one after another.", metavar="1-30")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Append results here; seeds clean at this commit are skipped."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Print the table of a record, and run nothing.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Run the whole platform under load while parts of it are killed, frozen, cut off and more.

    A scratch home gets a real broker, warehouse, lake and stream, with proxies between them, and
    producers that write down every event. The seed gives the schedule, always the same. At the end
    everything stored is compared with the ledger, with Kafka, and with a second computation of what
    must be there. Exits 0 when all agree, 5 otherwise.
    """
    from tillstream.chaos.record import parse_seeds
    from tillstream.chaos.run import Plan

    if report is not None:
        _report(report)
        return
    wanted = Plan(
        seed=seed,
        minutes=minutes,
        rate=rate,
        only=_actions(actions),
        deduplicate=deduplicate,
        minio=_binary(minio),
        home=into.expanduser().absolute() if into else None,
        keep=keep,
    )
    seeds = parse_seeds(campaign) if campaign else range(seed, seed + 1)
    if into is not None and len(seeds) > 1:
        raise ConfigError("--into holds one run", hint="leave it out of a campaign")
    if plan_only:
        for one in seeds:
            _show_plan(replace(wanted, seed=one), as_json=as_json)
        return
    clean = _run_all(ctx.obj, wanted, seeds, record=record, as_json=as_json)
    raise typer.Exit(0 if clean else _DAMAGED)


def _run_all(
    settings: Settings, wanted: "Plan", seeds: range, *, record: Path | None, as_json: bool
) -> bool:
    from tillstream.chaos.arena import Wiring
    from tillstream.chaos.record import append, as_dict, is_recorded_clean, read
    from tillstream.chaos.run import commit_of_code, run_seed
    from tillstream.chaos.schedule import uncovered
    from tillstream.cli.audit import open_parts
    from tillstream.cli.warehouse import provision_services

    wiring = Wiring(provision=provision_services, open_parts=open_parts)
    clean = True
    found = []
    for seed in seeds:
        known = read(record) if record else []
        if is_recorded_clean(known, seed=seed, commit=commit_of_code(), minutes=wanted.minutes):
            errors.print(f"seed {seed}: recorded clean at this commit")
            continue
        with errors.status(f"seed {seed}") as status:
            outcome = run_seed(
                settings,
                replace(wanted, seed=seed),
                wiring,
                on_phase=lambda phase, seed=seed: status.update(f"seed {seed}: {phase}"),  # type: ignore[misc]
            )
        clean = clean and outcome.clean
        if record:
            append(record, outcome)
        found.append(outcome)
        if not as_json:
            _show(outcome)
    if as_json:
        told = [as_dict(outcome) for outcome in found]
        emit_json(told[0] if len(seeds) == 1 and told else told)
    elif len(seeds) > 1:
        met = {pair for outcome in found for pair in outcome.covered}
        left = ", ".join(str(pair) for pair in uncovered(met)) or "none"
        console.print(f"pairs met {len(met)}; not met in these runs: {left}", soft_wrap=True)
    return clean


def _show(outcome: "Outcome") -> None:
    console.print(f"[bold]seed {outcome.seed}[/] at {outcome.commit or 'an unknown commit'}")
    for step in outcome.steps:
        did = f"up again after {step.recovered_s:g} s: {step.detail}"
        what = did if step.ran else f"[yellow]not run[/]: {step.detail}"
        console.print(
            f"{step.began_at_s:6.0f} s  {step.pair!s:<34}{step.hold_s:6.1f} s  {what}",
            soft_wrap=True,
        )
    for verdict in outcome.tables:
        mark = "[green]✓[/]" if verdict.clean else "[bold red]✗[/]"
        console.print(
            f"{mark} {verdict.table:<15}{verdict.rows:>12,} rows  {verdict.digest_stored[:12]}"
        )
    for finding in outcome.findings:
        console.print(f"[red]✗[/] {finding}", soft_wrap=True, markup=False)
    counts = ", ".join(f"{count:,} {name}" for name, count in outcome.events.items())
    seconds = ", ".join(f"{name} {took:g} s" for name, took in outcome.seconds.items())
    console.print(f"{counts}\n{seconds}")
    if outcome.home:
        console.print(f"kept in {outcome.home}", soft_wrap=True)
    console.print(
        "[bold green]clean[/]: nothing is missing, nothing is there twice"
        if outcome.clean
        else "[bold red]damaged[/]"
    )


def _show_plan(wanted: "Plan", *, as_json: bool) -> None:
    steps = wanted.steps()
    if as_json:
        told = [
            {"at_s": step.at_s, "pair": str(step.pair), "hold_s": step.hold_s} for step in steps
        ]
        emit_json({"seed": wanted.seed, "steps": told})
        return
    for step in steps:
        console.print(f"seed {wanted.seed}  {step.at_s:6.1f} s  {step.pair}  {step.hold_s:g} s")


def _report(path: Path) -> None:
    from tillstream.chaos.record import markdown, read

    if not path.is_file():
        raise ConfigError(f"there is no record at {path}")
    console.print(markdown(read(path)), markup=False, soft_wrap=True)


def _actions(text: str | None) -> "tuple[Action, ...]":
    from tillstream.chaos.faults import Action

    try:
        return tuple(Action(one.strip()) for one in text.split(",")) if text else ()
    except ValueError as exc:
        known = ", ".join(Action)
        raise ConfigError(f"--actions: {exc}", hint=f"there are {known}") from exc


def _binary(named: Path | None) -> Path | None:
    import shutil

    if named is not None:
        if not named.is_file():
            raise ConfigError(f"there is no MinIO binary at {named}")
        return named
    found = shutil.which("minio")
    return Path(found) if found else None
