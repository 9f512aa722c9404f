"""Which alerts somebody wants to see."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from tillstream.alerting.alert import AlertView, State

ACTIVE = "active"
STATES = (ACTIVE, *(state.value for state in State), "all")


@dataclass(frozen=True, slots=True)
class Filters:
    """Empty wants everything. `static/now.js` has the same rules for what arrives later."""

    region: str = ""
    store: str = ""
    category: str = ""
    severity: str = ""
    state: str = ACTIVE
    text: str = ""

    def takes(self, view: AlertView) -> bool:
        return (
            self._takes_state(view.state)
            and self.region in ("", view.region)
            and self.store in ("", view.store_id)
            and self.category in ("", view.category)
            and self.severity in ("", view.severity)
            and self.text.casefold() in f"{view.product_name} {view.product_id}".casefold()
        )

    def of(self, views: Iterable[AlertView]) -> list[AlertView]:
        return [view for view in views if self.takes(view)]

    @property
    def query(self) -> str:
        return urlencode({name: value for name, value in asdict(self).items() if value})

    def _takes_state(self, state: State) -> bool:
        if self.state == ACTIVE:
            return state not in (State.SNOOZED, State.RESOLVED)
        return self.state in ("all", state)
