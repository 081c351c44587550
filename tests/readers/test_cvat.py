import numpy as np
import pytest
import skimage.draw

from mrcnn.readers.cvat import CvatDataset
from mrcnn.readers.outlines import Polygon

HEIGHT, WIDTH = 20, 30
HEAD = """<?xml version="1.0" encoding="utf-8"?>
{doctype}<annotations><version>1.1</version>
<meta><task><labels>
<label><name>dog</name></label><label><name>cat</name></label>
</labels></task></meta>
"""
BOX = '<box label="cat" xtl="3" ytl="2" xbr="9" ybr="6.0"{more}/>'


@pytest.fixture
def cvat_file(tmp_path, write_photo):
    """Function that writes CVAT's XML with shapes of one photo."""
    write_photo("a.png", HEIGHT, WIDTH)

    def write(shapes, doctype="", name="a.png"):
        image = f'<image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>'
        text = HEAD.format(doctype=doctype) + image + "</annotations>"
        (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
        return tmp_path / "annotations.xml"

    return write


def load(path, **options):
    dataset = CvatDataset()
    dataset.load_cvat(path, path.parent, **options)
    dataset.prepare()
    return dataset


def test_shapes(cvat_file):
    shapes = (
        '<polygon label="cat" points="2.0,3.0;20.0,4.0;9.0,15.0" z_order="0"><attribute '
        'name="a">b</attribute></polygon>'
        + BOX.format(more="")
        + '<ellipse label="dog" cx="15" cy="10" rx="8" ry="4"/>'
    )
    dataset = load(cvat_file(shapes))
    assert dataset.class_names == ["BG", "cat", "dog"]
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 1, 2]
    expected = np.zeros((3, HEIGHT, WIDTH), bool)
    Polygon([3, 4, 15], [2, 20, 9]).draw(expected[0])
    expected[1, 2:6, 3:9] = True
    expected[2][skimage.draw.ellipse(10, 15, 4, 8)] = True
    assert (masks == expected.transpose(1, 2, 0)).all()


def test_a_turned_box(cvat_file):
    # Around its centre (4, 6): 4 high and 6 wide becomes 6 high and 4 wide.
    masks, _ = load(cvat_file(BOX.format(more=' rotation="90"'))).load_mask(0)
    assert masks[1:7, 4:8].all() and masks.sum() == 24
    same, _ = load(cvat_file(BOX.format(more=' rotation="180.0"'))).load_mask(0)
    assert same[2:6, 3:9].all() and same.sum() == 24


def test_masks_are_runs_by_row_from_their_corner(cvat_file):
    # Rows of 4: ..XX XXX. .X.X
    mask = '<mask label="dog" rle="2, 5, 2, 1, 1, 1" left="5" top="3" width="4" height="3"/>'
    masks, class_ids = load(cvat_file(mask)).load_mask(0)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[3:6, 5:9] = np.array([[0, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 1]], bool)
    assert class_ids.tolist() == [2] and (masks[..., 0] == expected).all()


def test_a_mask_beyond_the_border_is_cut(cvat_file):
    mask = '<mask label="dog" rle="0,48" left="-2" top="16" width="8" height="6"/>'
    with pytest.warns(UserWarning, match="cut at the border"):
        masks, _ = load(cvat_file(mask)).load_mask(0)
    assert masks.sum() == 24 and masks[16:, :6].all()


