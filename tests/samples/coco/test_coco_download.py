"""The COCO sample fetches missing files, resumes broken downloads, and leaves the rest alone."""

import importlib
import io
import zipfile
from pathlib import Path

import pytest

from tests.local_server import serving
from tests.samples.coco.conftest import write_part


@pytest.fixture(scope="module")
def modules(coco):
    """The modules `coco` and `coco_download`."""
    return coco, importlib.import_module("coco_download")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The files that must be there in the end: two parts of 2017, and minival of 2014."""
    root = tmp_path_factory.mktemp("original")
    write_part(root, "train", 2017, 3)
    write_part(root, "val", 2017, 2, first_id=200)
    write_part(root, "val", 2014, 2, first_id=300)
    write_part(root, "minival", 2014, 2, first_id=300, folder="val")
    return root


def zipped(root, paths, prefix=""):
    """A zip file of files of a folder, as bytes."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in sorted(paths):
            archive.write(path, prefix + path.relative_to(root).as_posix())
    return body.getvalue()


@pytest.fixture
def server(modules, original, monkeypatch):
    """The behaviour of a server that has all archives, at whose address COCO is said to be."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    notes = original / "annotations"
    bodies = {
        f"annotations_trainval{year}.zip": zipped(
            original, [notes / f"instances_{part}{year}.json" for part in parts]
        )
        for year, parts in ((2017, ("train", "val")), (2014, ("val",)))
    }
    for folder in ("train2017", "val2017", "val2014"):
        bodies[f"{folder}.zip"] = zipped(original, (original / folder).iterdir())
    bodies["instances_minival2014.json.zip"] = zipped(notes, [notes / "instances_minival2014.json"])
    with serving(bodies) as (address, behaviour):
        for table in (modules[1].IMAGES, modules[1].ANNOTATIONS):
            for name, archive in table.items():
                # The published lengths and digests are of other files.
                url = f"{address}/{archive.url.rsplit('/', 1)[1]}"
                monkeypatch.setitem(table, name, archive._replace(url=url, size=None, sha256=None))
        yield behaviour


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_lengths_and_digests_are_known_of_all_but_minival(modules):
    download = modules[1]
    for name, archive in {**download.IMAGES, **download.ANNOTATIONS}.items():
        if "minival" in name:
            assert (archive.size, archive.sha256) == (None, None)
        else:
            assert archive.size > 1e8
            assert len(bytes.fromhex(archive.sha256)) == 32
    assert set(download.IMAGES) <= set(download.ANNOTATIONS)


def test_train_and_val_need_three_files(modules, server, original, tmp_path, capsys):
    root = tmp_path / "new" / "coco"
    for subset in ("train", "val"):
        dataset = modules[0].CocoDataset()
        dataset.load_coco(root, subset, "2017", auto_download=True)
        assert len(dataset.image_info) == {"train": 3, "val": 2}[subset]
    expected = {path: body for path, body in files(original).items() if "2017" in str(path)}
    assert files(root) == expected
    assert len(server.asked) == 3
    # What is there is not asked for again.
    dataset.auto_download(root, "train", 2017)
    assert len(server.asked) == 3
    assert capsys.readouterr().out == ""


def test_minival_lies_beside_the_images_of_val(modules, server, original, tmp_path):
    modules[1].fetch(tmp_path, "minival", 2014)
    expected = [path for path in files(original) if "val2014" in path.parts]
    assert set(files(tmp_path)) == {*expected, Path("annotations/instances_minival2014.json")}


def test_broken_download_is_resumed(modules, server, original, tmp_path, capsys):
    line = ["evaluate", "--dataset", str(tmp_path), "--model", "last", "--download"]
    # The annotations arrive whole. The images break off after 700 bytes, the retry brings nothing.
    server.cuts = [10**9, 700, 0]
    with pytest.raises(SystemExit) as exit_:
        modules[0].main(line)
    assert exit_.value.code == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "700 bytes arrived of" in message
    assert f"fetch it by hand and save as {tmp_path}/val2017.zip." in message
    assert (tmp_path / "val2017.zip.part").stat().st_size == 700
    assert not (tmp_path / "val2017").exists()
    del server.asked[:]
    modules[1].fetch(tmp_path, "val", 2017)
    assert server.asked == ["bytes=700-"]
    assert not list(tmp_path.glob("*.zip*"))
    assert set(files(tmp_path)) == {path for path in files(original) if "2017" in str(path)} - {
        path for path in files(original) if "train2017" in path.parts
    }


def test_damaged_archive_leaves_no_folder(modules, server, tmp_path):
    body = server.bodies["val2017.zip"]
    server.bodies["val2017.zip"] = body[:90] + bytes([body[90] ^ 255]) + body[91:]
    with pytest.raises(ValueError, match="val2017.zip is not a whole zip file"):
        modules[1].fetch(tmp_path, "val", 2017)
    assert not (tmp_path / "val2017").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_archive_put_there_by_hand(modules, server, original, tmp_path):
    for name in ("val2017.zip", "annotations_trainval2017.zip"):
        (tmp_path / name).write_bytes(server.bodies[name])
    modules[1].fetch(tmp_path, "val", 2017)
    assert server.asked == []
    assert not list(tmp_path.glob("*.zip"))
    assert len(list((tmp_path / "val2017").iterdir())) == 2


def test_offline_is_one_sentence(modules, server, tmp_path, monkeypatch, capsys):
    download = modules[1]
    for name, archive in download.ANNOTATIONS.items():
        monkeypatch.setitem(
            download.ANNOTATIONS, name, archive._replace(url="http://127.0.0.1:9/a")
        )
    with pytest.raises(SystemExit) as exit_:
        modules[0].main(f"train --dataset {tmp_path} --model random --download True".split())
    output = capsys.readouterr()
    assert (exit_.value.code, output.out, output.err.count("\n")) == (1, "", 1)
    assert "Could not download http://127.0.0.1:9/a (" in output.err
    assert files(tmp_path) == {}


def test_parts_that_coco_does_not_have(modules, tmp_path):
    with pytest.raises(ValueError, match="COCO has no minival2017; there are train2014, val2014"):
        modules[1].fetch(tmp_path, "minival", 2017)
