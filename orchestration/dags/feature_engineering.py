"""After each night: what the models learn from and predict with, as it was known then."""

from airflow.sdk import DAG

from orchestration.dags.arranging import FEATURES, ROLLUPS, forecasting_dag

dag: DAG = forecasting_dag(
    "feature_engineering", __doc__, [ROLLUPS], step="build_features", makes=FEATURES
)
