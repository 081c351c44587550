import json
import os
import struct
import tracemalloc
import zlib

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image, ImageCms

from mrcnn import limits
from mrcnn.data.dataset import Dataset
from mrcnn.data.photos import image_size, read_image, read_stored
from mrcnn.readers.labelme import LabelMeDataset
from tests.local_server import serving


def exif(orientation):
    block = Image.Exif()
    block[274] = orientation
    return block


# Pixel "1" of a 2 x 3 picture lies in the corner that each orientation moves elsewhere.
STORED = np.array([[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (0, [[1, 2, 3], [4, 5, 6]]),
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
        (9, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_photos_are_turned_as_exif_says(tmp_path, orientation, shown):
    # 16 bits and palettes take another way through Pillow than 8 bits.
    pictures = {
        "gray": Image.fromarray(STORED.astype(np.uint8)),
        "deep": Image.fromarray((STORED * 257).astype(np.uint16)),
        "palette": Image.fromarray(STORED.astype(np.uint8)),
    }
    pictures["palette"].putpalette([value for value in range(10) for _ in range(3)])
    for name, picture in pictures.items():
        path = tmp_path / f"{name}.png"
        picture.save(path, exif=exif(orientation))
        assert read_image(path)[..., 0].tolist() == shown
        assert image_size(path) == np.shape(shown)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_photos_of_other_formats_are_turned(write_photo, suffix, orientation, turns):
    expected = np.rot90(np.asarray(Image.open(write_photo(f"1.{suffix}", 20, 34))), turns)
    path = write_photo(f"photo.{suffix}", 20, 34, exif(orientation))
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]


def test_a_photo_annotated_as_stored_stays_as_stored(write_photo):
    path = write_photo("photo.png", 20, 34, exif(6))
    stored = np.asarray(Image.open(path))
    turned = np.rot90(stored, -1)
    assert (read_image(path, (20, 34)) == stored).all()
    assert (read_image(path, (34, 20)) == turned).all()
    # Of another size altogether: that is for others to notice.
    assert (read_image(path, (10, 17)) == turned).all()
    assert (read_image(path, (None, None)) == turned).all()
    dataset = Dataset()
    dataset.add_image("files", 0, str(path), height=20, width=34)
    dataset.add_image("files", 1, str(path))
    assert (dataset.load_image(0) == stored).all()
    assert (dataset.load_image(1) == turned).all()


def test_an_upside_down_photo_is_turned_though_its_size_stays(write_photo):
    path = write_photo("photo.png", 20, 34, exif(3))
    stored = np.asarray(Image.open(path))
    assert (read_image(path, (20, 34)) == stored[::-1, ::-1]).all()


def test_palettes_are_colours_in_photos_and_numbers_in_masks(tmp_path):
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette([10, 20, 30, 0, 0, 0, 255, 0, 128])
    for name, options in (("opaque.png", {}), ("clear.png", {"transparency": b"\0\xff\xff"})):
        picture.save(tmp_path / name, **options)
        colours = np.array([[10, 20, 30], [0, 0, 0], [255, 0, 128]])[indices]
        assert (read_image(tmp_path / name) == colours).all()
        assert (read_stored(tmp_path / name) == indices).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_numbers_of_16_bits_are_not_scaled(tmp_path, suffix):
    numbers = np.array([[0, 1, 300], [65535, 257, 2]], np.uint16)
    path = tmp_path / f"labels.{suffix}"
    Image.fromarray(numbers).save(path)
    assert (read_stored(path) == numbers).all()
    # 300 / 257 = 1.17, 2 / 257 = 0.008.
    assert read_image(path)[..., 0].tolist() == [[0, 0, 1], [255, 1, 0]]
    assert image_size(path) == (2, 3)


def test_alpha_is_dropped_from_masks(tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0, 1] = 7, 8, 9, 0
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "rgba.png")
    Image.fromarray(pixels[..., 2:]).save(tmp_path / "gray_alpha.png")
    assert (read_stored(tmp_path / "rgba.png") == pixels[..., :3]).all()
    assert read_stored(tmp_path / "gray_alpha.png").tolist() == [[0, 9, 0], [0, 0, 0]]


def test_cmyk_jpegs_become_rgb(tmp_path):
    Image.new("CMYK", (16, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    image = read_image(tmp_path / "cmyk.jpg")
    assert image.shape == (8, 16, 3)
    # No cyan, all magenta and yellow: red.
    assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 4


def test_paths_beyond_ascii(write_photo):
    path = write_photo("写真/Übung été 😀.png", 5, 7)
    assert (read_image(path) == np.asarray(Image.open(path))).all()
    assert read_stored(str(path)).shape == (5, 7, 3)
    assert image_size(path) == (5, 7)


@pytest.mark.parametrize("read", [read_image, read_stored, image_size])
def test_unreadable_files_are_named(tmp_path, read):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OSError, match=r"text\.png cannot be read as an image: "):
        read(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.png\.$"):
        read(tmp_path / "gone.png")


def test_a_stack_of_pages_is_refused_as_a_mask(tmp_path):
    import skimage.io

    pages = np.zeros((2, 6, 5, 3), np.uint8)
    skimage.io.imsave(tmp_path / "pages.tiff", pages, check_contrast=False)
    with pytest.raises(ValueError, match=r"pages\.tiff has the shape \(2, 6, 5, 3\); a mask has"):
        read_stored(tmp_path / "pages.tiff")


COLOURS = np.array([[200, 30, 40], [20, 180, 60], [30, 60, 210], [90, 90, 90]], np.uint8)


def stripes(mode):
    """A picture of four stripes of COLOURS, 16 pixels each."""
    picture = Image.fromarray(np.repeat(np.repeat(COLOURS[np.newaxis], 32, axis=0), 16, axis=1))
    if mode == "P":
        return picture.quantize(4)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        return ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    return picture.convert(mode)


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"]
)
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB"])
def test_colours_of_tiff_files(tmp_path, mode, compression):
    if (mode, compression) == ("YCbCr", None) and PIL.__version__ < "13":
        pytest.skip("this release of Pillow cannot read what it writes")
    if (mode, compression) == ("P", "jpeg"):
        pytest.skip("JPEG has no palettes")
    path = tmp_path / "photo.tif"
    stripes(mode).save(path, compression=compression)
    image = read_image(path)
    assert image_size(path) == image.shape[:2] == (32, 64)
    expected = COLOURS.astype(int)
    if mode == "L":
        # ITU-R 601-2: 0.299 R + 0.587 G + 0.114 B = 81.97, 118.48, 68.13, 90.
        expected = np.repeat([[82], [118], [68], [90]], 3, axis=1)
    # 8 bits of Lab are as coarse as 8 levels of blue.
    tolerance = 10 if mode == "LAB" else 3
    assert np.abs(image[16, 8::16].astype(int) - expected).max() <= tolerance


def test_colours_of_the_first_of_several_pages(tmp_path):
    for mode in ("P", "CMYK", "LAB"):
        path = tmp_path / f"{mode}.tif"
        stripes(mode).save(path, save_all=True, append_images=[Image.new("L", (5, 6))])
        image = read_image(path)
        assert image_size(path) == image.shape[:2] == (32, 64)
        assert np.abs(image[16, 8::16].astype(int) - COLOURS).max() <= 10


def test_colours_of_16_bits_that_cannot_be_converted(tmp_path):
    ink, indices = np.zeros((8, 8, 4), np.uint16), np.zeros((8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "ink.tif", ink, photometric="separated")
    table = np.zeros((3, 65536), np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", indices, photometric="palette", colormap=table)
    for name, kind in (("ink.tif", "SEPARATED"), ("p.tif", "PALETTE")):
        with pytest.raises(ValueError, match=f"{name} .* read as gray or RGB, not as {kind}"):
            read_image(tmp_path / name)
        assert not read_stored(tmp_path / name).any()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("orientation", range(10))
def test_tiff_files_are_turned_once(tmp_path, orientation, depth):
    path = tmp_path / "photo.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (20, 34, 3), np.uint8)
    stored = pixels if depth == 8 else pixels.astype(np.uint16) * 257
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, stored, photometric="rgb", extratags=tags)
    # By the same picture as PNG, whose turning is tested above.
    other = tmp_path / "photo.png"
    Image.fromarray(pixels).save(other, exif=exif(orientation))
    expected = read_image(other)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2]
    np.testing.assert_array_equal(
        read_image(path, (20, 34))[0, 0], read_image(other, (20, 34))[0, 0]
    )
    np.testing.assert_array_equal(read_stored(path), stored)


def test_a_compressed_mask_is_as_stored(tmp_path):
    mask = np.zeros((20, 34), np.uint8)
    mask[2:5, 3:9] = 7
    Image.fromarray(mask).save(tmp_path / "lzw.tif", compression="tiff_lzw", tiffinfo={274: 6})
    assert (read_stored(tmp_path / "lzw.tif") == mask).all()
    # Fax compression, in which 0 is white.
    Image.fromarray(mask > 0).save(tmp_path / "fax.tif", compression="group4", tiffinfo={262: 0})
    with Image.open(tmp_path / "fax.tif") as picture:
        assert picture.tag_v2[262] == 0
        shown = np.array(picture)
    assert (read_stored(tmp_path / "fax.tif") == ~shown).all()
    assert (read_image(tmp_path / "fax.tif")[..., 0] == shown * 255).all()


def test_exif_after_the_pixels_of_a_png(tmp_path, write_photo):
    path = write_photo("photo.png", 20, 34, exif(6))
    data = path.read_bytes()
    begin = data.index(b"eXIf") - 4
    end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
    late = data[:begin] + data[end:-12] + data[begin:end] + data[-12:]
    (tmp_path / "late.png").write_bytes(late)
    assert image_size(tmp_path / "late.png") == (34, 20)
    np.testing.assert_array_equal(read_image(tmp_path / "late.png"), read_image(path))


READERS = pytest.mark.parametrize("read", [read_image, read_stored, image_size])


@READERS
def test_what_is_no_file_is_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, reason in (
        ("pipe.png", "it is a pipe, socket or device"),
        ("folder.png", "it is a folder"),
        ("empty.png", "it is empty"),
        ("loop.png", "symbolic links"),
        ("/dev/zero", "it is a pipe, socket or device"),
        ("/proc/kmsg", "it is empty"),
    ):
        path = tmp_path / name
        with pytest.raises(OSError, match=f"{path} cannot be read as an image: .*{reason}"):
            read(path)
    with pytest.raises(FileNotFoundError, match="there is no file a\0b.png"):
        read("a\0b.png")


@READERS
@pytest.mark.parametrize("kind", ["png", "tif", "lzw.tif", "deep.tif", "gif", "webp", "jpg", "bmp"])
def test_large_pictures_are_refused_by_their_headers(tmp_path, monkeypatch, read, kind):
    path = tmp_path / f"photo.{kind}"
    pixels = np.zeros((30, 40, 3), np.uint16 if kind == "deep.tif" else np.uint8)
    if kind == "deep.tif":
        tifffile.imwrite(path, pixels, photometric="rgb")
    else:
        options = {"compression": "tiff_lzw"} if kind == "lzw.tif" else {}
        Image.fromarray(pixels).save(path, **options)
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 1200)
    read(path)
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 1199)
    message = rf"{path} .* 30x40 pixels .*MAX_IMAGE_PIXELS = 1199; raise that to read it\.$"
    with pytest.raises(ValueError, match=message):
        read(path)


def png_header(height, width):
    """A PNG file of a size, and next to nothing in it."""

    def chunk(name, data):
        crc = struct.pack(">L", zlib.crc32(name + data))
        return struct.pack(">L", len(data)) + name + data + crc

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def test_a_raised_limit_holds_for_pillow_too(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    path.write_bytes(png_header(20_000, 20_000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)
    with pytest.raises(ValueError, match=r"photo.png .*MAX_IMAGE_PIXELS = 67108864; raise that"):
        image_size(path)
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 10**9)
    assert image_size(path) == (20_000, 20_000)
    # Below Pillow's limit for errors, but above that for warnings.
    path.write_bytes(png_header(10_000, 10_000))
    assert image_size(path) == (10_000, 10_000)


def test_16_bits_need_little_memory(tmp_path):
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.zeros((1000, 1000, 3), np.uint16), photometric="rgb")
    read_image(path)
    tracemalloc.start()
    read_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 6 MB of file, 3 MB of result, blocks of a megabyte as float64 twice.
    assert peak < 40e6


def test_programs_are_not_run(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(OSError, match=r"photo\.png cannot be read as an image"):
        read_image(path)


def test_a_tiff_file_reads_no_other_file(tmp_path):
    # OME-TIFF may say that pixels are in another file.
    secret = np.full((1, 8, 8), 50_000, np.uint16)
    tifffile.imwrite(tmp_path / "secret.ome.tif", secret, ome=True)
    with tifffile.TiffFile(tmp_path / "secret.ome.tif") as file:
        uuid = file.pages[0].description.split('UUID="')[1].split('"')[0]
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:0"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        'Type="uint16" SizeX="8" SizeY="8" SizeC="1" SizeZ="1" SizeT="1"><TiffData IFD="0" '
        f'PlaneCount="1"><UUID FileName="secret.ome.tif">{uuid}</UUID></TiffData></Pixels></Image>'
        "</OME>"
    )
    path = tmp_path / "photo.ome.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16), description=xml, metadata=None)
    assert tifffile.imread(path).any()
    assert not read_image(path).any()


def tiff(entries, data=b""):
    """A TIFF file of entries `(tag, type, count, value)`, and data behind them."""
    listing = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listing + bytes(4) + data


@READERS
def test_tags_that_refer_to_all_of_the_file_again_and_again(tmp_path, read):
    size = [(256, 4, 1, 8), (257, 4, 1, 8)]
    path = tmp_path / "bomb.tif"
    path.write_bytes(tiff(size + [(n, 1, 1 << 20, 8) for n in range(40000, 40100)], bytes(1 << 20)))
    with pytest.raises(ValueError, match="bomb.tif .*refer to more bytes than it has"):
        read(path)


def test_strips_that_inflate_to_more_than_the_picture(tmp_path):
    bomb = zlib.compress(bytes(600 << 20), 9)
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 16), (259, 3, 1, 8), (262, 3, 1, 1)]
    end = 8 + 2 + 12 * 8 + 4
    entries += [(273, 4, 1, end), (277, 3, 1, 1), (279, 4, 1, len(bomb))]
    path = tmp_path / "bomb.tif"
    path.write_bytes(tiff(entries, bomb))
    with pytest.raises(ValueError, match=r"bomb\.tif .*strips of this TIFF file hold more"):
        read_stored(path)


