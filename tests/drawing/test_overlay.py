"""draw_detections: pixels worked out by hand, places of labels, and arguments that do not fit."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.drawing.labels import place_labels
from mrcnn.drawing.overlay import draw_detections
from mrcnn.drawing.paint import text_pixels
from mrcnn.drawing.palette import class_color, ink
from mrcnn.drawing.text import line_of_text
from mrcnn.ops.rle import encode_mask

NAMES = ["BG", "cat", "dog"]
GRAY = 100


@pytest.fixture
def scene():
    """A gray 300x400 photo with a cat of 60x40 pixels and a dog of 120x200 pixels."""
    image = np.full((300, 400, 3), GRAY, np.uint8)
    masks = np.zeros((300, 400, 2), bool)
    masks[20:80, 30:70, 0] = masks[150:270, 150:350, 1] = True
    boxes = np.array([[20, 30, 80, 70], [150, 150, 270, 350]])
    return image, boxes, masks, np.array([1, 2])


def changed(picture):
    """Return the box (y1, x1, y2, x2) of the pixels that are no longer gray."""
    rows, columns = np.nonzero((picture != GRAY).any(axis=-1))
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_fill_and_outline_stay_inside_the_mask(scene):
    image, boxes, masks, class_ids = scene
    picture = draw_detections(
        image, boxes[:1], masks[..., :1], class_ids[:1], colors=[(1, 0, 0)], show_label=False
    )
    assert picture.shape == image.shape
    assert picture.dtype == np.uint8
    # 0.65 * 100 + 0.35 * 255 = 154.25 and 0.65 * 100 = 65.
    assert picture[50, 50].tolist() == [154, 65, 65]
    assert picture[50, 30, 0] > 220
    # The line, one pixel thick, runs on the outermost pixels; its soft edge reaches one beyond.
    y1, x1, y2, x2 = changed(picture)
    assert abs(np.array([y1, x1, y2, x2]) - boxes[0]).max() <= 1
    assert (image == GRAY).all(), "the caller's photo must not be painted"


def test_forms_of_masks_give_one_picture(scene):
    image, boxes, masks, class_ids = scene
    masks[10:15, 200:220, 0] = True  # outside its box
    compressed = [encode_mask(masks[..., i]) for i in range(2)]
    runs = [{"size": rle["size"], "counts": uncompressed(masks[..., i])}
            for i, rle in enumerate(compressed)]  # fmt: skip
    forms = [masks, 255 * masks.astype(np.uint8), compressed, runs]
    first, *others = (draw_detections(image, boxes, form, class_ids, NAMES) for form in forms)
    assert (first[12, 205:215] != GRAY).any()
    for other in others:
        np.testing.assert_array_equal(first, other)


def uncompressed(mask):
    """Return the run lengths of a mask, counted one by one."""
    counts, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def test_boxes_come_from_masks_where_there_are_none(scene):
    image, boxes, masks, class_ids = scene
    given = draw_detections(image, boxes, masks, class_ids, show_mask=False, show_label=False)
    found = draw_detections(image, None, masks, class_ids, show_mask=False, show_label=False)
    np.testing.assert_array_equal(given, found)
    # Edges of boxes lie inside: the first and the last pixel of each side.
    assert given[20, 30:70].tolist() == [given[20, 30].tolist()] * 40
    assert changed(given[:100])[2:] == (80, 70)
    assert (given[30:70, 40:60] == GRAY).all()
    both = draw_detections(image, boxes, masks, class_ids, show_box=True, show_label=False)
    assert (both != draw_detections(image, boxes, masks, class_ids, show_label=False)).any()


def test_colours_are_those_of_classes_where_several_occur(scene):
    image, boxes, masks, _ = scene

    def fills(class_ids, **options):
        options |= {"alpha": 1, "show_label": False}
        picture = draw_detections(image, boxes, masks, class_ids, **options)
        return [tuple(picture[y, x] / 255) for y, x in ((50, 50), (200, 250))]

    cat, dog = class_color(1), class_color(2)
    assert fills([2, 1]) == [dog, cat]
    assert fills([2, 2]) == [cat, dog]
    assert fills([2, 2], color_by="class") == [dog, dog]
    assert fills([2, 1], color_by="instance") == [cat, dog]
    assert fills([-2, 1]) == [dog, cat], "a crowd has the colour of its class"


def test_small_instances_lie_on_top_of_large_ones():
    image, masks = np.full((100, 100, 3), GRAY, np.uint8), np.zeros((100, 100, 2), bool)
    masks[40:60, 40:60, 0] = masks[..., 1] = True
    picture = draw_detections(image, None, masks, [1, 1], colors=["red", "blue"], alpha=1)
    assert picture[45, 50].tolist() == [255, 0, 0]


def test_labels_stand_inside_large_instances_and_beside_small_ones(scene):
    image, boxes, masks, class_ids = scene
    bare = draw_detections(image, boxes, masks, class_ids, show_label=False)
    picture = draw_detections(image, boxes, masks, class_ids, NAMES, [0.987, 0.5])
    rows, columns = np.nonzero((picture != bare).any(axis=-1))
    dog = rows > 100
    height, width = line_of_text("dog 0.50", round(text_pixels(image.shape))).shape
    assert (np.ptp(rows[dog]) + 1, np.ptp(columns[dog]) + 1) == (height, width)
    # In the middle of the dog at (210, 250), but for a pixel of rounding in the coarse mask.
    assert abs((rows[dog].min() + rows[dog].max()) / 2 - 210) < 5
    assert abs((columns[dog].min() + columns[dog].max()) / 2 - 250) < 5
    height, width = line_of_text("cat 0.99", round(text_pixels(image.shape))).shape
    assert width > 40, "this label does not fit into the cat"
    assert (rows[~dog].min(), rows[~dog].max() + 1) == (20 - height, 20)
    assert columns[~dog].min() == 30
    without = draw_detections(image, boxes, masks, class_ids, captions=["", ""])
    np.testing.assert_array_equal(bare, without)


def test_text_has_the_contrast_that_its_plate_needs():
    assert [ink(color) for color in [(0, 0, 0.6), (0.5, 0, 0), (1, 1, 0), (1, 1, 1)]] == [
        255, 255, 0, 0,
    ]  # fmt: skip
    image = np.full((60, 200, 3), GRAY, np.uint8)
    boxes = [[20, 0, 60, 200]]
    white = draw_detections(image, boxes, None, [1], captions=["MMM"], colors=["navy"])
    black = draw_detections(image, boxes, None, [1], captions=["MMM"], colors=["yellow"])
    assert white.max() == 255
    assert black.min() == 0
    # Letters outside Latin have glyphs of their own.
    assert (line_of_text("Кот", 20) != line_of_text("\ufffd" * 3, 20)[:, :1]).any()
    assert not np.array_equal(line_of_text("Ж", 20), line_of_text("Я", 20))


def test_labels_never_overlap_and_hide_few_instances():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, (380, 480), (150, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 60, (150, 2))]).clip(0, (400, 500) * 2)
    sizes = np.stack([np.tile([16, 70], (150, 1)), np.tile([13, 56], (150, 1))])
    order = rng.permutation(150)
    places = place_labels(sizes, boxes, (400, 500, 3), order=order)
    plates = np.zeros((400, 500), int)
    placed = [place for place in places if place is not None]
    assert 5 < len(placed) < 150
    for number, y, x in placed:
        height, width = sizes[number, 0]
        assert 0 <= y <= 400 - height
        assert 0 <= x <= 500 - width
        plates[y : y + height, x : x + width] += 1
    assert plates.max() == 1
    # At most 15 % of the image.
    assert plates.sum() <= 0.15 * 400 * 500
    assert places[order[0]] is not None, "the first one chooses first"


def test_a_label_that_does_not_fit_shrinks_and_then_goes():
    boxes = [[0, 0, 20, 40]]
    large, small = [[20, 60]], [[10, 30]]
    assert place_labels([large, small], boxes, (20, 50))[0][0] == 1
    assert place_labels([large], boxes, (20, 50)) == [None]
    # The second label would hide the first instance; the third one has room on the right.
    boxes = [[0, 0, 20, 40], [0, 0, 20, 40]]
    assert place_labels([[[20, 40]] * 2], boxes, (20, 40)) == [None, None]


def test_labels_that_are_moved_aside_have_a_line():
    """A label among many small neighbours must leave, and a line leads back."""
    image = np.full((300, 400, 3), GRAY, np.uint8)
    corners = [(y, x) for y in range(100, 200, 20) for x in range(130, 270, 20)]
    boxes = [(y, x, y + 18, x + 18) for y, x in corners]
    middle = corners.index((140, 190))
    captions = ["" if i != middle else "middle" for i in range(35)]
    options = {"color_by": "instance", "show_box": False}
    picture = draw_detections(image, boxes, None, [1] * 35, captions=captions, **options)
    y1, x1, y2, x2 = changed(picture)
    assert y1 < 100 or y2 > 198 or x1 < 130 or x2 > 268
    # The line ends in the middle of its instance.
    assert (picture[148:150, 198:200] != GRAY).any()


@pytest.mark.parametrize("form", ["array", "list", None])
def test_photo_without_instances_is_copied(form):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    masks = {"array": np.zeros((0, 0, 0)), "list": [], None: None}[form]
    picture = draw_detections(image, np.zeros((0, 4)), masks, [], NAMES, [])
    np.testing.assert_array_equal(picture, image)
    assert not np.shares_memory(picture, image)


def test_padding_and_empty_masks_are_not_drawn(scene):
    image, boxes, masks, _ = scene
    masks[..., 0] = False
    boxes[1] = 0
    masks[..., 1] = True
    picture = draw_detections(image, boxes, masks, [1, 0], captions=["", "b"])
    assert (picture == GRAY).all()
    assert (draw_detections(image, boxes, masks, [1, 0], NAMES) != GRAY).any(), "label of the cat"


def test_gray_photos_and_boxes_beyond_the_photo_are_drawn():
    image = np.full((50, 60), GRAY, np.uint16) * 257
    picture = draw_detections(image, [[-9, -9.5, 99, 1e9]], None, [1], show_box=True)
    assert picture.shape == (50, 60, 3)


def test_arguments_that_do_not_fit_are_named(scene):
    image, boxes, masks, class_ids = scene

    def refused(match, *arguments, **options):
        with pytest.raises(ValueError, match=match):
            draw_detections(image, *arguments, **options)

    refused("both are None", None, None, class_ids)
    refused("masks are 28x28x2 but the image is 300x400", boxes, masks[:28, :28], class_ids)
    refused("got 2 boxes, 2 masks, 3 class_ids", boxes, masks, [1, 1, 1])
    refused("got 2 boxes, 2 class_ids, 1 scores", boxes, None, class_ids, NAMES, [1])
    refused("class id 3 has no name", boxes, None, [1, 3], NAMES)
    refused("a box has a coordinate that is NaN", boxes * np.nan, None, class_ids)
    refused("color_by is \"?'classes'", boxes, None, class_ids, color_by="classes")
    refused("alpha is 35", boxes, None, class_ids, alpha=35)
    refused("alpha is nan", boxes, None, class_ids, alpha=np.nan)
    refused("thickness is 0.5", boxes, None, class_ids, thickness=0.5)
    refused("text_scale is 0", boxes, None, class_ids, text_scale=0)
    refused("'bloo'", boxes, None, class_ids, colors=["red", "bloo"])
    small = [encode_mask(masks[:28, :, i]) for i in range(2)]
    refused(r"instance 0: the mask has shape \(28, 400\) but", boxes, small, class_ids)
    broken = [dict(rle, size=[300, 400]) for rle in small]
    refused("counts of an RLE do not add up to its size, 300 x 400", boxes, broken, class_ids)


def test_crowds_of_one_class_have_different_neighbours():
    colors = [class_color(i) for i in range(1, 81)]
    assert len(set(colors)) == 80
    for first, second in zip(colors, colors[1:], strict=False):
        assert max(abs(a - b) for a, b in zip(first, second, strict=True)) > 0.1
    assert class_color(81) != class_color(80)


def test_crowds_of_small_instances_have_small_labels():
    """A photo of 2000 x 2000 pixels has text of 36 pixels; in a crowd of 50-pixel cells, of 20."""
    image = np.full((2000, 2000, 3), GRAY, np.uint8)
    corners = [(y, x) for y in range(0, 2000, 250) for x in range(0, 2000, 250)]
    boxes = np.array([(y + 50, x, y + 100, x + 50) for y, x in corners])
    options = {"captions": ["cell"] + [""] * 63, "show_box": False}
    for count, pixels in ((40, 36), (64, 20)):
        captions = options["captions"][:count]
        picture = draw_detections(
            image, boxes[:count], None, [1] * count, **options | {"captions": captions}
        )
        y1, x1, y2, x2 = changed(picture)
        assert (y2 - y1, x2 - x1) == line_of_text("cell", pixels).shape


def test_large_run_lengths_are_drawn_in_the_memory_of_their_box(scene):
    """The RLE of a photo of 100 million pixels, which pycocotools decodes to 100 MB."""
    import tracemalloc

    from mrcnn.drawing.parts import mask_parts

    rle = coco_mask.frPyObjects([[500, 600, 520, 600, 520, 640, 500, 640]], 10_000, 10_000)[0]
    tracemalloc.start()
    ((top, left, mask),) = mask_parts([rle], (10_000, 10_000, 3), 1)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [left, top, *mask.shape[::-1]] == coco_mask.toBbox(rle).tolist()
    assert mask.sum() == coco_mask.area(rle)
    assert peak < 5e6
    assert kept < 1e4
