"""Detection by tiles, with a detector that sees each object by its gray value."""

import numpy as np
import pytest
import tifffile
from pycocotools import mask as coco_mask

from mrcnn import limits
from mrcnn.inference import tiles
from mrcnn.inference.result import Result


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def see(images, change=None):
    """Results of images in which object v has the gray value v, 1 to 255, and the class 1 + v % 2.

    Args:
        change: function of a mask, and of True if it touches the border of the image, that returns
            a mask, and a class instead of the usual one, or None.
    """
    results = []
    for image in images:
        found = []
        for value in np.unique(image[image > 0]).tolist():
            mask, class_id = image[..., 0] == value, 1 + value % 2
            touches = mask[[0, -1]].any() or mask[:, [0, -1]].any()
            mask, other = change(mask, touches) if change else (mask, None)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
            found.append((box, other or class_id, value / 256, encode(mask)))
        boxes, class_ids, scores, masks = zip(*found, strict=True) if found else ([],) * 4
        values = {"rois": np.array(boxes, np.int32).reshape(-1, 4), "masks": list(masks)}
        values |= {"class_ids": np.array(class_ids, np.int32)}
        values |= {"scores": np.array(scores, np.float32)}
        if not found:
            values |= {"best_score": np.float32(image.shape[1] / 1000), "min_confidence": 0.5}
        results.append(Result(values))
    return results


