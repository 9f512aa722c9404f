"""The `tillstream` command: reads argv and the environment, wires objects, prints."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tillstream.cli import (
    access,
    airflow,
    alerts,
    audit,
    bench,
    chaos,
    customer,
    demo,
    dictionary,
    dimensions,
    evaluate,
    explain,
    forecast,
    learn,
    models,
    night,
    oncall,
    plan,
    rebuild,
    replay,
    report,
    simulate,
    slow_movers,
    stack,
    stream,
    tail,
    warehouse,
    watch,
    web,
)
from tillstream.cli.output import INTERRUPTED, errors
from tillstream.errors import TillstreamError
from tillstream.settings import load_settings

app = typer.Typer(
    name="tillstream",
    help="Real-time inventory for retail chains: from the till to the shelf.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="Folder of this installation's data [env: TILLSTREAM_HOME]"),
    ] = None,
) -> None:
    if ctx.resilient_parsing:
        return
    ctx.obj = load_settings(**({"home": home.expanduser().absolute()} if home else {}))


demo.register(app)
stack.register(app, provision=warehouse.provision_services)
watch.register(app)
alerts.register(app)
report.register(app)
replay.register(app)
simulate.register(app)
tail.register(app)
warehouse.register(app)
access.register(app)
dictionary.register(app)
dimensions.register(app)
learn.register(app)
plan.register(app)
evaluate.register(app)
explain.register(app)
forecast.register(app)
models.register(app)
slow_movers.register(app)
bench.register(app)
stream.register(app)
oncall.register(app)
audit.register(app)
rebuild.register(app)
night.register(app)
airflow.register(app)
customer.register(app)
chaos.register(app)
web.register(app)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 bad event,
    4 a service is missing or refused, 5 stored data disagrees, 130 interrupted."""
    # Libraries log what they then raise; a person should read it once.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except TillstreamError as exc:
        errors.print(f"[bold red]error:[/] {escape(str(exc))}", soft_wrap=True)
        if exc.hint:
            errors.print(f"[bold]try:[/] {escape(exc.hint)}", soft_wrap=True)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
