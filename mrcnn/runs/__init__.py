"""Training runs on disk: folder, configuration, checkpoints and states."""
