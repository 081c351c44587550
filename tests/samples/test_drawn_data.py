"""The data sets that are drawn for the notebooks: annotations say what the pictures show."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.draw
from skimage.io import imread

ROOT = Path(__file__).parents[2]


def load(path):
    """A script as a module: samples are no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def balloons():
    return load(ROOT / "samples/balloon/draw_balloons.py")


@pytest.fixture(scope="module")
def cells():
    return load(ROOT / "samples/nucleus/draw_cells.py")


def entries(folder):
    return json.loads((folder / "via_region_data.json").read_text()).values()


def test_balloons_have_the_layout_of_the_real_data_set(balloons, tmp_path):
    balloons.write_balloons(tmp_path, train=2, val=2, size=(96, 128))
    for subset in ("train", "val"):
        folder = tmp_path / subset
        found = list(entries(folder))
        assert {e["filename"] for e in found} == {path.name for path in folder.glob("*.jpg")}
        assert len(found) == 2
        for entry in found:
            assert imread(folder / entry["filename"]).shape == (96, 128, 3)
            assert entry["size"] == (folder / entry["filename"]).stat().st_size
            assert entry["regions"]
    assert (tmp_path / "train/balloons_000.jpg").read_bytes() != (
        tmp_path / "val/balloons_000.jpg"
    ).read_bytes()


def test_outlines_of_balloons_enclose_their_colour(balloons):
    # On black, with the noise left out, a balloon is all that is not string or black.
    rng = np.random.default_rng(1)
    photo = np.zeros((120, 160, 3))
    outline = balloons.draw_balloon(photo, 50.0, 70.0, 25.0, rng)
    inside = skimage.draw.polygon2mask((120, 160), outline)
    string = (photo == 70).all(axis=-1)
    assert string[:, 66:75].any() and not string[:50].any()
    assert np.array_equal(inside, photo.any(axis=-1) & ~string)
    # 1.1 to 1.3 times as tall as its radius of 25, above and below the centre.
    height, width = np.ptp(outline, axis=0)
    assert 2 * 1.1 * 25 <= height <= 2 * 1.3 * 25
    assert 0.85 * 50 <= width <= 50


def test_balloons_hardly_overlap(balloons):
    rng = np.random.default_rng(2)
    for _ in range(20):
        placed = np.array(balloons.place_balloons((96, 128), rng))
        distance = np.hypot(*(placed[:, None, :2] - placed[None, :, :2]).transpose(2, 0, 1))
        apart = distance > 1.1 * (placed[:, None, 2] + placed[None, :, 2])
        assert (apart | np.eye(len(placed), dtype=bool)).all()


def test_cells_have_the_layout_of_the_real_data_set(cells, tmp_path):
    cells.write_cells(tmp_path, 3)
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 3
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == ["images", "masks"]
        image = imread(folder / "images" / f"{folder.name}.png")
        assert image.shape[:2] in cells.SIZES
        masks = np.stack([imread(path) for path in (folder / "masks").iterdir()])
        assert masks.shape[1:] == image.shape[:2]
        assert set(np.unique(masks)) == {0, 255}
        # Nuclei share no pixel.
        assert (masks > 0).sum(axis=0).max() == 1


@pytest.mark.parametrize(("stained", "sign"), [(False, 1), (True, -1)])
def test_nuclei_differ_from_their_surroundings(cells, stained, sign):
    rng = np.random.default_rng(3)
    for _ in range(60):
        image, masks = cells.draw_micrograph((64, 64), rng)
        nuclei = np.any(masks, axis=0)
        if (image[~nuclei].mean() > 128) == stained:
            assert sign * (image[nuclei].mean() - image[~nuclei].mean()) > 40
            return
    pytest.fail("60 micrographs were all of one kind")


def test_the_same_seed_gives_the_same_images(balloons, cells, tmp_path):
    for name in "ab":
        balloons.write_balloons(tmp_path / name / "balloons", train=1, val=1, size=(48, 64))
        cells.write_cells(tmp_path / name / "cells", 1)
    first, second = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in "ab"
    )
    assert len(first) > 5
    assert first == second