def test_shapes_of_a_group_are_one_object(cvat_file):
    parts = [BOX.format(more=' group_id="1"'), '<box label="cat" group_id="{}" {}/>']
    place = 'xtl="20" ytl="12" xbr="22" ybr="13"'
    joined, class_ids = load(cvat_file(parts[0] + parts[1].format(1, place))).load_mask(0)
    assert class_ids.tolist() == [1] and joined.sum() == 26
    # 0 is no group.
    parts = BOX.format(more=' group_id="0"') + parts[1].format(0, place)
    assert load(cvat_file(parts)).load_mask(0)[1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ('<polyline label="cat" points="1,1;2,2;5,1"/>', "a polyline, which has no area"),
        ('<points label="cat" points="1,1"/>', "a points, which has no area"),
        ('<polygon label="cow" points="2,3;20,4;9,15"/>', "a class that is not among class_names"),
        ('<polygon points="2,3;20,4;9,15"/>', "a class that is not among class_names"),
        ('<polygon label="cat" points="2,3;20,4"/>', "a polygon with fewer than 3 points"),
        ('<polygon label="cat"/>', "points that are not pairs of numbers"),
        ('<polygon label="cat" points="2,3;20,4;9,nan"/>', "a coordinate that is not a number"),
        ('<polygon label="cat" points="2,3;20,4;9,1e9"/>', "a coordinate beyond a million pixels"),
        ('<box label="cat" xtl="3" ytl="2" xbr="8"/>', "a coordinate that is not a number"),
        ('<box label="cat" xtl="8" ytl="2" xbr="8" ybr="9"/>', "a shape without area"),
        ('<mask label="cat" rle="3"/>', "a mask without its place and size"),
        ('<mask label="cat" rle="3,2" left="0" top="0" width="2" height="3"/>', "an RLE whose"),
        ('<mask label="cat" rle="-3,9" left="0" top="0" width="2" height="3"/>', "an RLE whose"),
        ('<mask label="cat" rle="a" left="0" top="0" width="2" height="3"/>', "an RLE that is no"),
        ('<mask label="cat" rle="6" left="0" top="0" width="2" height="3"/>', "a shape without"),
        ('<mask label="cat" rle="0,6" left="99" top="0" width="2" height="3"/>', "a shape outside"),
        (
            '<mask label="cat" rle="0,90000000000" left="0" top="0" width="3e5" height="3e5"/>',
            "a mask of too many pixels",
        ),
    ],
)
def test_broken_shapes_are_left_out(cvat_file, shape, reason):
    path = cvat_file(BOX.format(more="") + shape)
    with pytest.warns(UserWarning, match=f"1 entry is left out: 1 x {reason}"):
        dataset = load(path, class_names=["cat", "dog"])
    assert dataset.notes[0].where.startswith("shape 1 of a.png")
    assert dataset.load_mask(0)[1].tolist() == [1]


def test_entities_are_never_resolved(cvat_file, tmp_path):
    (tmp_path / "secret.txt").write_text("cat")
    bomb = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(20))
    for doctype in (
        '<!DOCTYPE annotations [<!ENTITY e20 "cat">]>',
        f'<!DOCTYPE annotations [<!ENTITY e20 SYSTEM "file://{tmp_path}/secret.txt">]>',
        f'<!DOCTYPE annotations [<!ENTITY e0 "x">{bomb}]>',
    ):
        shape = '<box label="&e20;" xtl="3" ytl="2" xbr="8" ybr="6"/>'
        with pytest.raises(ValueError, match=r"declares XML entities, which are never resolved\."):
            load(cvat_file(shape, doctype))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("<annotations>", ValueError, "is not XML"),
        ("", ValueError, "is not XML"),
        ('<?xml version="1.0" encoding="no-such"?><a/>', ValueError, "is not XML"),
        ("<annotation/>", ValueError, "its root is not <annotations>"),
        ("<annotations/>", ValueError, "has no label"),
        ("<annotations><track id='0'/></annotations>", ValueError, "holds tracks, CVAT for video"),
        (
            "<annotations><image name='no.png'><box label='a'/></image></annotations>",
            FileNotFoundError,
            "has no usable image",
        ),
    ],
)
def test_unusable_files(tmp_path, text, error, message):
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / "annotations.xml")
    assert str(tmp_path) in str(caught.value)


def test_deep_files_end(tmp_path):
    text = "<annotations>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotations>"
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(ValueError, match="has no label|is not XML"):
        load(tmp_path / "annotations.xml")


def test_a_second_entry_for_an_image_and_one_that_leads_out(cvat_file):
    path = cvat_file(BOX.format(more=""))
    images = '<image name="a.png"/><image name="../../b.png"/><image/></annotations>'
    path.write_text(path.read_text().replace("</annotations>", images))
    with pytest.warns(UserWarning, match="3 entries are left out"):
        assert load(path).num_images == 1
