"""Annotation formats of others, read into a `Dataset`."""
