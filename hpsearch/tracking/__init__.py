"""The mirror from SQL to MLflow; nothing else here imports mlflow."""
