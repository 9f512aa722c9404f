"""Risk from beliefs with the forecast's rate, as TILLSTREAM_RISK__FORECAST_PRIORS makes them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from clickhouse.client import Client
from orchestration import demand_panel
from orchestration.model_steps import KNOWN_DAYS
from tillstream.errors import ConfigError
from tillstream.learning.evidence import rows_of
from tillstream.learning.learn import Learned
from tillstream.learning.outlook import Known, risks
from tillstream.ml.boosting import Recipe
from tillstream.ml.demand_model import LEAST_TRAINING_DAYS, DemandModel, Growing, predict, train
from tillstream.ml.features import HORIZON_DAYS, History


class CentredOnForecast:
    """A predictor, from what is known and learned `now` of a UTC midnight. The model is trained
    once, on the first moment it is asked of.

    Raises ConfigError when fewer than LEAST_TRAINING_DAYS lie before that.
    """

    def __init__(
        self, client: Client, now: Callable[[int], tuple[Known, Learned]], *, days: int
    ) -> None:
        if days < LEAST_TRAINING_DAYS:
            raise ConfigError(
                f"a forecast needs {LEAST_TRAINING_DAYS} days to learn from, not {days}",
                hint=f"add --warmup-days {LEAST_TRAINING_DAYS}",
            )
        self._client = client
        self._now = now
        self._model: DemandModel | None = None

    def __call__(self, as_of_ms: int) -> pa.Table:
        """(store_id, product_id, risk) at a UTC midnight."""
        now, learned = self._now(as_of_ms)
        return risks(now, self._centred(now, learned))

    def _centred(self, now: Known, learned: Learned) -> Learned:
        """Beliefs keep their weight, and get the rate of the seven days ahead."""
        moment = datetime.fromtimestamp(now.evidence.as_of_ms / 1000, UTC)
        last_day = moment.date() - timedelta(days=1)
        sales = demand_panel.read(self._client, last_day=last_day, days=KNOWN_DAYS)
        history = History(sales.panel)
        self._model = self._model or train(Growing.on_all(history, Recipe()))
        rate = predict(self._model, history, sales.panel.days).week_mean / HORIZON_DAYS
        row = rows_of(now.evidence.items, sales.items)
        told = (row >= 0) & (rate > 0)
        a = learned.belief.a.copy()
        a[row[told]] = learned.belief.b[row[told]] * rate[told]
        return replace(learned, belief=replace(learned.belief, a=a))
