"""`tillstream models`: which models there are, and which one is in service."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from tillstream.cli.output import console, emit_json
from tillstream.settings import Settings

if TYPE_CHECKING:
    from lake.models import Registry

_NAME = Annotated[str, typer.Option("--model", help="demand-forecast or slow-movers.")]
_AS_JSON = Annotated[bool, typer.Option("--json", help="For scripts.")]
_MODEL = "demand-forecast"
_WITH_A_RULE = ("slow-movers",)
_TRAINED_BY = {_MODEL: "forecast", "slow-movers": "slow-movers"}


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help=__doc__)
    group.command("list", epilog="Example: tillstream models list --json")(list_versions)
    group.command(epilog="Example: tillstream models show 3")(show)
    group.command(epilog="Example: tillstream models promote 3")(promote)
    group.command(epilog="Example: tillstream models rollback")(rollback)
    app.add_typer(group, name="models")


def list_versions(ctx: typer.Context, name: _NAME = _MODEL, as_json: _AS_JSON = False) -> None:
    """Every version, what it was trained on, and how it did on its backtest beside the version that
    was in service then. Lower is better."""
    registry = _registry(ctx.obj, name)
    current = registry.current()
    cards = [registry.card(version) for version in registry.versions()]
    if as_json:
        emit_json([_summary(card, current) for card in cards])
        return
    if not cards:
        console.print(
            f"no version of {name} yet: tillstream {_TRAINED_BY.get(name, 'forecast')} train"
        )
        return
    table = Table(box=box.SIMPLE_HEAD, title=name, title_justify="left")
    judged_by = _judged_by(cards[0])
    rule = f"{judged_by}_rule" in cards[0]["backtest"]
    judged = (judged_by.replace("_", " "), *(("the rule",) if rule else ()), "before")
    for column in ("version", "data to", "shelves", *judged, ""):
        table.add_column(column, justify="right")
    for card in cards:
        told = _summary(card, current)
        before = told[f"{judged_by}_before"]
        table.add_row(
            str(told["version"]),
            told["last_day"],
            f"{told['shelves']:,}",
            f"{told[judged_by]:.4f}",
            *((f"{told[f'{judged_by}_rule']:.4f}",) if rule else ()),
            "–" if before is None else f"{before:.4f}",
            "in service" if told["in_service"] else "",
        )
    console.print(table)


def show(
    ctx: typer.Context,
    version: Annotated[int, typer.Argument(help="Of `models list`.", min=1)],
    name: _NAME = _MODEL,
    as_json: _AS_JSON = False,
) -> None:
    """The card of a version: data, recipe, scores, and what mattered most."""
    registry = _registry(ctx.obj, name)
    card = registry.card(version)
    if as_json:
        emit_json(card)
    else:
        console.print(registry.file(version, "README.md").decode(), markup=False)


def promote(
    ctx: typer.Context,
    version: Annotated[int, typer.Argument(help="Of `models list`.", min=1)],
    name: _NAME = _MODEL,
) -> None:
    """Put a version into service, whatever its backtest said. The next prediction uses it."""
    registry = _registry(ctx.obj, name)
    registry.promote(version)
    console.print(f"{name} v{version} is in service")


def rollback(ctx: typer.Context, name: _NAME = _MODEL) -> None:
    """Put the version back into service that was there before the present one; of slow-movers, the
    plain rule before the first."""
    version = _registry(ctx.obj, name).rollback(to_none=name in _WITH_A_RULE)
    if version is None:
        console.print(f"no version of {name} is in service: a plain rule stands in")
    else:
        console.print(f"{name} v{version} is in service again")


def _registry(settings: Settings, name: str) -> "Registry":
    from lake.client import connect
    from lake.models import Registry

    return Registry(connect(settings.lake, url=settings.lake_url), name)


def _summary(card: dict[str, Any], current: int | None) -> dict[str, Any]:
    judged_by, backtest = _judged_by(card), card["backtest"]
    scores = (judged_by, f"{judged_by}_before", f"{judged_by}_rule")
    return {
        "version": card["version"],
        "in_service": card["version"] == current,
        "last_day": card["data"]["last_day"],
        "shelves": card["data"]["shelves"],
        **{name: backtest[name] for name in scores if name in backtest},
    }


def _judged_by(card: dict[str, Any]) -> str:
    return str(card.get("judged_by", "pinball"))
