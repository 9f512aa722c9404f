"""`tillstream dimensions export | load`: what the chain knows of products, stores and suppliers."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tillstream.cli.output import console
from tillstream.errors import ConfigError
from tillstream.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_SUFFIXES = (".parquet", ".csv")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Products, stores, suppliers, prior demand and open orders, as files.")
    group.command(epilog="Example: tillstream dimensions export backup/dimensions")(export)
    group.command(epilog="Example: tillstream dimensions load backup/dimensions")(load)
    app.add_typer(group, name="dimensions", no_args_is_help=True)


def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where the files go; created when needed.")],
) -> None:
    """Write each dimension to FOLDER/<table>.parquet."""
    import pyarrow.parquet as pq

    from clickhouse.client import connect
    from clickhouse.dimensions import TABLES, read_dimension

    settings: Settings = ctx.obj
    folder.mkdir(parents=True, exist_ok=True)
    with closing(connect(settings.warehouse)) as client:
        for table in TABLES:
            rows = read_dimension(client, table)
            pq.write_table(rows, folder / f"{table}.parquet")
            console.print(f"{table}  {rows.num_rows:,} rows")


def load(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="Holds <table>.parquet or <table>.csv.", exists=True)
    ],
) -> None:
    """Load FOLDER's dimensions; the newest row of a key wins. Do it before the events arrive that
    need them: cost and local date are written with each sale."""
    from clickhouse.client import connect
    from clickhouse.dimensions import TABLES, load_dimensions

    settings: Settings = ctx.obj
    found = {table: path for table in TABLES if (path := _file(folder, table))}
    if not found:
        names = ", ".join(f"{table}.parquet" for table in TABLES)
        raise ConfigError(f"{folder} holds none of {names} (or .csv)")
    dims = {table: _read(path) for table, path in found.items()}
    with closing(connect(settings.warehouse)) as client:
        for table, rows in load_dimensions(client, dims).items():
            console.print(f"{table}  {rows:,} rows")


def _file(folder: Path, table: str) -> Path | None:
    places = (folder / f"{table}{suffix}" for suffix in _SUFFIXES)
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    try:
        return pa.csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
