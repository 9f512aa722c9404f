"""`tillstream access`: who may ask the local warehouse for some stores' figures."""

import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Annotated

import typer

from tillstream.cli.output import console, emit_json
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:
    from tillstream.devstack.warehouse.guests import Guest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_PASSWORD_BYTES = 24


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Guests of the local warehouse: they ask named bi_* queries of their own stores."
    )
    group.command(
        epilog="Examples: tillstream access add maria --store 424 --store 381 · tillstream access"
        " add east-manager --region East"
    )(add)
    group.command(name="list", epilog="Example: tillstream access list --json")(list_guests)
    group.command(epilog="Example: tillstream access remove maria")(remove)
    app.add_typer(group, name="access", no_args_is_help=True)


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="How the person signs in.", show_default=False)],
    store: Annotated[list[str] | None, typer.Option(help="A store's id; may be repeated.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="A region; may be repeated.")] = None,
) -> None:
    """Let somebody in, and print the password made for them: it is shown once and kept nowhere.

    A guest sends the name of a query instead of SQL, with `from` and `to` where it has days. Naming
    somebody again changes their stores and password. The running warehouse notices by itself.
    """
    from tillstream.devstack.warehouse.guests import Guest

    settings: Settings = ctx.obj
    if not _NAME.fullmatch(name) or name == settings.warehouse.user:
        raise ConfigError(
            f"{name!r} cannot be a guest's name",
            hint="letters, digits and . _ @ -, up to 64, and not the warehouse's own user",
        )
    if not store and not region:
        raise ConfigError(f"{name} would see nothing", hint="name a --store or a --region")
    guests = _load(settings)
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    digest = hashlib.sha256(password.encode()).hexdigest()
    guests[name] = Guest(name, digest, tuple(store or ()), tuple(region or ()))
    _save(settings, guests)
    url = f"http://{settings.warehouse.host}:{settings.warehouse.port}"
    console.print(f"password of {name}: {password}", markup=False, soft_wrap=True)
    console.print(
        f"try: curl -u {name} '{url}/?query=bi_alerts&default_format=JSON'",
        markup=False,
        soft_wrap=True,
    )


def list_guests(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show who may see which stores."""
    guests = _load(ctx.obj).values()
    if as_json:
        emit_json([{"name": g.name, "stores": g.stores, "regions": g.regions} for g in guests])
        return
    for guest in guests:
        sees = [*(f"store {one}" for one in guest.stores), *(f"region {r}" for r in guest.regions)]
        console.print(f"{guest.name}  {', '.join(sees)}", markup=False)
    if not guests:
        console.print("nobody; `tillstream access add NAME --store ID` lets somebody in")


def remove(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Who is to go.", show_default=False)],
) -> None:
    """Let somebody in no longer, from the next request on."""
    guests = _load(ctx.obj)
    if name not in guests:
        raise ConfigError(f"there is no guest {name!r}", hint="`tillstream access list` shows them")
    del guests[name]
    _save(ctx.obj, guests)
    console.print(f"{name} is gone", markup=False)


def _load(settings: Settings) -> "dict[str, Guest]":
    from tillstream.devstack.parts import guests_file
    from tillstream.devstack.warehouse.guests import load

    path = guests_file(settings)
    try:
        return load(path)[1]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}", hint="move it away, and add") from exc


def _save(settings: Settings, guests: "dict[str, Guest]") -> None:
    from tillstream.devstack.parts import guests_file
    from tillstream.devstack.stack_file import write_private
    from tillstream.devstack.warehouse.guests import as_text

    write_private(guests_file(settings), as_text(settings.warehouse.database, guests))
