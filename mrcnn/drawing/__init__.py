"""How pictures are made; `mrcnn.visualize` is the face that users call.

`pixels` works on arrays (NumPy only), `figures` opens, saves and shows Matplotlib figures, `marks`
puts boxes, outlines and captions on axes, `charts` draws what is not a picture, `metrics` what an
evaluation has found. Matplotlib is imported inside the functions, so that importing these modules
stays cheap.
"""