def test_many_scans_of_a_large_jpeg(tmp_path, monkeypatch):
    path = tmp_path / "scans.jpg"
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path, progressive=True)
    data = path.read_bytes()
    read_image(path)
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * 300 + data[-2:])
    read_image(path)
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 64 * 64)
    with pytest.raises(ValueError, match=r"scans\.jpg .* JPEG file of 3\d\d scans"):
        read_image(path)


@pytest.fixture
def server(monkeypatch, write_photo):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = write_photo("photo.png", 20, 34).read_bytes()
    with serving({"photo.png": data, "text.png": b"no picture"}) as running:
        yield running


def test_photos_of_web_addresses(server, write_photo, monkeypatch):
    expected = read_image(write_photo("photo.png", 20, 34))
    assert (read_image(f"{server[0]}/photo.png?size=large") == expected).all()
    assert image_size(f"{server[0]}/photo.png") == (20, 34)
    with pytest.raises(OSError, match=rf"{server[0]}/text.png cannot be read as an image: "):
        read_image(f"{server[0]}/text.png")
    with pytest.raises(OSError, match=rf"{server[0]}/gone.png cannot be read .*: .*404"):
        read_image(f"{server[0]}/gone.png")
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match=rf"{server[0]}/photo.png .* bytes there, more than 400"):
        read_image(f"{server[0]}/photo.png")


def test_addresses_in_annotation_files_are_not_fetched(server, tmp_path):
    shape = {"label": "a", "points": [[1, 1], [9, 1], [5, 9]], "shape_type": "polygon"}
    entry = {"shapes": [shape], "imagePath": f"{server[0]}/photo.png", "imageData": None}
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.json").write_text(json.dumps(entry))
    with pytest.raises(FileNotFoundError, match="no usable image"):
        LabelMeDataset().load_labelme(tmp_path / "notes")
    assert server[1].asked == []


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://127.0.0.1/a.png", "data:,x"])
def test_other_addresses_are_names_of_files(address):
    with pytest.raises(FileNotFoundError, match=f"there is no file {address}"):
        read_image(address)
