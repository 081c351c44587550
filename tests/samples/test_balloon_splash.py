"""Colour splash of the balloon sample, on photos and videos, and its error messages."""

import gc
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.io import imread, imsave

from tests.local_server import serving
from tests.samples.balloon_sample import (
    GRAY_OF_BLUE,
    RED,
    RedFinder,
    scene,
)


def test_splash_by_hand(balloon):
    image = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [9, 9, 9], [1, 2, 3]]]
    image = np.array(image, np.uint8)
    mask = np.zeros((2, 3, 2), bool)
    mask[0, 1, 0] = mask[1, 0, 1] = mask[1, 2, :] = True
    # 0.2125 * 255 = 54.2; 0.0721 * 255 = 18.4; 9 stays 9, as the three weights make 1.
    expected = [
        [[54, 54, 54], [0, 255, 0], [18, 18, 18]],
        [[10, 20, 30], [9, 9, 9], [1, 2, 3]],
    ]
    splash = balloon.color_splash(image, mask)
    assert splash.tolist() == expected
    assert splash.dtype == np.uint8


def test_splash_without_instances_is_grey(balloon):
    image = np.array([[[0, 255, 0], [10, 20, 30]]], np.uint8)
    # 0.7154 * 255 = 182.4; 2.125 + 14.308 + 2.163 = 18.6
    splash = balloon.color_splash(image, np.zeros((1, 2, 0), bool))
    assert splash.tolist() == [[[182] * 3, [19] * 3]]


