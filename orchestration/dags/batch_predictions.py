"""After each night's features: what each product will sell in each store, the next 7 days."""

from airflow.sdk import DAG

from orchestration.dags.arranging import FEATURES, FORECASTS, forecasting_dag

dag: DAG = forecasting_dag(
    "batch_predictions", __doc__, [FEATURES], step="predict", makes=FORECASTS
)
