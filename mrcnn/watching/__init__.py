"""Progress, logs, pictures and metrics of a training run."""
