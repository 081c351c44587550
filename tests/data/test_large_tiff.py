"""TIFF files that stay on disk."""

import numpy as np
import pytest
import tifffile

from mrcnn.data.large_tiff import map_tiff
from mrcnn.data.photos import read_image
from mrcnn.ops.pixels import as_image


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(50, 60), (50, 60, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_mapped_pixels_are_those_of_the_reader(tmp_path, dtype, shape, order):
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(np.iinfo(dtype).max, size=shape).astype(dtype)
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=photometric, byteorder=order)
    mapped = map_tiff(path)
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(mapped, pixels)
    np.testing.assert_array_equal(as_image(mapped, "it"), read_image(path))


def test_other_files_are_left_to_the_reader(tmp_path):
    pixels = np.zeros((50, 60), np.uint8)
    kinds = {
        "packed": {"compression": "deflate"},
        "inverted": {"photometric": "miniswhite"},
        "turned": {"extratags": [(274, 3, 1, 6, True)]},
    }
    for name, options in kinds.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, **options)
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([pixels] * 5), photometric="minisblack")
    (tmp_path / "damaged.tif").write_bytes(b"II*\0" + bytes(3))
    (tmp_path / "text.tif").write_text("no picture")
    tifffile.imwrite(tmp_path / "short.tif", pixels)
    content = (tmp_path / "short.tif").read_bytes()
    (tmp_path / "short.tif").write_bytes(content[:-100])
    (tmp_path / "folder.tif").mkdir()
    for path in tmp_path.iterdir():
        assert map_tiff(path) is None, path
    assert map_tiff(tmp_path / "missing.tif") is None
    assert map_tiff("http://localhost/a.tif") is None
