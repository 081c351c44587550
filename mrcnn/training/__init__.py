"""Training: which layers learn, one step, the loop around it, and what is kept of a run."""
