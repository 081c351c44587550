"""Training: selection of layers, one step, the loop, optimizers and learning rates."""
