"""Colours of classes: distinct, seen on light and on dark photos, and by the colour-blind.

The first twelve were chosen by hand. Each later one is the colour farthest from all before it, by
CIELAB distance as seen with normal, red-blind and green-blind eyes (Machado et al. 2009), among
saturated colours with a lightness from 42 to 84.
"""

_PALETTE = (
    "1e87f0 ff871e c33ca5 0fb478 e1c300 e13c4b 3cd2f0 875aff 96d22d ff87c3 96692d 0069c3 "
    "0ff078 a54b69 2db4ff 870fff 96e1a5 b4a54b 00a596 a57800"
).split()


def class_color(class_id: int) -> tuple[float, float, float]:
    """Return the colour (red, green, blue) in [0, 1] of a class, the same in every picture.

    There are 20 colours; the classes 1 and 21 have the same one. A crowd, which has a negative id,
    has the colour of its class.
    """
    code = _PALETTE[(abs(int(class_id)) - 1) % len(_PALETTE)]
    return tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))


def ink(color) -> int:
    """Return 0 or 255, the gray of text that is read best on a colour in [0, 1] (WCAG contrast)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Both contrasts, (L + 0.05) / 0.05 with black and 1.05 / (L + 0.05) with white, are equal here.
    return 0 if luminance > 0.179 else 255
