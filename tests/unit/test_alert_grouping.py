"""One supplier who delivers nothing is one incident, however many shelves run empty."""

from dataclasses import replace
from decimal import Decimal

from streaming.active import ActiveAlerts
from streaming.alerts import Reading, Transition, transitions
from streaming.grouping import AT_LEAST, LASTS_WITH, grouped
from tillstream.settings import RiskSettings

RULES = RiskSettings()
SHARES = {"V1": 0.1, "V2": 0.1, "V3": 0.8}


def reading(number: int, supplier_id: str = "V1", *, risk: float = 0.9, **changes: bool) -> Reading:
    return Reading(
        store_id=f"store-{number % 7}",
        product_id=f"{supplier_id}-{number}",
        product_name="a product",
        risk=risk,
        on_hand=1,
        daily_units=1.0,
        lead_time_days=2.0,
        empty_p50_days=1.0,
        expected_lost_margin=Decimal("3.0000"),
        at_ms=number,
        supplier_id=supplier_id,
        held_up=changes.get("held_up", False),
    )


class Chain:
    """What the stream does with readings, batch after batch."""

    def __init__(self) -> None:
        self.active = ActiveAlerts()
        self.steps: list[Transition] = []

    def hears(self, *readings: Reading) -> None:
        steps = grouped(transitions(readings, self.active.newest, RULES), self.active, SHARES)
        self.steps += steps
        for step in steps:
            self.active.put(step)

    def incidents(self) -> dict[str, int]:
        """The number of open alerts by incident."""
        found: dict[str, int] = {}
        for step in self.active.newest.values():
            if step.state != "resolved" and step.incident_id:
                found[step.incident_id] = found.get(step.incident_id, 0) + 1
        return found


def test_strike_of_one_supplier_is_one_incident_with_all_its_items() -> None:
    chain = Chain()
    for number in range(400):
        chain.hears(reading(number))
    (items,) = chain.incidents().values()
    assert items == 400
    assert len({step.alert_id for step in chain.steps}) == 400
    # Those that were open before it began are told once more, to say what they belong to.
    assert len(chain.steps) == 400 + AT_LEAST - 1
    identities = {(step.alert_id, step.version) for step in chain.steps}
    assert len(identities) == len(chain.steps)


def test_all_at_once_is_the_same_as_one_after_the_other() -> None:
    chain = Chain()
    chain.hears(*(reading(number) for number in range(400)))
    assert list(chain.incidents().values()) == [400]
    assert len(chain.steps) == 400


def test_few_alerts_are_no_incident() -> None:
    chain = Chain()
    chain.hears(*(reading(number) for number in range(AT_LEAST - 1)))
    assert chain.incidents() == {}


def test_bad_day_of_the_whole_chain_is_nobodys_incident_unless_deliveries_are_overdue() -> None:
    for held_up, incidents in ((False, 0), (True, 1)):
        chain = Chain()
        chain.hears(*(reading(number, "V3") for number in range(8 * AT_LEAST)))
        chain.hears(*(reading(number, "V1", held_up=held_up) for number in range(AT_LEAST)))
        assert len(chain.incidents()) == incidents


def test_incident_keeps_its_id_while_items_come_and_go_and_ends_with_them() -> None:
    chain = Chain()
    chain.hears(*(reading(number) for number in range(30)))
    (first,) = chain.incidents()
    filled = [replace(reading(number), risk=0.1) for number in range(30)]
    chain.hears(*filled[: 30 - LASTS_WITH])
    chain.hears(reading(100))
    assert chain.incidents() == {first: LASTS_WITH + 1}
    chain.hears(*filled, replace(reading(100), risk=0.1))
    assert chain.incidents() == {}
    chain.hears(reading(200))
    assert chain.incidents() == {}


def test_suppliers_are_apart_and_the_unknown_one_is_none() -> None:
    chain = Chain()
    chain.hears(
        *(reading(number, supplier, held_up=True) for number in range(40) for supplier in SHARES),
        *(reading(number, "", held_up=True) for number in range(40)),
    )
    assert list(chain.incidents().values()) == [40, 40, 40]


def test_grouping_is_the_same_for_everybody() -> None:
    def identified() -> list[str]:
        steps = [
            replace(step, alert_id=f"alert-{number:03}")
            for number, step in enumerate(transitions([reading(n) for n in range(30)], {}, RULES))
        ]
        return [step.incident_id for step in grouped(steps, ActiveAlerts(), SHARES)]

    assert identified() == identified()
    assert len(set(identified())) == 1
