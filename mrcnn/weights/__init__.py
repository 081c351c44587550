"""Weights: files that the world has, read into the graph and written from it."""
