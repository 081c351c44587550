"""Heads: plain callables that own their layers, beside the losses that train them."""
