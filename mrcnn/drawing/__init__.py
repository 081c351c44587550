"""Pictures and charts; `mrcnn.visualize` is the face that users call.

`pixels` works on arrays, `figures` opens, saves and shows Matplotlib figures, `marks` puts single
boxes, outlines and captions on axes. With these, `instances`, `boxes` and `grids` draw images, and
`charts` and `weights` everything else. Matplotlib is imported inside the functions, so that
importing these modules stays cheap.
"""
