"""Every week: train the models again; one is promoted only if it beats the current one."""

from airflow.sdk import DAG

from orchestration.dags.arranging import MODELS, every_night, forecasting_dag

dag: DAG = forecasting_dag(
    "model_training", __doc__, every_night("0 9 * * 1"), step="train", makes=MODELS, hours=4
)
