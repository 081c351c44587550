"""Hostile picture files: damaged bytes, and headers that promise much."""

import io
import struct
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from mrcnn import limits
from mrcnn.data.photos import image_size, read_image, read_stored
from mrcnn.readers.mask_files import LabelImageDataset
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes

SIZE = 24, 40


def encoded():
    """Valid files by suffix, small ones, so that a mutation often meets what counts."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (SIZE[0] // 4, SIZE[1] // 4, 3), np.uint8)
    pixels = np.kron(coarse, np.ones((4, 4, 1), np.uint8))
    photo, gray = Image.fromarray(pixels), Image.fromarray(pixels[..., 0])
    exif = Image.Exif()
    exif[274] = 6
    files = {}

    def add(name, picture, **options):
        buffer = io.BytesIO()
        kind = {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000", "ppm": "ppm", "sgi": "sgi"}
        suffix = name.rsplit(".", 1)[1]
        picture.save(buffer, kind.get(suffix, suffix), **options)
        files[name] = buffer.getvalue()

    def add_numbers(name, numbers, **options):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, numbers, **options)
        files[name] = buffer.getvalue()

    for name in ("rgb.png", "rgb.jpg", "rgb.tif", "rgb.webp", "rgb.bmp"):
        add(name, photo, exif=exif) if name[4:] != "bmp" else add(name, photo)
    add("palette.png", photo.quantize(16), transparency=b"\0\xff")
    add("deep.png", Image.fromarray(pixels[..., 0].astype(np.uint16) * 257))
    add("palette.gif", photo.quantize(16))
    add("moving.gif", photo, save_all=True, append_images=[photo.rotate(180)])
    add("moving.png", photo, save_all=True, append_images=[photo.rotate(180)])
    add("moving.webp", photo, save_all=True, append_images=[photo.rotate(180)])
    add("scans.jpg", photo, progressive=True)
    add("ink.jpg", photo.convert("CMYK"))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        add(f"{compression}.tif", photo, compression=compression)
    add("fax.tif", gray.convert("1"), compression="group4")
    add("palette.tif", photo.quantize(16))
    add("ink.tif", photo.convert("CMYK"))
    add("pages.tif", photo, save_all=True, append_images=[gray])
    for name in ("rgb.jp2", "rgb.ppm", "rgb.tga", "rgb.pcx", "rgb.sgi", "rgb.avif"):
        add(name, photo)
    deep = pixels.astype(np.uint16) * 257
    add_numbers("deep.tif", deep, photometric="rgb")
    add_numbers("deflate.tif", deep, photometric="rgb", compression="zlib", predictor=True)
    add_numbers("lzma.tif", deep[..., 0], compression="lzma", tile=(16, 16))
    add_numbers("six.tif", np.dstack([pixels, pixels]))
    add_numbers("planes.tif", np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate")
    add_numbers("float.tif", pixels[..., 0] / np.float32(255), bigtiff=True)
    add_numbers("stack.tif", deep, imagej=True)
    add_numbers("cells.ome.tif", deep[..., 0], ome=True)
    return files


FILES = encoded()
ODD = [0, 1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 8000, 8192]


def mutate_header(data, rng):
    """Return a file with an odd number among its first 100 bytes, or among the tags of a TIFF."""
    data, bound = bytearray(data), min(len(data) - 8, 100)
    for _ in range(int(rng.integers(1, 3))):
        value, wide = int(rng.choice(ODD)), rng.random() < 0.5
        order = rng.choice(["<", ">"])
        packed = struct.pack(order + "L", value)
        packed = packed if wide else packed[:2] if order == "<" else packed[2:]
        at = int(rng.integers(2, max(bound, 3)))
        if data[:2] == b"II":
            (first,) = struct.unpack_from("<L", data, 4)
            if 8 <= first < len(data) - 14:
                (count,) = struct.unpack_from("<H", data, first)
                at = first + 2 + 12 * int(rng.integers(max(count, 1)))
                at = min(at + int(rng.choice([0, 2, 4, 8])), len(data) - 4)
        data[at : at + len(packed)] = packed
    return bytes(data)


def read_all(path):
    """Read a file in each way; sizes have to agree."""
    found = {}
    for read in (image_size, read_image, read_stored):
        try:
            found[read] = read(path)
        except (OSError, ValueError) as error:
            assert type(error) in (OSError, ValueError), type(error)
            assert str(path) in str(error) and "\n" not in str(error), error
    if read_image in found:
        image = found[read_image]
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] >= 3
        assert image_size in found, "read_image reads what image_size refuses"
        assert found[image_size] == image.shape[:2]
        assert image.shape[0] * image.shape[1] <= limits.MAX_IMAGE_PIXELS
        # What annotations of the stored size get has that size or the turned one.
        height, width = image.shape[:2]
        assert read_image(path, (width, height)).shape[:2] in ((width, height), (height, width))
    return found


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_valid(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    # A mask has no six channels.
    assert len(read_all(path)) == (2 if name == "six.tif" else 3)


@pytest.mark.parametrize("mutate", [mutate_bytes, mutate_header])
def test_damaged_pictures(tmp_path, mutate):
    rng, names = np.random.default_rng([SEED, 1]), sorted(FILES)
    read = 0
    with warnings.catch_warnings():
        # Pillow warns of odd tags; that is no fault of the reader.
        warnings.simplefilter("ignore")
        for case in range(CASES // 2):
            name = names[case % len(names)]
            path = tmp_path / name
            data = mutate(FILES[name], rng)
            # A suffix must not matter.
            path.write_bytes(data)
            try:
                with guarded(tmp_path):
                    read += len(read_all(path))
            except AssertionError:
                print(f"case {case}: {name}")
                raise
    # Most mutations of pixels still are pictures.
    assert read > CASES // 4


def test_damaged_label_images(tmp_path):
    rng, names = np.random.default_rng([SEED, 2]), [n for n in sorted(FILES) if n[-3:] in "tif png"]
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(FILES["rgb.png"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in range(CASES // 5):
            path = tmp_path / "labels" / f"a.{names[case % len(names)][-3:]}"
            path.write_bytes(mutate_header(FILES[names[case % len(names)]], rng))
            with guarded(tmp_path) as errors:
                dataset = LabelImageDataset()
                dataset.load_label_images(tmp_path / "photos", tmp_path / "labels")
                dataset.prepare()
                masks, class_ids = dataset.load_mask(0)
                assert masks.shape[2] == len(class_ids) and masks.any(axis=(0, 1)).all()
            assert not errors or str(tmp_path) in str(errors[0])
            path.unlink()
