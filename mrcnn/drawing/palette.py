"""Colours of classes: distinct, seen on light and on dark photos, and by the colour-blind.

The first twelve were chosen by hand. Each later one is the colour farthest from all before it, by
CIELAB distance as seen with normal, red-blind and green-blind eyes (Machado et al. 2009), among
saturated colours with a lightness from 42 to 84.
"""

_PALETTE = (
    "1e87f0 ff871e c33ca5 0fb478 e1c300 e13c4b 3cd2f0 875aff 96d22d ff87c3 96692d 0069c3 "
    "0ff078 a54b69 2db4ff 870fff 96e1a5 b4a54b 00a596 a57800"
).split()


# Share of white (above 0) or black (below 0) in the colours of ids 1..20, 21..40, 41..60, 61..80.
_TINTS = (0, 0.4, -0.22, 0.65)

# Ids that are a multiple of 20 apart, such as person and dining table of COCO, often share a photo:
# the next twenty begin elsewhere in the list.
_SHIFT = 7


def class_color(class_id: int) -> tuple[float, float, float]:
    """Return the colour (red, green, blue) in [0, 1] of a class, the same in every picture.

    The first 80 classes have colours of their own: 20 colours, then lighter and darker shades of
    them. A crowd, which has a negative id, has the colour of its class.
    """
    turn, place = divmod(abs(int(class_id)) - 1, len(_PALETTE))
    code = _PALETTE[(place + _SHIFT * turn) % len(_PALETTE)]
    tint = _TINTS[turn % len(_TINTS)]
    color = (int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return tuple(c * (1 - abs(tint)) + max(tint, 0) for c in color)


def ink(color) -> int:
    """Return 0 or 255, the gray of text that is read best on a colour in [0, 1]."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # The contrasts of WCAG are equal at 0.18; on full red and blue, though, white is read better.
    return 0 if luminance > 0.28 else 255
