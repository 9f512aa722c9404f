"""After each night: what the models learn from and predict with, as it was known then."""

from airflow.sdk import DAG

from orchestration.dags.arranging import FEATURES, ROLLUPS, models_dag

dag: DAG = models_dag(
    "feature_engineering",
    __doc__,
    [ROLLUPS],
    steps={"build_features": "forecasting.build_features"},
    makes=FEATURES,
)
