"""Photos of files, folders, patterns and addresses: names and order."""

import os

import numpy as np
import pytest
from PIL import Image

from mrcnn.inference.sources import Sources, distinct


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A function that makes empty files, or the number n as an image of that value."""
    monkeypatch.chdir(tmp_path)

    def make(**values):
        for name, value in values.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if value is None:
                path.touch()
            else:
                Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
        return tmp_path

    return make


def names(*given, **options):
    return [photo.name for photo in Sources(given, **options)]


def test_photos_of_a_folder_are_sorted_and_all_else_is_left_out(folder):
    files = ("b.jpg", "B2.PNG", "a.tiff", ".hidden.jpg", "notes.txt", "clip.mp4", "deep/c.jpg")
    folder(**dict.fromkeys(f"photos/{name}" for name in files))
    assert names("photos") == ["B2.PNG", "a.tiff", "b.jpg"]
    assert names("photos/", recursive=True) == ["B2.PNG", "a.tiff", "b.jpg", "deep/c.jpg"]


def test_photos_are_read_when_they_are_asked_for(folder):
    folder(**{"one.png": 7, "two.png": 9})
    photos = list(Sources(["two.png", "one.png"]))
    os.remove("one.png")
    assert photos[0].load().tolist() == np.full((4, 6, 3), 9).tolist()
    with pytest.raises(FileNotFoundError, match=r"one\.png"):
        photos[1].load()
    assert [photo.path for photo in photos] == ["two.png", "one.png"]


def test_equal_names_in_two_folders_are_told_apart(folder):
    folder(**dict.fromkeys(["x/a/1.jpg", "x/b/1.jpg", "x/b/2.jpg"]))
    assert names("x/b", "x/a") == ["b/1.jpg", "b/2.jpg", "a/1.jpg"]
    assert names("x/b/1.jpg", "x/b/2.jpg") == ["1.jpg", "2.jpg"]


def test_photos_that_differ_by_the_suffix_alone_get_other_stems(folder):
    folder(**dict.fromkeys(["1.jpg", "1.png", "2.jpg", "1_jpg.jpg"]))
    photos = list(Sources(["."]))
    assert [photo.name for photo in photos] == ["1.jpg", "1.png", "1_jpg.jpg", "2.jpg"]
    assert [photo.stem for photo in photos] == ["1_jpg_2", "1_png", "1_jpg", "2"]


def test_names_that_some_file_systems_do_not_tell_apart_get_numbers():
    assert distinct(["a.jpg", "A.jpg", "b.jpg", "a.JPG"]) == [
        *("a.jpg", "A_2.jpg", "b.jpg", "a_3.JPG")
    ]


def test_a_photo_that_is_found_twice_counts_once(folder):
    folder(**dict.fromkeys(["p/1.jpg", "p/2.jpg"]))
    assert names("p/2.jpg", "p", "p/../p/1.jpg", "p/*.jpg") == ["2.jpg", "1.jpg"]


def test_patterns(folder):
    folder(**dict.fromkeys(["p/1.jpg", "p/2.jpg", "p/2.txt", "p/q/3.jpg"]))
    assert names("p/*") == ["1.jpg", "2.jpg"]
    assert names("p/**/*.jpg") == ["1.jpg", "2.jpg", "q/3.jpg"]


def test_a_file_whose_name_is_a_pattern_is_that_file(folder):
    folder(**dict.fromkeys(["[1].jpg", "1.jpg"]))
    assert names("[1].jpg") == ["[1].jpg"]


def test_the_folder_of_results_is_not_searched(folder):
    folder(**dict.fromkeys(["1.jpg", "out/1.jpg"]))
    assert names(".", recursive=True, leave_out="out") == ["1.jpg"]
    assert names("out", recursive=True, leave_out="out") == ["1.jpg"]


def test_addresses_and_cameras(folder):
    folder(**dict.fromkeys(["1", "2.jpg"]))
    sources = Sources(["http://example.org/a/b.jpg?size=2", "7", "2.jpg"])
    # A file of that name is not a camera.
    assert not Sources(["1"]).videos
    assert [video.path for video in sources.videos] == [7]
    assert len(sources) == 0
    assert len(Sources(["2.jpg", "1"])) == 2
    photo = next(iter(sources))
    assert (photo.name, photo.path) == ("b.jpg", "http://example.org/a/b.jpg?size=2")


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ([], ValueError, "No photos are given"),
        (["empty"], FileNotFoundError, 'The folder "empty" holds no photos.'),
        (["deep"], FileNotFoundError, "search them with --recursive"),
        (["*.gif"], FileNotFoundError, r'No photo or video fits the pattern "\*.gif"'),
    ],
)
def test_what_holds_no_photos_is_named(folder, given, error, sentence):
    folder(**dict.fromkeys(["empty/notes.txt", "deep/er/1.jpg"]))
    with pytest.raises(error, match=sentence):
        Sources(given)
