"""Detection in photos, and evaluation of any tensor of the graph."""
