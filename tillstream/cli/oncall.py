"""`tillstream oncall`: the pager, its policy, and who is on call."""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tillstream.cli.output import console, emit_json
from tillstream.clock import SystemClock
from tillstream.errors import ConfigError, ServiceError
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.oncall.policy import Policy
    from tillstream.oncall.schedules import Schedule, Shift

_DAY_MS = 86_400_000
_GAPS_DAYS = 28

PolicyOption = Annotated[
    Path | None,
    typer.Option(help="The policy; <home>/oncall.yaml unless told.", metavar="FILE"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]

oncall = typer.Typer(
    no_args_is_help=True,
    help="Page whoever is on call about alerts: once, and again only until somebody answers.",
)


def register(app: typer.Typer) -> None:
    app.add_typer(oncall, name="oncall")


@oncall.command(epilog="Example: tillstream oncall run   (Ctrl-C ends it)")
def run(ctx: typer.Context, policy: PolicyOption = None) -> None:
    """Run the pager until Ctrl-C.

    The policy is read again whenever its file changes; a wrong one is told of, and the one before
    stays in force. What was decided and not yet sent is on disk: a pager that was killed goes on
    where it was.
    """
    from tillstream.oncall.run import run_pager
    from tillstream.telemetry.logs import configure_logging

    settings: Settings = ctx.obj
    configure_logging(settings)
    run_pager(settings, _path(ctx, policy))


@oncall.command(epilog="Example: tillstream oncall check --policy deploy/oncall/policy.yaml")
def check(
    ctx: typer.Context,
    policy: PolicyOption = None,
    secrets: Annotated[bool, typer.Option(help="Also look whether every secret is there.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Check a policy, and say when nobody would be on call. Exits 2 for a policy that is wrong."""
    from tillstream.oncall.credentials import find_secrets
    from tillstream.oncall.policy_file import read_policy
    from tillstream.oncall.review import review

    path = _path(ctx, policy)
    read = read_policy(path)
    if secrets:
        find_secrets(read, os.environ)
    now_ms = SystemClock().now_ms()
    remarks = review(read, start_ms=now_ms, end_ms=now_ms + _GAPS_DAYS * _DAY_MS)
    found = {
        "policy": str(path),
        **{name: list(getattr(read, name)) for name in ("channels", "people", "schedules")},
        "rules": [rule.name for rule in read.rules],
        "remarks": remarks,
    }
    if as_json:
        emit_json(found)
        return
    console.print(f"[green]{escape(str(path))} is a policy[/]", soft_wrap=True)
    for name in ("channels", "people", "schedules", "rules"):
        console.print(f"  {name:<10}{escape(', '.join(found[name]) or '–')}", soft_wrap=True)
    for remark in remarks:
        console.print(f"[yellow]note:[/] {escape(remark)}", soft_wrap=True)


@oncall.command(
    epilog="Examples: tillstream oncall who · tillstream oncall who --days 14"
    " · tillstream oncall who --at 2026-12-24T20:00Z --json"
)
def who(
    ctx: typer.Context,
    policy: PolicyOption = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Another moment than now; UTC unless said.")
    ] = None,
    days: Annotated[int, typer.Option(help="List the shifts of so many days.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say who is on call, and until when."""
    from tillstream.oncall.policy_file import read_policy

    read = read_policy(_path(ctx, policy))
    at_ms = _moment(at)
    # Far enough to tell when the shift of now ends.
    listed = {
        name: _shifts(schedule, at_ms, days or 31) for name, schedule in read.schedules.items()
    }
    if as_json:
        emit_json({name: [_plain(read, one) for one in of] for name, of in listed.items()})
        return
    if not listed:
        console.print("The policy has no schedule; its rules name people or channels.")
    for name, of in listed.items():
        _show_shifts(read, read.schedules[name], of if days else of[:2])


@oncall.command(
    epilog="Examples: tillstream oncall test · tillstream oncall test mara · … test chat --json"
)
def test(
    ctx: typer.Context,
    target: Annotated[
        str | None, typer.Argument(help="A schedule, person or channel; all channels unless told.")
    ] = None,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test message now, and say what each channel answered. Exits 4 when one did not take
    it."""
    from tillstream.oncall.channels.channel import Verdict
    from tillstream.oncall.rehearsal import rehearse

    results = rehearse(
        _path(ctx, policy),
        target,
        environment=os.environ,
        now_ms=SystemClock().now_ms(),
        message_id=str(uuid.uuid4()),
    )
    if as_json:
        emit_json([one.as_json() for one in results])
    else:
        for one in results:
            good = one.answer.verdict is Verdict.TAKEN
            mark = "[green]taken[/]" if good else f"[red]{one.answer.verdict}[/]"
            where = f"{one.channel} {one.address}".strip()
            console.print(f"{mark:<18} {escape(where)}  {escape(one.answer.problem)}")
    failed = [one.channel for one in results if one.answer.verdict is not Verdict.TAKEN]
    if failed:
        raise ServiceError(
            f"not taken by: {', '.join(failed)}",
            hint="the answers above say why; `tillstream oncall check` looks at the policy",
        )


@oncall.command(epilog="Example: tillstream oncall status --json | jq .channels")
def status(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Say how the pager and its channels do. Exits 1 when a person is needed."""
    from tillstream.oncall.status import read_status

    settings: Settings = ctx.obj
    state = read_status(settings.home, now_ms=SystemClock().now_ms())
    if as_json:
        emit_json(state)
    else:
        _show_status(state)
    if state["troubles"]:
        raise typer.Exit(1)


def _path(ctx: typer.Context, policy: Path | None) -> Path:
    settings: Settings = ctx.obj
    return policy or settings.home / "oncall.yaml"


def _moment(text: str | None) -> int:
    if text is None:
        return SystemClock().now_ms()
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(f"{text!r} is not a time", hint="as in: 2026-12-24T20:00Z") from exc
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _shifts(schedule: "Schedule", start_ms: int, days: int) -> "list[Shift]":
    from tillstream.oncall.schedules import shifts

    return shifts(schedule, start_ms, start_ms + days * _DAY_MS)


def _plain(policy: "Policy", shift: "Shift") -> dict[str, Any]:
    person = policy.people[shift.person] if shift.person else None
    return {
        "person": shift.person,
        "name": person.name if person else None,
        "from": _iso(shift.start_ms),
        "until": _iso(shift.end_ms),
    }


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="seconds")


def _show_shifts(policy: "Policy", schedule: "Schedule", listed: "list[Shift]") -> None:
    table = Table(title=f"{schedule.name} ({schedule.zone.key})", title_justify="left", box=None)
    for column in ("person", "from", "until"):
        table.add_column(column)
    for shift in listed:
        name = policy.people[shift.person].name if shift.person else "[yellow]nobody[/]"
        times = [
            f"{datetime.fromtimestamp(one / 1000, tz=schedule.zone):%a %Y-%m-%d %H:%M}"
            for one in (shift.start_ms, shift.end_ms)
        ]
        table.add_row(name, *times)
    console.print(table)


def _show_status(state: dict[str, Any]) -> None:
    console.print(f"pager      {state['state']}")
    for name, person in state.get("on_call", {}).items():
        console.print(f"on call    {escape(name)}: {escape(person or 'nobody')}")
    for name, one in state.get("channels", {}).items():
        colour = {"ok": "green", "failing": "yellow"}.get(one["state"], "red")
        waiting = f", {one['waiting']} waiting" if one["waiting"] else ""
        console.print(f"channel    {escape(name)}: [{colour}]{one['state']}[/]{waiting}")
    cases = ", ".join(f"{count} {name}" for name, count in state.get("cases", {}).items())
    console.print(f"cases      {cases or 'none'}")
    for trouble in state["troubles"]:
        console.print(f"[red]trouble[/]    {escape(trouble)}", soft_wrap=True)
