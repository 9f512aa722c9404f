"""Alerts with one cause get one incident: a supplier who delivers nothing empties many shelves, and
that is one thing to know."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from streaming.active import ActiveAlerts
from streaming.alerts import Item, Transition, next_step
from tillstream.contracts.identity import event_uuid

# An incident begins with so many open alerts of one supplier, and takes in more while there are
# half as many.
AT_LEAST = 20
LASTS_WITH = AT_LEAST // 2
# Without word of overdue deliveries: the supplier's share of the open alerts is so many times its
# share of the products.
TIMES_ITS_SHARE = 2.0


def grouped(
    steps: Sequence[Transition], active: ActiveAlerts, supplier_shares: Mapping[str, float]
) -> list[Transition]:
    """`steps` with their incidents, followed by further steps of alerts that were open before and
    belong to an incident that begins now. `active` has the newest step of each alert before these.
    """
    after = _After(active, steps)
    suppliers = sorted({one.reading.supplier_id for one in steps if one.state == "opened"} - {""})
    stepped = {one.reading.item for one in steps if one.state == "opened"}
    incidents: dict[str, str] = {}
    joined = []
    for supplier_id in suppliers:
        members = after.open_of(supplier_id)
        incident_id = _lasting(members.values())
        share = supplier_shares.get(supplier_id, 1.0)
        if not incident_id and _begins(members.values(), share * after.open_count):
            first = min(one.alert_id for one in members.values())
            incident_id = event_uuid("incident", supplier_id, first)
            joined += [
                replace(next_step(one, one.reading, "updated"), incident_id=incident_id)
                for item, one in members.items()
                if item not in stepped
            ]
        if incident_id:
            incidents[supplier_id] = incident_id
    joined.sort(key=lambda one: one.reading.item)
    return [
        replace(step, incident_id=incidents.get(step.reading.supplier_id, step.incident_id))
        if step.state == "opened"
        else step
        for step in steps
    ] + joined


class _After:
    """The alerts that are open once the steps are taken."""

    def __init__(self, active: ActiveAlerts, steps: Sequence[Transition]) -> None:
        self._active = active
        self._last = {step.reading.item: step for step in steps}
        self.open_count = active.open_count + sum(
            (step.state != "resolved") - active.is_open(item) for item, step in self._last.items()
        )

    def open_of(self, supplier_id: str) -> dict[Item, Transition]:
        before = self._active.open_of(supplier_id)
        members = {item: one for item, one in before.items() if item not in self._last}
        return members | {
            item: one
            for item, one in self._last.items()
            if one.state != "resolved" and one.reading.supplier_id == supplier_id
        }


def _lasting(members: Collection[Transition]) -> str:
    """The incident that still is one; empty when there is none."""
    counts = Counter(one.incident_id for one in members if one.incident_id)
    if not counts:
        return ""
    incident_id, count = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
    return incident_id if count >= LASTS_WITH else ""


def _begins(members: Collection[Transition], fair_count: float) -> bool:
    """`fair_count` would be as many as the supplier has of the products."""
    if len(members) < AT_LEAST:
        return False
    if 2 * sum(one.reading.held_up for one in members) >= len(members):
        return True
    return len(members) >= TIMES_ITS_SHARE * fair_count
