"""Keras layers of the graph. They take scalars, never a Config and never a batch size."""
