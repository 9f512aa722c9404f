"""`tillstream web`: the console in a browser, and who may use it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tillstream.cli.output import console, emit_json, minute
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.web.accounts import Accounts
    from tillstream.web.sessions import Sessions

_PORT = 8480

web = typer.Typer(
    help="The console in a browser, and who may use it.",
    epilog="Examples: tillstream web · tillstream web --port 9000 ·"
    " tillstream web user add ann --role on-call",
)
users = typer.Typer(help="Who may sign in.", no_args_is_help=True)
tokens = typer.Typer(help="Tokens with which programs use the API.", no_args_is_help=True)
web.add_typer(users, name="user")
web.add_typer(tokens, name="token")


def register(app: typer.Typer) -> None:
    app.add_typer(web, name="web")


@web.callback(invoke_without_command=True)
def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = _PORT,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name that browsers call it by, such as console.example; repeatable."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file: serve https with it and --key.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    behind_proxy: Annotated[
        bool,
        typer.Option("--behind-proxy", help="A proxy on this machine serves https for it."),
    ] = False,
) -> None:
    """Serve the console until Ctrl-C: alerts to act on, items, stores, health, and a REST API.

    On this machine alone (the default) it prints a link that signs you in once. For others it wants
    https, and users made with `tillstream web user add`.
    """
    if ctx.invoked_subcommand is not None:
        return
    from tillstream.web.serving import Place, serve_console

    if (certificate is None) != (key is None):
        raise ConfigError("--certificate and --key go together")
    place = Place(
        host=host,
        port=port,
        names=tuple(name or ()),
        certificate=certificate,
        key=key,
        behind_proxy=behind_proxy,
    )
    settings: Settings = ctx.obj
    serve_console(settings, place, say=lambda line: console.print(line, soft_wrap=True))


@users.command(
    "add", epilog="Example: tillstream web user add ann --role store-manager --store 424"
)
def add_user(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The name to sign in with.")],
    role: Annotated[
        str, typer.Option(help="viewer, store-manager, on-call or admin.", metavar="ROLE")
    ] = "viewer",
    store: Annotated[
        list[str] | None, typer.Option(help="A store manager's store; repeatable.")
    ] = None,
) -> None:
    """Add a user. The password is asked for, or read as the first line of standard input."""
    from tillstream.web.people import Role

    if role not in set(Role):
        raise ConfigError(f"--role must be one of {', '.join(Role)}, got {role!r}")
    password = _password()
    added = _accounts(ctx).add(name, Role(role), password=password, stores=frozenset(store or ()))
    where = f" of {', '.join(sorted(added.stores))}" if added.stores else ""
    console.print(f"[green]✓[/] {escape(added.name)}, {added.role.value}{escape(where)}")


@users.command("list")
def list_users(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show who may sign in, and as what; of those who come by OpenID Connect, who has."""
    from tillstream.web.oidc.members import Members

    settings: Settings = ctx.obj
    accounts = _accounts(ctx)
    issuer = settings.web.oidc.issuer
    members = Members(accounts.database, accounts.clock, issuer=issuer)
    people = [*accounts.all(), *members.all()]
    if as_json:
        emit_json(
            [{"name": p.name, "role": p.role.value, "stores": sorted(p.stores)} for p in people]
        )
        return
    if not people:
        console.print("nobody yet: `tillstream web user add NAME --role admin`")
        return
    table = Table(box=None, header_style="bold")
    for heading in ("name", "role", "stores"):
        table.add_column(heading)
    for one in people:
        table.add_row(escape(one.name), one.role.value, escape(", ".join(sorted(one.stores))))
    console.print(table)


@users.command("remove")
def remove_user(ctx: typer.Context, name: Annotated[str, typer.Argument(help="Who.")]) -> None:
    """Remove a user, with their sessions and tokens. What they did stays in the log."""
    _accounts(ctx).remove(name)
    console.print(f"[green]✓[/] {escape(name)} is gone, and signed out everywhere")


@users.command("sign-ins")
def sign_ins(
    ctx: typer.Context,
    rows: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show who came in, who was refused, from where and when; newest first."""
    from dataclasses import asdict

    from tillstream.clock import SystemClock
    from tillstream.web.database import Database
    from tillstream.web.sign_ins import SignIns

    settings: Settings = ctx.obj
    found = SignIns(Database(settings.home), SystemClock()).newest(rows)
    if as_json:
        emit_json([asdict(one) for one in found])
        return
    table = Table(box=None, header_style="bold")
    for heading in ("at (UTC)", "name", "from", "outcome"):
        table.add_column(heading)
    for one in found:
        table.add_row(minute(one.at_ms), escape(one.name), one.address, one.outcome)
    console.print(table)


@tokens.command("add", epilog="Example: tillstream web token add till-bot --user ann")
def add_token(
    ctx: typer.Context,
    label: Annotated[str, typer.Argument(help="What it is for.")],
    user: Annotated[str, typer.Option(help="Whom it acts for: with their role and stores.")],
) -> None:
    """Make a token and print it, once: only its hash is kept."""
    sys.stdout.write(_sessions(ctx).add_token(label, user) + "\n")


@tokens.command("remove")
def remove_token(
    ctx: typer.Context, label: Annotated[str, typer.Argument(help="What it was for.")]
) -> None:
    """Make the tokens of this label worthless."""
    gone = _sessions(ctx).remove_tokens(label)
    if not gone:
        raise ConfigError(f"there is no token {label!r}")
    console.print(f"[green]✓[/] {gone} gone")


def _password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")


def _accounts(ctx: typer.Context) -> "Accounts":
    from tillstream.clock import SystemClock
    from tillstream.web.accounts import Accounts
    from tillstream.web.database import Database

    settings: Settings = ctx.obj
    return Accounts(Database(settings.home), SystemClock())


def _sessions(ctx: typer.Context) -> "Sessions":
    from tillstream.clock import SystemClock
    from tillstream.web.sessions import Sessions

    accounts = _accounts(ctx)
    return Sessions(accounts.database, accounts, SystemClock())
