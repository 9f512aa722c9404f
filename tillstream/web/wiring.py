"""The parts of a running console, and how they are put together."""

from dataclasses import dataclass

from tillstream.alerting.desk import Desk
from tillstream.clock import Clock, SystemClock
from tillstream.settings import Settings
from tillstream.web.accounts import Accounts
from tillstream.web.board import Board
from tillstream.web.database import Database
from tillstream.web.oidc.members import Members
from tillstream.web.oidc.provider import Provider
from tillstream.web.reads.names import Names
from tillstream.web.reads.warehouse import Remembered, Warehouse
from tillstream.web.sessions import Sessions
from tillstream.web.sign_ins import SignIns
from tillstream.web.watched import Watched


@dataclass(frozen=True, slots=True)
class Console:
    """Everything a route may need. `https` says whether browsers come by it; without a `provider`
    only local users come in."""

    settings: Settings
    clock: Clock
    database: Database
    accounts: Accounts
    sessions: Sessions
    sign_ins: SignIns
    warehouse: Warehouse
    names: Names
    answers: Remembered
    board: Board
    watched: Watched
    members: Members
    provider: Provider | None
    https: bool

    def start(self) -> None:
        self.board.start()
        self.watched.start()

    def close(self) -> None:
        self.board.close()
        self.watched.close()
        self.warehouse.close()


def wire(settings: Settings, *, https: bool = False, clock: Clock | None = None) -> Console:
    """Opens only the console's own database; services are asked once it starts."""
    clock = clock or SystemClock()
    database = Database(settings.home)
    accounts = Accounts(database, clock)
    warehouse = Warehouse(settings.warehouse)
    oidc = settings.web.oidc
    members = Members(database, clock, issuer=oidc.issuer)
    return Console(
        settings=settings,
        clock=clock,
        database=database,
        accounts=accounts,
        sessions=Sessions(database, accounts, clock, members=members),
        sign_ins=SignIns(database, clock),
        warehouse=warehouse,
        names=Names(warehouse),
        answers=Remembered(seconds=5.0),
        board=Board(lambda: Desk(settings)),
        watched=Watched(settings),
        members=members,
        provider=Provider(oidc, database, clock) if oidc.is_on else None,
        https=https,
    )
