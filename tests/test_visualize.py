"""mrcnn.visualize: pixels of saved pictures, and artists on the axes."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from skimage.io import imread

from mrcnn import visualize
from mrcnn.drawing.palette import class_color
from mrcnn.ops.rle import encode_mask

NAMES = ["BG", "cat", "dog", "bird"]
GRAY = 100


@pytest.fixture(autouse=True)
def file_backend():
    previous = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(previous)


@pytest.fixture
def scene():
    """A gray 40x40 image with a 10x10 cat, and a 10x20 dog to its right and below."""
    image = np.full((40, 40, 3), GRAY, np.uint8)
    masks = np.zeros((40, 40, 2), bool)
    masks[5:15, 5:15, 0] = masks[20:30, 15:35, 1] = True
    boxes = np.array([[5, 5, 15, 15], [20, 15, 30, 35]])
    return image, boxes, masks, np.array([1, 2])


def magnified(path, y, x):
    """The middle of pixel (y, x) in a saved picture ten times as large as the image."""
    return imread(path)[10 * y + 5, 10 * x + 5, :3].tolist()


def captions(ax):
    return [text.get_text() for text in ax.texts]


def edges(ax):
    """Boxes on the axes as [(y1, x1, y2, x2), line style, colour], in pixels."""
    rectangles = [patch for patch in ax.patches if hasattr(patch, "get_width")]
    return [
        (
            (
                r.get_y() + 0.5,
                r.get_x() + 0.5,
                r.get_y() + 0.5 + r.get_height(),
                r.get_x() + 0.5 + r.get_width(),
            ),
            r.get_linestyle(),
            to_hex(r.get_edgecolor()),
        )
        for r in rectangles
    ]


def test_import_is_light():
    code = (
        "import sys, mrcnn.visualize; heavy = {'matplotlib', 'IPython', 'skimage', 'tensorflow', "
        "'keras'}; sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(visualize.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert (result.returncode, result.stderr.strip()) == (0, "")


def test_every_figure_can_be_saved():
    silent = {"apply_mask", "display_table", "display_weight_stats", "draw_box", "random_colors"}
    drawing = {name for name in vars(visualize) if re.match("apply|display|draw|plot", name)}
    for name in drawing - silent:
        parameter = inspect.signature(getattr(visualize, name)).parameters["save_to"]
        assert parameter.kind is parameter.KEYWORD_ONLY, name


def test_masks_are_mixed_by_a_third_in_the_picture(scene, tmp_path):
    image, boxes, masks, class_ids = scene
    path = tmp_path / "p.png"
    visualize.display_instances(
        image, boxes, masks, class_ids, NAMES, figsize=(4, 4), colors=["red", (0, 0, 1)],
        captions=["", ""], save_to=path,
    )  # fmt: skip
    assert imread(path).shape[:2] == (400, 400)
    # 0.65 * 100 + 0.35 * 255 = 154.25 and 0.65 * 100 = 65, rounded down.
    assert magnified(path, 10, 10) == [154, 65, 65]
    assert magnified(path, 25, 25) == [65, 65, 154]
    assert magnified(path, 17, 10) == [GRAY] * 3
    assert (image == GRAY).all(), "the caller's image must not be painted"


def test_saved_picture_has_the_pixels_of_the_photo(scene, tmp_path):
    """The photo is under the drawing as it was, neither resampled nor moved."""
    image = np.random.default_rng(0).integers(0, 256, (420, 500, 3)).astype(np.uint8)
    path = tmp_path / "p.png"
    boxes, masks = np.array([[100, 100, 200, 300]]), np.zeros((420, 500, 1), bool)
    masks[100:200, 100:300] = True
    visualize.display_instances(image, boxes, masks, [1], NAMES, colors=["red"], save_to=path)
    pixels = imread(path)[..., :3]
    assert pixels.shape == image.shape
    np.testing.assert_array_equal(pixels[:60], image[:60])
    np.testing.assert_array_equal(pixels[220:], image[220:])
    # Away from outline, box and caption: 65 % of the photo, 35 % red.
    np.testing.assert_array_equal(pixels[120, 150:250, 1], np.rint(0.65 * image[120, 150:250, 1]))


def test_figure_has_the_size_of_the_original(scene):
    visualize.display_instances(*scene, NAMES)
    assert plt.gcf().get_size_inches().tolist() == [16, 16]


def test_detections_of_a_result(scene):
    image, boxes, masks, class_ids = scene
    found = {"rois": boxes, "masks": masks, "class_ids": class_ids, "scores": [0.75, 0.5]}
    _, axes = plt.subplots(1, 3)
    visualize.display_detections(image, found, NAMES, ax=axes[0], colors="class")
    assert captions(axes[0]) == ["dog 0.50", "cat 0.75"]
    nothing = {key: value[:0] for key, value in found.items()} | {"masks": masks[..., :0]}
    nothing |= {"best_score": np.float32(0.413), "min_confidence": np.float32(0.7)}
    visualize.display_detections(image, nothing, NAMES, title="image 7", ax=axes[1])
    assert axes[1].get_title() == "image 7: no instances above 0.7 (best score 0.41)"
    visualize.display_comparison(image, (boxes, masks, class_ids), nothing, NAMES)
    assert plt.gcf().axes[1].get_title() == ("detections: no instances above 0.7 (best score 0.41)")


def test_overlapping_masks_are_mixed_in_turn(scene, tmp_path):
    image, boxes, masks, class_ids = scene
    masks[..., 1] = masks[..., 0]
    path = tmp_path / "p.png"
    visualize.display_instances(
        image, boxes, masks, class_ids, NAMES, figsize=(4, 4), colors=["red", "lime"],
        captions=["", ""], save_to=path,
    )  # fmt: skip
    # Red first: (154, 65, 65). Then 65 % of it, plus 89.25 of green: (100.1, 131.5, 42.25).
    assert magnified(path, 10, 10) == [100, 131, 42]


def test_boxes_enclose_their_pixels(scene, tmp_path):
    image = scene[0]
    path = tmp_path / "p.png"
    visualize.draw_boxes(image, np.array([[10, 20, 30, 35]]), visibilities=[2], save_to=path)
    pixels = imread(path)[..., :3]
    assert pixels.shape == (1200, 1200, 3)
    # 30 pixels of the picture a pixel of the image; the line is 2.8 wide, around the very edge.
    changed = (pixels != GRAY).any(axis=-1)
    rows, columns = np.nonzero(changed.any(axis=1))[0], np.nonzero(changed.any(axis=0))[0]
    np.testing.assert_allclose([rows[0], rows[-1]], [300 - 0.5, 900 - 0.5], atol=2)
    np.testing.assert_allclose([columns[0], columns[-1]], [600 - 0.5, 1050 - 0.5], atol=2)
    assert not changed[304:896, 604:1046].any()
    assert pixels[300, 700].tolist() == [255, 0, 0]


def test_outlines_are_drawn_without_fill_and_boxes(scene):
    image, boxes, masks, class_ids = scene
    _, ax = plt.subplots()
    visualize.display_instances(
        image, boxes, masks, class_ids, NAMES, ax=ax, show_mask=False, show_bbox=False
    )
    assert (ax.images[0].get_array() == GRAY).all()
    assert edges(ax) == []
    corners = [patch.get_xy() for patch in ax.patches]
    assert [xy.min(axis=0).tolist() for xy in corners] == [[4.5, 4.5], [14.5, 19.5]]


def test_instances_have_boxes_captions_and_colours_of_their_own(scene):
    image, boxes, masks, class_ids = scene
    visualize.display_instances(image, boxes, masks, class_ids, NAMES, np.array([0.9876, 0.5]))
    ax = plt.gcf().axes[0]
    cat, dog = to_hex(class_color(1)), to_hex(class_color(2))
    assert edges(ax) == [((5, 5, 15, 15), "--", cat), ((20, 15, 30, 35), "--", dog)]
    assert captions(ax) == ["dog 0.50", "cat 0.99"], "the first caption is drawn last, on top"
    assert all(to_rgb(text.get_color()) == (1, 1, 1) for text in ax.texts)
    assert len(plt.get_fignums()) == 1
    visualize.display_instances(image, boxes, masks, [2, 2], NAMES)
    colors = [color for _, _, color in edges(plt.gcf().axes[0])]
    assert len(set(colors)) == 2, "instances of a single class have colours of their own"


def test_class_colours_stay_the_same(scene):
    image, boxes, masks, _ = scene
    colors = [class_color(class_id) for class_id in range(4)]
    for class_ids in ([1, 3], [3, 2]):
        _, ax = plt.subplots()
        visualize.display_instances(image, boxes, masks, class_ids, NAMES, ax=ax, colors="class")
        assert [edge[2] for edge in edges(ax)] == [to_hex(colors[i]) for i in class_ids]
    with pytest.raises(ValueError, match="colors is 'red'; expected N colours, \"class\" or None"):
        visualize.display_instances(image, boxes, masks, [1, 2], NAMES, colors="red")


def test_padding_is_left_out_and_crowds_are_named(scene):
    image, boxes, masks, _ = scene
    boxes[1] = 0
    _, ax = plt.subplots()
    visualize.display_instances(image, boxes, masks, [-2, 0], NAMES, ax=ax)
    assert captions(ax) == ["dog (crowd)"]
    assert len(edges(ax)) == 1
    assert (np.asarray(ax.images[0].get_array())[20:30, 15:35] == GRAY).all()


def test_masks_may_be_missing(scene):
    image, boxes, _, class_ids = scene
    _, ax = plt.subplots()
    visualize.display_instances(image, boxes, None, class_ids, NAMES, captions=["a", "b"], ax=ax)
    assert captions(ax) == ["b", "a"]
    assert len(ax.patches) == 2


def test_masks_may_be_run_lengths(scene, tmp_path):
    image, boxes, masks, class_ids = scene
    pixels = []
    for form in (masks, [encode_mask(masks[..., i]) for i in range(2)]):
        visualize.display_instances(
            image, boxes, form, class_ids, NAMES, figsize=(2, 2), save_to=tmp_path / "p.png"
        )
        pixels.append(imread(tmp_path / "p.png"))
    np.testing.assert_array_equal(*pixels)
    with pytest.raises(ValueError, match="mask has shape .28, 40. but the image .40, 40."):
        small = encode_mask(masks[:28, :, 0])
        visualize.display_instances(image, boxes[:1], [small], [1], NAMES)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("masks_shape", [(40, 40, 0), (0, 0, 0)])
@pytest.mark.parametrize(
    ("title", "expected"), [("", "no instances"), ("image 7", "image 7: no instances")]
)
def test_image_without_instances_says_so(scene, masks_shape, title, expected):
    _, ax = plt.subplots()
    visualize.display_instances(
        scene[0], np.zeros((0, 4), int), np.zeros(masks_shape), np.zeros(0, int), NAMES,
        title=title, ax=ax,
    )  # fmt: skip
    assert ax.get_title() == expected
    assert (ax.images[0].get_array() == GRAY).all()


def test_arguments_that_do_not_fit_are_named(scene):
    image, boxes, masks, class_ids = scene
    show = visualize.display_instances
    with pytest.raises(ValueError, match="masks are 28x28x2 but the image is 40x40.*expand_mask"):
        show(image, boxes, masks[:28, :28], class_ids, NAMES)
    with pytest.raises(
        ValueError, match="got 2 boxes, 1 masks, 2 class_ids, 2 scores; expected equally"
    ):
        show(image, boxes, masks[..., :1], class_ids, NAMES, [0.5, 0.5])
    with pytest.raises(ValueError, match="got 2 boxes, 2 masks, 3 class_ids; expected equally"):
        show(image, boxes, masks, [1, 1, 1], NAMES)
    with pytest.raises(ValueError, match="class id 4 has no name: class_names has 4 entries"):
        show(image, boxes, masks, [1, 4], NAMES)
    assert plt.get_fignums() == []


def test_two_hundred_pictures_leave_no_figure(scene, tmp_path):
    image, boxes, _, class_ids = scene
    for _ in range(200):
        visualize.display_instances(
            image, boxes, None, class_ids, NAMES, figsize=(0.5, 0.5), save_to=tmp_path / "p.png"
        )
    assert plt.get_fignums() == []


def test_pyplot_saves_the_last_figure(scene, tmp_path):
    image, boxes, masks, class_ids = scene
    for name in ("first", "second"):
        visualize.display_instances(image, boxes, masks, class_ids, NAMES, title=name)
    plt.savefig(tmp_path / "p.png")
    assert plt.gca().get_title() == "second"
    assert imread(tmp_path / "p.png").shape[:2] == (1600, 1600)
    assert len(plt.get_fignums()) == 1


def test_comparison_has_one_colour_per_class_on_both_sides(scene, tmp_path):
    image, boxes, masks, class_ids = scene
    found = {"rois": boxes[1:], "masks": masks[..., 1:], "class_ids": [2], "scores": [0.75]}
    visualize.display_comparison(image, (boxes, masks, class_ids), found, NAMES, title="7")
    left, right = plt.gcf().axes
    assert [ax.get_title() for ax in (left, right)] == ["7: ground truth (2)", "7: detections (1)"]
    assert (captions(left), captions(right)) == (["dog", "cat"], ["dog 0.75"])
    assert edges(left)[1] == edges(right)[0]
    assert edges(left)[1][2] == to_hex(class_color(2))

    nothing = {key: value[:0] for key, value in found.items() if key != "masks"}
    nothing["masks"] = masks[..., :0]
    path = tmp_path / "p.png"
    visualize.display_comparison(
        image, (boxes, masks, class_ids), nothing, NAMES, figsize=(8.1, 9), save_to=path
    )
    # Two images of 4 inches, 0.1 between them, 0.45 above.
    assert imread(path).shape[:2] == (445, 810)
    assert imread(path)[45 + 205, 410 + 205, :3].tolist() == [GRAY] * 3


def test_differences_are_captioned_with_score_and_overlap(scene):
    image, gt_boxes, gt_masks, gt_ids = scene
    # The second detection, better scored, is the cat moved two pixels: 80 of 120 pixels are
    # common. The first has no pixel in common with anything. The third row is padding.
    boxes = np.array([[0, 30, 4, 40], [5, 7, 15, 17], [0, 0, 0, 0]])
    masks = np.zeros((40, 40, 3), bool)
    masks[0:4, 30:40, 0] = masks[5:15, 7:17, 1] = True
    _, ax = plt.subplots()
    visualize.display_differences(
        image, gt_boxes, gt_ids, gt_masks, boxes, [3, 1, 0], [0.6, 0.9, 0], masks, NAMES, ax=ax
    )
    assert sorted(captions(ax)) == ["0.60 / 0.00", "0.90 / 0.67"]
    green, red = "#00ff00", "#ff0000"
    assert [(box, color) for box, _, color in edges(ax)] == [
        ((5, 5, 15, 15), green),
        ((20, 15, 30, 35), green),
        ((5, 7, 15, 17), red),
        ((0, 30, 4, 40), red),
    ]
    assert ax.get_title() == "ground truth: green, detections: red with score / IoU"


def test_differences_show_the_overlap_with_the_match_not_with_the_nearest(scene):
    image, boxes, masks, _ = scene
    # A cat, a dog two pixels to the right of it, and a detection of a cat that covers the dog.
    masks[..., 1] = np.roll(masks[..., 0], 2, axis=1)
    _, ax = plt.subplots()
    visualize.display_differences(
        image, boxes, [1, 2], masks, boxes[1:], [1], [0.5], masks[..., 1:], NAMES, ax=ax
    )
    assert captions(ax) == ["0.50 / 0.67"]


def test_differences_without_detections(scene):
    image, boxes, masks, class_ids = scene
    _, ax = plt.subplots()
    visualize.display_differences(
        image, boxes, class_ids, masks, boxes[:0], class_ids[:0], [], masks[..., :0], NAMES,
        title="none found", ax=ax,
    )  # fmt: skip
    assert ax.get_title() == "none found"
    assert [color for _, _, color in edges(ax)] == ["#00ff00"] * 2


def test_rois_before_and_after_refinement(scene):
    image = scene[0]
    rois = np.array([[10, 10, 20, 20], [0, 0, 8, 8]])
    refined = rois + [1, 2, 3, 4]
    mask = np.zeros((2, 4, 4), np.float32)
    mask[0, :, :2] = 1  # the left half of the first RoI
    visualize.draw_rois(image, rois, refined, mask, np.array([2, 0]), NAMES)
    ax = plt.gcf().axes[0]
    red = to_hex(visualize.random_colors(1)[0])
    assert sorted(edges(ax)) == [
        ((0, 0, 8, 8), "--", to_hex("gray")),
        ((10, 10, 20, 20), "--", red),
        ((11, 12, 23, 24), "-", red),
    ]
    assert ax.lines[0].get_xydata().tolist() == [[9.5, 9.5], [11.5, 10.5]]
    assert captions(ax) == ["dog"]
    assert ax.get_title() == "2 of 2 RoIs (1 positive, 1 background)"
    pixels = np.asarray(ax.images[0].get_array())
    assert pixels[15, 11].tolist() == [177, 50, 50]
    assert (pixels[15, 18] == GRAY).all()
    assert (pixels[:8, :8] == GRAY).all(), "background RoIs have no mask"


def test_rois_are_limited_to_the_same_choice(scene):
    rois = np.arange(120).reshape(30, 4) % 40
    chosen = []
    for _ in range(2):
        visualize.draw_rois(scene[0], rois, rois, np.zeros((30, 28, 28)), np.zeros(30), NAMES, 7)
        ax = plt.gcf().axes[0]
        chosen.append([box for box, _, _ in edges(ax)])
    assert ax.get_title() == "7 of 30 RoIs (0 positive, 30 background)"
    assert len(chosen[0]) == 7
    assert chosen[0] == chosen[1]
    with pytest.raises(ValueError, match="got 30 rois, 29 refined_rois, 30 masks, 30 class_ids"):
        visualize.draw_rois(scene[0], rois, rois[1:], np.zeros((30, 28, 28)), np.zeros(30), NAMES)


def test_boxes_by_visibility(scene):
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [0, 0, 0, 0]])
    _, ax = plt.subplots()
    visualize.draw_boxes(
        scene[0], boxes, boxes + 1, visibilities=[0, 1, 2, 1], captions="abcd", ax=ax
    )
    _, blue, green, magenta = (to_hex(color) for color in visualize.random_colors(4))
    assert edges(ax) == [
        ((1, 2, 3, 4), ":", "#808080"),
        ((2, 3, 4, 5), "-", "#808080"),
        ((5, 6, 7, 8), ":", blue),
        ((6, 7, 8, 9), "-", blue),
        ((9, 10, 11, 12), "-", green),
        ((10, 11, 12, 13), "-", green),
        ((1, 1, 1, 1), "-", magenta),
    ]
    assert captions(ax) == ["d", "c", "b", "a"]
    assert len(ax.lines) == 3


def test_boxes_with_masks(scene):
    image, boxes, masks, _ = scene
    visualize.draw_boxes(image, refined_boxes=boxes, masks=masks, title="proposals")
    ax = plt.gcf().axes[0]
    assert ax.get_title() == "proposals"
    assert [style for _, style, _ in edges(ax)] == ["-", "-"]
    assert np.asarray(ax.images[0].get_array())[10, 10].tolist() == [177, 50, 50]
    with pytest.raises(ValueError, match="both are None"):
        visualize.draw_boxes(image)
    with pytest.raises(ValueError, match="got 2 boxes, 2 captions, 1 visibilities"):
        visualize.draw_boxes(image, boxes, visibilities=[1])


def test_top_masks_are_ranked_by_area(scene):
    image, _, masks, _ = scene
    masks = np.concatenate([masks, np.roll(masks[..., :1], 20, axis=0), masks[..., :1] & 0], -1)
    # The dog has 200 pixels, the two cats 100 each, the bird none.
    masks[0, 0, 0] = True
    visualize.display_top_masks(image, masks, [1, 2, 1, 3], NAMES, limit=3)
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes] == ["H x W = 40 x 40", "cat", "dog", "-"]
    cats = masks[..., 0] + 2 * masks[..., 2]
    for ax, expected in zip(axes[1:], [cats, masks[..., 1], 0 * cats], strict=True):
        assert np.array_equal(ax.images[0].get_array(), expected)


def test_top_masks_of_an_image_without_objects(scene):
    visualize.display_top_masks(scene[0], np.zeros((0, 0, 0)), np.zeros(0, int), NAMES, limit=2)
    assert [ax.get_title() for ax in plt.gcf().axes] == ["H x W = 40 x 40", "-", "-"]


def test_images_in_a_grid(scene, tmp_path):
    gray = np.array([[0.0, -3.0], [2.0, 9.0]])
    many_channels = np.arange(20, dtype=np.uint8).reshape(2, 2, 5)
    visualize.display_images([gray, gray[..., None], many_channels], ["a", "b", "c"], cols=2)
    axes = plt.gcf().axes
    assert [ax.get_title() for ax in axes] == ["a", "b", "c", ""]
    assert np.array_equal(axes[0].images[0].get_array(), gray)
    assert np.array_equal(axes[1].images[0].get_array(), gray)
    assert np.array_equal(axes[2].images[0].get_array(), many_channels[..., :3])
    assert not axes[3].images
    with pytest.raises(ValueError, match="got 1 images, 2 titles"):
        visualize.display_images([gray], ["a", "b"])
    visualize.display_images([np.ones((2, 2), bool), np.full((2, 2), 7)])
    # Bools are scaled by False and True, even if all are True; numbers by their own range.
    assert [ax.images[0].get_clim() for ax in plt.gcf().axes[:2]] == [(0, 1), (7, 7)]
    visualize.display_images([], save_to=tmp_path / "p.png")
    assert imread(tmp_path / "p.png").shape[1] == 1400
