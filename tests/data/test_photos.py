import numpy as np
import pytest
from PIL import Image

from mrcnn.data.dataset import Dataset
from mrcnn.data.photos import image_size, read_image, read_stored


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
