"""Every week: train the models again; one is promoted only if it beats the current one."""

from airflow.sdk import DAG

from orchestration.dags.arranging import MODELS, every_night, models_dag

dag: DAG = models_dag(
    "model_training",
    __doc__,
    every_night("0 9 * * 1"),
    steps={"train": "forecasting.train", "train_slow_movers": "slow_movers.train"},
    makes=MODELS,
    hours=4,
)
