"""From photos to detections, and looks inside the graph."""
