"""Reading images and their objects, and shaping them into the inputs of the training graph."""
