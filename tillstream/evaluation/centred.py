"""Risk from beliefs with the forecast's rate, as TILLSTREAM_RISK__FORECAST_PRIORS makes them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from clickhouse.client import Client
from orchestration import demand_panel
from orchestration.model_steps import KNOWN_DAYS
from tillstream.errors import ConfigError
from tillstream.learning.evidence import rows_of
from tillstream.learning.learn import Learned, learn
from tillstream.learning.outlook import Known, known, risks
from tillstream.ml.boosting import Recipe
from tillstream.ml.demand_model import LEAST_TRAINING_DAYS, DemandModel, Growing, predict, train
from tillstream.ml.features import HORIZON_DAYS, History

_HALF_LIFE_DAYS = 28.0


class CentredOnForecast:
    """A predictor. The model is trained once, on what is known at the first moment it is asked of.

    Raises ConfigError when that is less than LEAST_TRAINING_DAYS.
    """

    def __init__(self, client: Client, *, days: int) -> None:
        if days < LEAST_TRAINING_DAYS:
            raise ConfigError(
                f"a forecast needs {LEAST_TRAINING_DAYS} days to learn from, not {days}",
                hint=f"add --warmup-days {LEAST_TRAINING_DAYS}",
            )
        self._client = client
        self._days = days
        self._model: DemandModel | None = None

    def __call__(self, as_of_ms: int) -> pa.Table:
        """(store_id, product_id, risk) at a UTC midnight."""
        now = known(
            self._client, as_of_ms=as_of_ms, days=self._days, half_life_days=_HALF_LIFE_DAYS
        )
        return risks(now, self._centred(now, learn(now.evidence, half_life_days=_HALF_LIFE_DAYS)))

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
        return replace(learned, belief=replace(learned.belief, a=np.asarray(a, dtype=np.float64)))
