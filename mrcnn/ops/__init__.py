"""Formulas on boxes, anchors, masks and images.

Nothing here uses a Config, layers or files. A function with the argument `xp` works on NumPy arrays
by default, and with `xp=keras.ops` on tensors inside a graph.
"""
