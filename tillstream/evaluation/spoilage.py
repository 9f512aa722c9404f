"""What the oracles know of goods that expire: the same as anyone who keeps delivery notes."""

import numpy as np
import numpy.typing as npt

from simulators.world.chain import offset_of
from simulators.world.world import World
from tillstream.demand.belief import Belief
from tillstream.demand.expiry import Goods, spoilt_risk
from tillstream.evaluation.arrivals import Arrivals
from tillstream.evaluation.books import Snapshot
from tillstream.evaluation.demand import TrueDemand
from tillstream.evaluation.items import Items

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Weight of a belief that knows its rate.
_CERTAIN = 1e7


def spoilt(
    world: World,
    items: Items,
    demand: TrueDemand,
    snapshot: Snapshot,
    *,
    law: Arrivals,
    come_ms: Ints,
) -> Floats:
    """P(a shelf is empty because of what expires before an order placed now arrives), (n,): as
    `spoilt_risk` has it, with true demand. `come_ms` is when what is on its way comes."""
    rows, n = snapshot.row, len(snapshot)
    offsets = [offset_of(store, snapshot.as_of_ms) for store in world.stores]
    way, came = snapshot.on_the_way, snapshot.received

    def units_between(at: Ints, from_ms: Ints, until_ms: Ints) -> Floats:
        return demand.until(rows[at], until_ms) - demand.until(rows[at], from_ms)

    total = np.zeros(n)
    for k in range(law.at_ms.shape[1]):
        total += law.weight[rows, k] * spoilt_risk(
            # Time is counted in units of demand, so that the rate is one.
            Belief(
                np.full(n, _CERTAIN),
                np.full(n, _CERTAIN),
                demand.dispersion(rows, snapshot.as_of_ms),
            ),
            as_of_ms=snapshot.as_of_ms,
            life_days=world.catalogue.shelf_life_days[snapshot.product],
            offset_ms=np.array(offsets)[snapshot.store],
            arrives_ms=law.at_ms[rows, k],
            came=Goods(came.item, came.at_ms, came.units.astype(np.float64)),
            coming=Goods(way.item, come_ms, way.units.astype(np.float64)),
            demand_days=units_between,
        )
    return total
