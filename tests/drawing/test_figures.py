"""Figures go to files, whole, or to the screen on request, and leave nothing else."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from skimage.io import imread

from mrcnn.drawing.figures import canvas, fitted_size, image_axes, image_canvas, save_figure


@pytest.fixture
def shown(monkeypatch):
    """Pretend that figures have windows; counts the calls of plt.show."""
    calls = []
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "TkAgg")
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.gcf()))
    return calls


def test_picture_for_a_file_stays_out_of_pyplot(tmp_path):
    path = tmp_path / "new" / "folder" / "p.png"
    with canvas((3, 2), save_to=path) as figure:
        figure.add_axes((0, 0, 1, 1)).imshow([[0.0]])
        assert plt.get_fignums() == []
    assert imread(path).shape[:2] == (200, 300)
    assert [p.name for p in path.parent.iterdir()] == ["p.png"]


def test_picture_for_a_file_frees_its_images(tmp_path):
    with canvas((1, 1), save_to=tmp_path / "p.png") as figure:
        figure.add_axes((0, 0, 1, 1)).imshow(np.zeros((4, 4, 3)))
    assert figure.axes == []


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "p.png"
    path.write_text("the old picture")

    def break_off(self, name, **kwargs):
        with open(name, "w") as file:
            file.write("half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", break_off)
    with pytest.raises(OSError, match="disk full"):
        save_figure(Figure(), path)
    assert path.read_text() == "the old picture"
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize(
    ("name", "signature"), [("a.png", b"\x89PNG"), ("a.JPG", b"\xff\xd8"), ("a", b"\x89PNG")]
)
def test_ending_chooses_the_format(tmp_path, name, signature):
    save_figure(Figure(figsize=(1, 1)), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(signature)


def test_loop_of_pictures_keeps_the_last_one_open():
    for i in range(3):
        with canvas((1, 1), show=True) as figure:
            figure.suptitle(f"picture {i}")
    assert len(plt.get_fignums()) == 1
    assert plt.gcf() is figure, "plt.savefig after the call must find this figure"


def test_figures_of_the_user_stay_open():
    mine = plt.figure()
    for _ in range(2):
        with canvas((1, 1)):
            pass
    assert len(plt.get_fignums()) == 2
    assert plt.fignum_exists(mine.number)


def test_failed_drawing_leaves_no_figure():
    with pytest.raises(ZeroDivisionError), canvas((1, 1)):
        raise ZeroDivisionError
    assert plt.get_fignums() == []


def test_windows_are_shown_on_request_and_stay(shown):
    with canvas((1, 1), show=True) as first:
        assert shown == []
    with canvas((1, 1), show=True) as second:
        pass
    with canvas((1, 1), show=False):
        pass
    assert shown == [first, second]
    assert len(plt.get_fignums()) == 3, "a window that somebody looks at must not be closed"


def test_files_and_foreign_axes_are_not_shown(shown, tmp_path):
    with canvas((1, 1), save_to=tmp_path / "a.png", show=True):
        pass
    _, ax = plt.subplots(figsize=(2, 1), dpi=100)
    with canvas((9, 9), ax=ax, save_to=tmp_path / "b.png", show=True) as figure:
        assert figure is ax.figure
    assert shown == []
    assert imread(tmp_path / "b.png").shape[:2] == (100, 200)
    assert len(plt.get_fignums()) == 1


def test_axes_in_part_of_a_figure_save_the_whole(tmp_path):
    whole = Figure(figsize=(2, 1), dpi=100)
    part = whole.subfigures(1, 2)[1]
    with canvas((9, 9), ax=part.subplots(), save_to=tmp_path / "c.png") as figure:
        assert figure is whole
    assert imread(tmp_path / "c.png").shape[:2] == (100, 200)


@pytest.mark.parametrize(
    ("limits", "shape", "panels", "title", "size"),
    [
        ((4, 4), (100, 200, 3), 1, False, (4, 2)),
        ((4, 4), (200, 100), 1, False, (2, 4)),
        ((4, 4), (200, 100), 1, True, (3.55 / 2, 4)),  # 0.45 inches for the title
        ((4.1, 9), (100, 100), 2, False, (4.1, 2)),  # 0.1 inches between the two
    ],
)
def test_picture_is_as_large_as_its_limits_allow(limits, shape, panels, title, size):
    assert fitted_size(limits, shape, panels, title) == pytest.approx(size)


@pytest.mark.parametrize(
    ("shape", "panels", "title", "pixels"),
    [
        ((375, 500), 1, False, (500, 375)),
        ((375, 500), 1, True, (500, 420)),  # 45 pixels for the title
        ((375, 500), 2, True, (1010, 420)),  # 10 pixels between the two
        ((435, 435), 1, False, (435, 435)),  # 4.35 inches are 434.99 pixels
        ((64, 48), 1, False, (336, 448)),  # seven times
        ((399, 200), 1, False, (400, 798)),  # twice
        ((1200, 3200), 1, False, (1600, 600)),  # the limit
    ],
)
def test_saved_picture_has_the_pixels_of_its_image(tmp_path, shape, panels, title, pixels):
    options = {"own": True, "title": title, "panels": panels, "save_to": tmp_path / "p.png"}
    with image_canvas((16, 16), shape, **options):
        pass
    assert imread(tmp_path / "p.png").shape[1::-1] == pixels


def test_panels_share_the_width_below_the_title():
    figure = Figure(figsize=(4.1, 2.45))
    left, right = (ax.get_position() for ax in image_axes(figure, panels=2, title=True))
    inches = [(b.x0 * 4.1, b.x1 * 4.1, b.y0 * 2.45, b.y1 * 2.45) for b in (left, right)]
    np.testing.assert_allclose(inches, [(0, 2, 0, 2), (2.1, 4.1, 0, 2)], atol=1e-12)


def test_saved_image_fills_its_picture(tmp_path):
    with image_canvas((2, 2), (50, 100), save_to=tmp_path / "p.png") as (ax,):
        ax.imshow(np.full((50, 100, 3), (10, 20, 30), np.uint8))
        ax.set_axis_off()
    pixels = imread(tmp_path / "p.png")[..., :3]
    assert pixels.shape == (100, 200, 3)
    assert (pixels == [10, 20, 30]).all()
