"""The same examples learned by other libraries: how well, and at what cost.

Trees of the same depth and number, of the same examples, judged on the same held-out weeks. MLlib
knows neither Tweedie's loss nor a start to correct, so it fits squares from nothing.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
import psutil
import xgboost
from numpy.typing import NDArray

from tillstream.evaluation.forecast.recorded import Recorded
from tillstream.ml.boosting import Examples, Recipe, Trees, examples
from tillstream.ml.demand_model import training_origins
from tillstream.ml.features import HORIZON_DAYS, NAMES, History, Rows

Floats = NDArray[np.float64]

_WEEKS: Final = 4
_LEAST: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Trial:
    """`deviance` is Poisson's, per shelf and day; `rmse` in units; `seconds` of training, and
    `cpu_seconds` of it on all cores, Java's included. Lower is better."""

    name: str
    deviance: float
    rmse: float
    wape: float
    seconds: float
    cpu_seconds: float


def compare(
    data: Recorded, recipe: Recipe, *, rows: int, on_phase: Callable[[str, float | None], None]
) -> list[Trial]:
    """Every library on `rows` examples at most. Raises ConfigError, or ImportError's own words, for
    a library that is not installed."""
    history = History(data.panel)
    first = data.panel.days - _WEEKS * HORIZON_DAYS
    found = examples(history, training_origins(first), recipe)
    draw = np.random.default_rng(recipe.seed)
    some = draw.choice(len(found), min(rows, len(found)), replace=False)
    chosen = Examples(*(getattr(found, name)[some] for name in Examples.__slots__))
    weeks = [history.before(first + week * HORIZON_DAYS) for week in range(_WEEKS)]
    sold = np.stack(
        [
            data.panel.units[:, first + week * HORIZON_DAYS :][:, :HORIZON_DAYS]
            for week in range(_WEEKS)
        ]
    )
    trials: list[Trial] = []
    for name, learn in _LIBRARIES.items():
        on_phase(name, len(trials) / len(_LIBRARIES))
        began, cpu = time.monotonic(), _cpu_seconds()
        predict = learn(chosen, recipe)
        seconds, cpu = time.monotonic() - began, _cpu_seconds() - cpu
        mean = np.stack([np.maximum(predict(week), _LEAST) for week in weeks])
        deviance = 2 * np.mean(
            mean - sold + np.where(sold > 0, sold * np.log(np.maximum(sold, 1) / mean), 0.0)
        )
        error = mean - sold
        trials.append(
            Trial(
                name=name,
                deviance=float(deviance),
                rmse=float(np.sqrt(np.mean(error**2))),
                wape=float(np.abs(error).sum() / sold.sum()),
                seconds=round(seconds, 1),
                cpu_seconds=round(cpu, 1),
            )
        )
    _stop_spark()
    return trials


Predict = Callable[[Rows], Floats]


def _xgboost(power: float) -> Callable[[Examples, Recipe], Predict]:
    def learn(found: Examples, recipe: Recipe) -> Predict:
        trees = Trees.grown(found, replace(recipe, tweedie_power=power))
        return lambda rows: trees.mean(rows).astype(np.float64)

    return learn


def _median(found: Examples, recipe: Recipe) -> Predict:
    """The median directly: of shelves that mostly do not sell it is 0, and tells nothing."""
    data = xgboost.DMatrix(found.values, label=found.units, weight=found.weight)
    settings = {"objective": "reg:quantileerror", "quantile_alpha": 0.5, "nthread": recipe.threads}
    settings |= {"max_depth": recipe.depth, "eta": recipe.learning_rate, "tree_method": "hist"}
    booster = xgboost.train(settings, data, recipe.rounds)
    return lambda rows: _shaped(booster.inplace_predict(_flat(rows)), rows)


