"""After each night's features: what each shelf will sell in the next 7 days, and whether at all
in the next 28."""

from airflow.sdk import DAG

from orchestration.dags.arranging import FEATURES, FORECASTS, models_dag

dag: DAG = models_dag(
    "batch_predictions",
    __doc__,
    [FEATURES],
    steps={"predict": "forecasting.predict", "score_slow_movers": "slow_movers.score"},
    makes=FORECASTS,
)
