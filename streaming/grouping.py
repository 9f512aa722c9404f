"""Alerts with one cause get one incident: a supplier who delivers nothing empties many shelves, and
that is one thing to know."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    steps: Sequence[Transition],
    active: Mapping[Item, Transition],
    supplier_shares: Mapping[str, float],
) -> list[Transition]:
    """`steps` with their incidents, followed by further steps of alerts that were open before and
    belong to an incident that begins now. `active` has the newest step of each alert before these.
    """
    after = {item: one for item, one in active.items() if one.state != "resolved"}
    for step in steps:
        if step.state == "resolved":
            after.pop(step.reading.item, None)
        else:
            after[step.reading.item] = step
    suppliers = sorted({one.reading.supplier_id for one in steps if one.state == "opened"} - {""})
    incidents: dict[str, str] = {}
    beginning = set()
    for supplier_id in suppliers:
        current = _lasting(supplier_id, after)
        if current:
            incidents[supplier_id] = current
        elif _begins(supplier_id, after, supplier_shares):
            first = min(one.alert_id for one in after.values() if _is_of(one, supplier_id))
            incidents[supplier_id] = event_uuid("incident", supplier_id, first)
            beginning.add(supplier_id)
    result = [
        replace(step, incident_id=incidents.get(step.reading.supplier_id, step.incident_id))
        if step.state == "opened"
        else step
        for step in steps
    ]
    stepped = {one.reading.item for one in steps if one.state == "opened"}
    for item, one in sorted(after.items()):
        supplier_id = one.reading.supplier_id
        if supplier_id in beginning and item not in stepped:
            joined = next_step(one, one.reading, "updated")
            result.append(replace(joined, incident_id=incidents[supplier_id]))
    return result


def _is_of(step: Transition, supplier_id: str) -> bool:
    return step.reading.supplier_id == supplier_id


def _lasting(supplier_id: str, after: Mapping[Item, Transition]) -> str:
    """The incident that still is one; empty when there is none."""
    members = Counter(
        one.incident_id for one in after.values() if one.incident_id and _is_of(one, supplier_id)
    )
    if not members:
        return ""
    incident_id, count = max(members.items(), key=lambda pair: (pair[1], pair[0]))
    return incident_id if count >= LASTS_WITH else ""


def _begins(
    supplier_id: str, after: Mapping[Item, Transition], supplier_shares: Mapping[str, float]
) -> bool:
    own = [one for one in after.values() if _is_of(one, supplier_id)]
    if len(own) < AT_LEAST:
        return False
    if 2 * sum(one.reading.held_up for one in own) >= len(own):
        return True
    share = supplier_shares.get(supplier_id, 1.0)
    return len(own) >= TIMES_ITS_SHARE * share * len(after)