def test_splash_of_an_image(balloon, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    imsave("photo.png", scene(), check_contrast=False)
    path = balloon.detect_and_color_splash(RedFinder(), image_path="photo.png")
    assert re.fullmatch(r"splash_\d{8}T\d{6}\.png", str(path))
    assert capsys.readouterr().out == f"1 found. Saved to {path}.\n"
    expected = np.full((48, 64, 3), GRAY_OF_BLUE, np.uint8)
    expected[16:32, 8:24] = RED
    assert np.array_equal(imread(path), expected)


def test_an_image_without_balloons_is_said_to_be_grey(balloon, tmp_path, capsys):
    imsave(tmp_path / "photo.png", scene(), check_contrast=False)
    path = tmp_path / "gray.png"
    balloon.detect_and_color_splash(RedFinder(False), tmp_path / "photo.png", output=path)
    assert capsys.readouterr().out.startswith("None found, so all of the picture is grey. Saved")
    # 0.2125 * 255 = 54.2
    assert np.unique(imread(path)).tolist() == [18, 54]


def write_video(path, frames, rate=12.5, codec="MJPG"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def read_video(path):
    """Frames per second and frames, RGB."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        frames.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB))
    return video.get(cv2.CAP_PROP_FPS), frames


def test_splash_of_a_video(balloon, tmp_path, capsys):
    write_video(tmp_path / "video.avi", [scene(4 * i) for i in range(6)])
    model = RedFinder()
    output = tmp_path / "splash.avi"
    balloon.detect_and_color_splash(model, video_path=tmp_path / "video.avi", output=output)
    assert capsys.readouterr().out.endswith(f"6 of 6 frames show balloons. Saved to {output}.\n")
    rate, frames = read_video(output)
    assert (rate, len(frames), frames[0].shape) == (12.5, 6, (48, 64, 3))
    for i, (seen, frame) in enumerate(zip(model.seen, frames, strict=True)):
        # JPEG mixes colours at edges, so 4 pixels around them do not count.
        inside, outside = np.s_[20:28, 12 + 4 * i : 20 + 4 * i], np.s_[:12]
        assert np.abs(seen[inside] - np.array(RED)).max() < 30, "the model gets RGB"
        assert np.abs(frame[inside] - np.array(RED)).max() < 30
        assert np.abs(frame[outside] - np.array(GRAY_OF_BLUE)).max() < 12


def test_a_video_that_breaks_off_is_used_as_far_as_it_goes(balloon, tmp_path, capsys, rng):
    noise = [rng.integers(0, 255, (120, 160, 3)).astype(np.uint8) for _ in range(40)]
    write_video(tmp_path / "whole.avi", noise)
    data = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    output = tmp_path / "splash.avi"
    model = RedFinder(False)
    balloon.detect_and_color_splash(model, video_path=tmp_path / "cut.avi", output=output)
    count = len(model.seen)
    assert 10 < count < 30
    printed = capsys.readouterr().out
    assert f"cut.avi announces 40 frames, but only {count} can be read.\n" in printed
    assert f"0 of {count} frames show balloons." in printed
    assert len(read_video(output)[1]) == count


def test_an_interrupted_video_leaves_no_file(balloon, tmp_path, monkeypatch, capsys):
    write_video(tmp_path / "video.avi", [scene()] * 6)
    model = RedFinder()

    def detect(images, done=[]):  # noqa: B006
        done.append(images)
        if len(done) == 3:
            raise KeyboardInterrupt
        return RedFinder.detect(model, images)

    model.detect = detect
    with pytest.raises(KeyboardInterrupt):
        balloon.detect_and_color_splash(model, None, tmp_path / "video.avi", tmp_path / "s.avi")
    assert len(model.seen) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["video.avi"]
    assert "Saved" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--image missing.png", r"There is no file missing.png\."),
        ("--video missing.avi", r"There is no file missing.avi\."),
        ("--video junk.bin", r"junk.bin cannot be read as a video\."),
        ("--image cut.png", r"cut.png cannot be read as an image: .+"),
        (
            "--image good.png --output a.tiff",
            r"The output is a.tiff; .* .png or .jpg or .jpeg\.",
        ),
        ("--video good.avi --output a.mp4", r"The output is a.mp4; its name has to end in .avi\."),
        ("--image good.png --output no/a.png", r"There is no folder no to write a.png to\."),
    ],
)
def test_mistakes_are_one_sentence(balloon, finder, tmp_path, monkeypatch, capfd, line, message):
    monkeypatch.chdir(tmp_path)
    imsave("good.png", scene(), check_contrast=False)
    Path("cut.png").write_bytes(Path("good.png").read_bytes()[:60])
    Path("junk.bin").write_bytes(b"no picture " * 100)
    write_video("good.avi", [scene()])
    Path("some.h5").touch()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as exit_:
        balloon.main(["splash", "--weights", "some.h5", *line.split()])
    told = capfd.readouterr()
    assert (exit_.value.code, told.out) == (1, "")
    assert re.fullmatch(f"balloon.py: {message}\n", told.err)
    assert sorted(tmp_path.iterdir()) == before


# imageio leaves a file open that it cannot decode, until the garbage is collected.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_images_from_the_web(balloon, finder, tmp_path, monkeypatch, capsys):
    # Proxies of the environment would stand between the test and its server.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    imsave(tmp_path / "photo.png", scene(), check_contrast=False)
    with serving({"photo.png": (tmp_path / "photo.png").read_bytes(), "page": b"<html>"}) as server:
        address = server[0]
        line = ["splash", "--output", str(tmp_path / "splash.png"), "--image"]
        balloon.main([*line, f"{address}/photo.png?size=large"])
        assert capsys.readouterr().out.startswith("1 found. Saved to ")
        assert np.array_equal(finder.seen[0], scene())
        assert imread(tmp_path / "splash.png")[0, 0].tolist() == list(GRAY_OF_BLUE)
        for name, message in (
            ("none.png", r"cannot be read as an image: HTTP Error 404: Not Found"),
            ("page", r"cannot be read as an image: .+"),
        ):
            with pytest.raises(SystemExit) as exit_:
                balloon.main([*line, f"{address}/{name}"])
            told = capsys.readouterr().err.splitlines()[-1]
            assert exit_.value.code == 1
            assert re.fullmatch(f"balloon.py: {address}/{name} {message}", told)
    gc.collect()
    with pytest.raises(SystemExit) as exit_:
        balloon.main([*line, f"{address}/photo.png"])
    assert exit_.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"balloon.py: {address}/photo.png cannot be read as an image: ")


def test_either_an_image_or_a_video(balloon):
    for paths in ((None, None), ("a.png", "b.avi")):
        with pytest.raises(ValueError, match="either an image or a video"):
            balloon.detect_and_color_splash(RedFinder(), *paths)
