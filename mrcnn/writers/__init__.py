"""Detections and datasets in the formats of annotation tools."""
