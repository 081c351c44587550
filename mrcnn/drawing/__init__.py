"""Pictures and charts; `mrcnn.visualize` is the face that users call.

There are two ways. `overlay` draws detections into the pixels of a photo: `parts` cuts masks out,
`palette` has the colours, `labels` finds places for labels, `text` makes them, `paint` puts all
into the array, and `saving` writes it. With Matplotlib, `figures` opens, saves and shows figures,
and `marks` puts single boxes, outlines and captions on axes; with these, `instances`, `boxes` and
`grids` draw images, and `charts` and `weights` everything else; `instances` saves pictures in the
first way. OpenCV and Matplotlib are imported inside the functions, so that importing these modules
stays cheap.

The arguments that many functions share, which their docstrings leave out:

    image        [height, width] or [height, width, channels] of any numeric type, see
                 `mrcnn.drawing.pixels.as_rgb`
    boxes        [N, (y1, x1, y2, x2)] pixels, y2 and x2 exclusive; zeros are padding, not drawn
    masks        [height, width, N], the size of the image
    class_ids    [N] int, 0 for the background, negative for a crowd of that class
    class_names  names by class id
    title        line of text above the picture
    figsize      (width, height) in inches, 100 pixels each
    ax           Matplotlib axes to draw on; their figure is neither shown nor closed
    save_to      path of the picture to write, or an open binary file; None draws a pyplot figure
"""
