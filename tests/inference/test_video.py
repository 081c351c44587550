"""Frames of video files: those that were written, and files that are not whole."""

import cv2
import numpy as np
import pytest

from mrcnn import limits
from mrcnn.inference.sources import Sources
from mrcnn.inference.video import Video
from mrcnn.writers.pictures import writing_video


def frames(count):
    """Frames of 64x48 pixels (width x height): red from 40 on in steps of 8, blue 200."""
    for number in range(count):
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 0], frame[..., 2] = 40 + 8 * number, 200
        yield frame


def write(path, count):
    with writing_video(path, 12.5) as add:
        for frame in frames(count):
            add(frame)


def write_avi(path, count):
    """Its header comes first and has the number of frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(count):
        writer.write(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    writer.release()


def test_frames_come_back_in_order_with_their_colours_and_rate(tmp_path):
    write(tmp_path / "clip.mp4", 20)
    sources = Sources([tmp_path / "clip.mp4"])
    (video,) = sources.videos
    assert (video.rate, video.count, len(sources)) == (12.5, 20, 20)
    photos = list(sources)
    assert [photo.name for photo in photos[:2]] == [
        *("clip_frames/000000.jpg", "clip_frames/000001.jpg")
    ]
    found = np.array([photo.load().mean((0, 1)) for photo in photos])
    expected = np.array([frame.mean((0, 1)) for frame in frames(20)])
    # The codec rounds colours.
    np.testing.assert_allclose(found, expected, atol=8)
    assert sources.faults == []


def test_a_video_that_ends_early_gives_the_frames_that_it_has(tmp_path):
    path = tmp_path / "clip.avi"
    write_avi(path, 30)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    sources = Sources([path])
    count = len(list(sources))
    assert 10 <= count <= 20
    (fault,) = sources.faults
    assert f'clip.avi" ends early: {count} of 30 frames' in fault


def test_a_damaged_video_is_one_photo_that_cannot_be_read(tmp_path):
    write(tmp_path / "clip.mp4", 20)
    data = (tmp_path / "clip.mp4").read_bytes()
    # An MP4 file has its table of frames at the end.
    (tmp_path / "clip.mp4").write_bytes(data[: len(data) // 2])
    for name in ("clip.mp4", "missing.mp4"):
        (photo,) = Sources([tmp_path / name])
        assert photo.name == name
        with pytest.raises(OSError, match=name):
            photo.load()


def test_a_camera_that_is_not_there_is_named():
    (photo,) = Sources(["97"])
    with pytest.raises(OSError, match="no camera 97"):
        photo.load()


def test_a_few_frames_less_than_an_estimate_are_no_fault(tmp_path, monkeypatch):
    write(tmp_path / "clip.mp4", 20)
    video = Video(str(tmp_path / "clip.mp4"), "clip")
    opened = video._open

    def estimate(count):
        def reopen():
            capture = opened()
            video.count = count
            return capture

        return reopen

    monkeypatch.setattr(video, "_open", estimate(21))
    assert (len(list(video.frames())), video.fault) == (20, None)
    monkeypatch.setattr(video, "_open", estimate(22))
    list(video.frames())
    assert "20 of 22 frames" in video.fault


def test_a_video_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyError):
        with writing_video(tmp_path / "clip.mp4", 10) as add:
            add(np.zeros((48, 64, 3), np.uint8))
            raise KeyError
    with writing_video(tmp_path / "none.mp4", 10):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"32x48 pixels \(width x height\), the first one 64x48"):
        with writing_video(tmp_path / "clip.mp4", 10) as add:
            add(np.zeros((48, 64, 3), np.uint8))
            add(np.zeros((48, 32, 3), np.uint8))


def test_frames_above_the_limit_are_not_read(tmp_path, monkeypatch):
    write(tmp_path / "clip.mp4", 2)
    monkeypatch.setattr(limits, "MAX_IMAGE_PIXELS", 64 * 48 - 1)
    (photo,) = Sources([tmp_path / "clip.mp4"])
    with pytest.raises(OSError, match="frames of 64x48 pixels .*MAX_IMAGE_PIXELS = 3071"):
        photo.load()