def disc_image(height, width, discs):
    """Image of discs `(y, x, radius)` in the gray values 1, 2, ..., `[height, width, 3]` uint8."""
    image = np.zeros((height, width, 3), np.uint8)
    rows, columns = np.ogrid[:height, :width]
    for value, (y, x, radius) in enumerate(discs, start=1):
        image[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = value
    return image


def scattered(height, width, count, radius, seed=0):
    """Discs in a grid of cells of four radii, each somewhere in its cell."""
    rng = np.random.default_rng(seed)
    cells = np.argwhere(np.ones((height // (4 * radius), width // (4 * radius))))
    chosen = rng.permutation(cells)[:count] * 4 * radius
    return [
        (*(cell + rng.integers(radius, 3 * radius, 2)), int(rng.integers(3, radius)))
        for cell in chosen
    ]


def assert_all_found(result, image):
    """Each object once, with its exact mask, box, class and score."""
    values = np.unique(image[image > 0])[::-1]
    assert result["scores"].tolist() == [np.float32(v / 256) for v in values]
    assert result["class_ids"].tolist() == [1 + v % 2 for v in values.tolist()]
    for value, box, rle in zip(values, result["rois"].tolist(), result["masks"], strict=True):
        mask = image[..., 0] == value
        assert rle == encode(mask)
        x, y, width, height = coco_mask.toBbox(rle).tolist()
        assert box == [y, x, y + height, x + width]
    assert result["rois"].dtype == result["class_ids"].dtype == np.int32


@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_small_objects_are_found_once(overlap):
    image = disc_image(300, 420, scattered(300, 420, 60, 9))
    result = tiles.detect_tiled(see, image, 100, overlap, batch=4)
    assert len(result) == 60
    assert_all_found(result, image)


def test_objects_larger_than_a_tile_are_joined():
    """A disc over nine tiles, and one that fills tiles, with small ones of both classes around."""
    discs = [(90, 100, 80), (90, 100, 3), (250, 250, 60), (10, 270, 5), (200, 60, 6)]
    image = disc_image(330, 330, discs)
    assert_all_found(tiles.detect_tiled(see, image, 64, 0.3), image)


def test_masks_that_differ_between_tiles():
    """Cut pieces that are a pixel too thick do not spoil the whole one of another tile."""

    def thicken(mask, touches):
        if touches:
            padded = np.pad(mask, 1)
            shifted = [np.roll(padded, step, axis) for step in (-1, 1) for axis in (0, 1)]
            mask = np.logical_or.reduce([padded, *shifted])[1:-1, 1:-1]
        return mask, None

    image = disc_image(300, 300, scattered(300, 300, 40, 7, seed=1))
    assert_all_found(tiles.detect_tiled(lambda p: see(p, thicken), image, 100), image)


def test_pieces_of_another_class_belong_to_the_whole():
    """The half of a disc may look like another shape; another tile shows that it is none."""
    image = disc_image(300, 300, scattered(300, 300, 40, 9, seed=2))

    def misjudge(mask, touches):
        return mask, 3 if touches else None

    # Discs at the border of the image would be misjudged in all tiles.
    image[:1], image[-1:], image[:, :1], image[:, -1:] = 0, 0, 0, 0
    assert_all_found(tiles.detect_tiled(lambda p: see(p, misjudge), image, 100), image)


def test_neighbours_of_one_class_stay_apart():
    """Two squares of one class that touch, across the border of the tiles."""
    image = np.zeros((60, 100, 3), np.uint8)
    image[20:40, 30:50], image[20:40, 50:70] = 2, 4
    assert_all_found(tiles.detect_tiled(see, image, 60), image)


def test_an_object_inside_another_stays():
    """A ring and the disc in it, cut by tiles at several places."""
    image = disc_image(300, 300, [(150, 150, 60), (150, 150, 55)])
    image[disc_image(300, 300, [(150, 150, 12)]) > 0] = 4
    image[image == 2] = 0
    # Of one class, each of its own score.
    image[image == 1] = 2
    assert_all_found(tiles.detect_tiled(see, image, 80, 0.4), image)


def test_an_image_that_fits_is_given_whole():
    image, seen = disc_image(64, 50, [(20, 20, 10)]), []

    def detect(pieces):
        seen.extend(pieces)
        return see(pieces)

    result = tiles.detect_tiled(detect, image, 64)
    assert len(seen) == 1 and seen[0] is image
    assert_all_found(result, image)


def test_every_tile_has_one_size_and_lies_inside():
    shapes = []

    def detect(pieces):
        shapes.append({piece.shape for piece in pieces})
        return see(pieces)

    tiles.detect_tiled(detect, np.zeros((40, 205, 3), np.uint8), 64, 0.25, batch=3)
    # 205 - 64 = 141 pixels in steps of at most 48: four tiles, in batches of three.
    assert shapes == [{(40, 64, 3)}] * 2
    assert tiles.tile_starts(205, 64, 0.25) == [0, 47, 94, 141]
    assert tiles.tile_starts(64, 64, 0.25) == [0] and tiles.tile_starts(65, 64, 0.5) == [0, 1]


@pytest.mark.parametrize("tile", [64, 100, 256])
@pytest.mark.parametrize("overlap", [0, 0.1, 0.5, 0.75])
def test_tiles_overlap_enough(tile, overlap):
    for size in range(tile + 1, 1500, 37):
        starts = tiles.tile_starts(size, tile, overlap)
        assert starts[0] == 0 and starts[-1] == size - tile
        steps = np.diff(starts)
        assert (0 < steps).all() and (steps <= tile * (1 - overlap)).all()


def test_tiles_begin_on_the_grid_of_the_network():
    assert tiles.tile_starts(1024, 256, 0.2) == [0, 192, 384, 576, 768]
    assert tiles.tile_starts(1000, 512, 0.2) == [0, 256, 488]


def test_nothing_found_gives_the_best_score_of_all_tiles():
    result = tiles.detect_tiled(see, np.zeros((100, 100, 3), np.uint8), 64)
    assert len(result) == 0 and result["masks"] == []
    assert result["best_score"] == np.float32(0.064) and result["min_confidence"] == 0.5
    assert result["rois"].shape == (0, 4)


@pytest.mark.parametrize("tile", [0, -5, 31, 64.0, True, "64", (64, 64)])
def test_bad_tiles(tile):
    with pytest.raises(ValueError, match="must be the side of a tile in pixels of the photo"):
        tiles.check_tiles(tile, 0.2)


@pytest.mark.parametrize("overlap", [-0.1, 0.76, 1, 64, float("nan"), None, True, "0.2"])
def test_bad_overlaps(overlap):
    with pytest.raises(ValueError, match="must be a share of the tile from 0 to 0.75"):
        tiles.check_tiles(64, overlap)


def test_pixels_of_tiles_are_those_of_the_image():
    """Floats that are bright in one tile only, 16 bits, gray, and RGBA."""
    rng = np.random.default_rng(0)
    floats = rng.random((100, 100))
    floats[:50] *= 200
    alpha = rng.integers(256, size=(100, 100, 4)).astype(np.uint8)
    for image in (floats, rng.integers(65536, size=(100, 100)).astype(np.uint16), alpha):
        expected, seen = tiles.as_image(image, "it"), []

        def detect(pieces, seen=seen):
            seen += [tiles.as_image(piece, "it") for piece in pieces]
            return see([np.zeros((64, 64, 3), np.uint8)] * len(pieces))

        tiles.detect_tiled(detect, image, 64)
        corners = [(0, 0), (0, 36), (36, 0), (36, 36)]
        for (y, x), piece in zip(corners, seen, strict=True):
            np.testing.assert_array_equal(piece, expected[y : y + 64, x : x + 64])


def test_full_masks_within_limits(monkeypatch):
    image = disc_image(100, 120, [(30, 30, 20), (70, 60, 25)])
    result = tiles.detect_tiled(see, image, 64)
    full = tiles.full_masks(result, image.shape[:2])
    np.testing.assert_array_equal(full, np.stack([image[..., 0] == v for v in (2, 1)], axis=-1))
    monkeypatch.setattr(limits, "MAX_MASK_BYTES", 2 * 100 * 120 - 1)
    with pytest.raises(ValueError, match="2 full masks of 100x120 pixels take more than"):
        tiles.full_masks(result, image.shape[:2])


# The model


@pytest.fixture
def large(photo):
    return photo(150, 200, 3)


def test_small_images_are_as_without_tiles(model, photo):
    images = [photo(64, 64), photo(40, 60, 1)]
    whole, tiled = (model.detect(images, mask_format="rle", tile=t) for t in (None, 64))
    for one, other in zip(whole, tiled, strict=True):
        assert list(one) == list(other) and len(one) > 0
        # In other batches, the scores differ in the last digit.
        np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-5)
        assert one["masks"] == other["masks"]
        for name in ("rois", "class_ids"):
            np.testing.assert_array_equal(one[name], other[name])


def test_model_detects_by_tiles(model, large, batches):
    (result,) = model.detect([large], tile=64)
    # Three tiles by four, in batches of BATCH_SIZE.
    assert batches == [(2, 64, 64, 3)] * 6
    assert result.image is large and len(result) > 0
    assert (np.diff(result["scores"]) <= 0).all()
    assert all(rle["size"] == [150, 200] for rle in result["masks"])
    (full,) = model.detect([large], tile=64, mask_format="full")
    np.testing.assert_array_equal(
        full["masks"], np.stack([coco_mask.decode(rle) for rle in result["masks"]], -1)
    )


def test_files_stay_on_disk(model, large, tmp_path):
    path = str(tmp_path / "large.tif")
    tifffile.imwrite(path, large, photometric="rgb")
    (result,) = model.detect([path], tile=64)
    assert isinstance(result.image, np.memmap) and result.path == path
    (expected,) = model.detect([large], tile=64)
    assert result["masks"] == expected["masks"]
    np.testing.assert_array_equal(result["rois"], expected["rois"])


def test_own_methods_see_tiles(model, large, monkeypatch):
    """A subclass's `unmold_detections` is called for each tile."""
    (expected,) = model.detect([large], tile=64)
    own, shapes = model.unmold_detections, []

    def unmold(detections, masks, original_shape, *args):
        shapes.append(original_shape)
        return own(detections, masks, original_shape, *args)

    monkeypatch.setattr(model, "unmold_detections", unmold, raising=False)
    (result,) = model.detect([large], tile=64)
    assert shapes == [(64, 64, 3)] * 12
    assert result["masks"] == expected["masks"]


def test_image_that_is_refused_is_named(model, large):
    with pytest.raises(ValueError, match="Image 1 has 7 channels"):
        model.detect([large, np.zeros((99, 99, 7), np.uint8)], tile=64)
    with pytest.raises(ValueError, match="tile is 8"):
        model.detect([large], tile=8)
