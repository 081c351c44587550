"""Formulas on boxes, anchors, masks and images.

Nothing here knows the configuration, layers or files. A function that takes `xp` works on NumPy
arrays (the default) and, with `xp=keras.ops`, on tensors inside a graph.
"""