def _lightgbm(found: Examples, recipe: Recipe) -> Predict:
    import lightgbm

    data = lightgbm.Dataset(found.values, found.units, weight=found.weight, init_score=found.anchor)
    settings: Mapping[str, Any] = {
        "objective": "tweedie",
        "tweedie_variance_power": recipe.tweedie_power,
        "num_leaves": 2**recipe.depth - 1,
        "learning_rate": recipe.learning_rate,
        "min_sum_hessian_in_leaf": recipe.least_child_weight,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "feature_fraction": 0.6,
        "lambda_l2": 5.0,
        "num_threads": recipe.threads,
        "seed": recipe.seed,
        "verbosity": -1,
    }
    booster = lightgbm.train(dict(settings), data, recipe.rounds)

    def predict(rows: Rows) -> Floats:
        raw = np.asarray(booster.predict(_flat(rows), raw_score=True))
        return np.exp(_shaped(raw, rows) + np.log(rows.anchor))

    return predict


def _spark_xgboost(found: Examples, recipe: Recipe) -> Predict:
    from xgboost.spark import SparkXGBRegressor

    learner = SparkXGBRegressor(
        features_col=list(NAMES),
        label_col="units",
        weight_col="weight",
        base_margin_col="anchor_log",
        num_workers=recipe.threads,
        n_estimators=recipe.rounds,
        max_depth=recipe.depth,
        learning_rate=recipe.learning_rate,
        min_child_weight=recipe.least_child_weight,
        objective="reg:tweedie",
        tweedie_variance_power=recipe.tweedie_power,
        subsample=0.7,
        colsample_bytree=0.6,
        reg_lambda=5.0,
        tree_method="hist",
        verbosity=0,
    )
    trees = Trees(learner.fit(_frame(_session(recipe), found)).get_booster())
    return lambda rows: trees.mean(rows).astype(np.float64)


def _mllib(found: Examples, recipe: Recipe) -> Predict:
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.regression import GBTRegressor

    session = _session(recipe)
    assembler = VectorAssembler(inputCols=list(NAMES), outputCol="features")
    learner = GBTRegressor(
        labelCol="units",
        weightCol="weight",
        maxIter=recipe.rounds,
        maxDepth=recipe.depth,
        stepSize=recipe.learning_rate,
        subsamplingRate=0.7,
        seed=recipe.seed,
    )
    model = learner.fit(assembler.transform(_frame(session, found)))

    def predict(rows: Rows) -> Floats:
        frame = session.createDataFrame(pd.DataFrame(_flat(rows), columns=list(NAMES)))
        found = model.transform(assembler.transform(frame)).select("prediction").toPandas()
        return _shaped(found["prediction"].to_numpy(), rows)

    return predict


def _session(recipe: Recipe) -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{recipe.threads}]").appName("forecast-libraries")
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.memory": "3g",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(recipe.threads),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _stop_spark() -> None:
    from pyspark.sql import SparkSession

    if session := SparkSession.getActiveSession():
        session.stop()


def _frame(session: Any, found: Examples) -> Any:
    table = pd.DataFrame(found.values, columns=list(NAMES)).assign(
        units=found.units.astype(float),
        weight=found.weight.astype(float),
        anchor_log=found.anchor.astype(float),
    )
    return session.createDataFrame(table)


def _flat(rows: Rows) -> NDArray[np.float32]:
    return rows.values.reshape(-1, len(NAMES))


def _shaped(values: NDArray[np.floating], rows: Rows) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(rows.anchor.shape)


def _cpu_seconds() -> float:
    """Of this process and its children, on all cores."""
    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


_LIBRARIES: Final[Mapping[str, Callable[[Examples, Recipe], Predict]]] = {
    "XGBoost, Tweedie 1.2": _xgboost(1.2),
    "XGBoost, Tweedie 1.5": _xgboost(1.5),
    "XGBoost, median": _median,
    "LightGBM, Tweedie 1.2": _lightgbm,
    "XGBoost on Spark, Tweedie 1.2": _spark_xgboost,
    "Spark MLlib GBT, squares": _mllib,
}
