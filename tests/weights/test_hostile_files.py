"""Weight files that lie or lead elsewhere: refused with file and tensor, the model as it was."""

import json
import os
import shutil
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest

from mrcnn import weights
from mrcnn.runs.resume import load_first_whole
from mrcnn.weights.finite import count_non_finite
from tests.weights.test_keras_model import small_model

KERNELS = {"x.h5": "output/output/kernel:0", "x.weights.h5": "layers/dense_1/vars/0"}


@pytest.fixture(params=KERNELS)
def saved(request, tmp_path):
    """Return another model, the path of a file of a kind, and the name of its last kernel."""
    path = tmp_path / request.param
    small_model(0).save_weights(path)
    return small_model(1), path, KERNELS[request.param]


def refused(model, path, *words, error=weights.WeightFileError):
    before = model.get_weights()
    with pytest.raises(error) as caught:
        weights.load(model, path, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    for word in (str(path), *words):
        assert word in str(caught.value)


def replace(path, name, make):
    with h5py.File(path, "a") as file:
        array = file[name][()]
        del file[name]
        make(file, name, array)


@pytest.mark.parametrize(("value", "count"), [(np.nan, 1), (np.inf, 2), (-np.inf, 6)])
def test_values_that_are_not_finite(saved, value, count):
    model, path, name = saved

    def make(file, name, array):
        array.flat[:count] = value
        file[name] = array

    replace(path, name, make)
    refused(model, path, '"output/kernel" has', f"{count} value", "NaN or infinite")


def test_float64_that_float32_cannot_hold(saved):
    model, path, name = saved
    replace(
        path, name, lambda file, name, a: file.create_dataset(name, data=np.full(a.shape, 1e300))
    )
    refused(model, path, "6 values that are NaN or infinite")


@pytest.mark.parametrize("kind", ["complex64", "bool", "int32", "uint8", "S3"])
def test_values_that_are_no_floats(saved, kind):
    model, path, name = saved
    replace(path, name, lambda file, name, a: file.create_dataset(name, data=a.astype(kind)))
    refused(model, path, "of type", "kernel" if path.name == "x.h5" else name)


@pytest.mark.parametrize("kind", ["float16", "float64", ">f4"])
def test_floats_of_other_sizes(saved, kind):
    model, path, name = saved
    replace(path, name, lambda file, name, a: file.create_dataset(name, data=a.astype(kind)))
    weights.load(model, path, verbose=0)
    expected = small_model(0).get_weights()[2].astype(kind).astype("float32")
    np.testing.assert_array_equal(model.get_weights()[2], expected)


def external(file, name, array):
    file[name] = h5py.ExternalLink(os.path.join(os.path.dirname(file.filename), "pipe"), "/data")


def loop(file, name, array):
    file[name] = h5py.SoftLink("/" + name)


def outside(file, name, array):
    other = os.path.join(os.path.dirname(file.filename), "other.bin")
    file.create_dataset(name, array.shape, "f4", external=[(other, 0, array.nbytes)])


def virtual(file, name, array):
    layout = h5py.VirtualLayout(array.shape, "f4", maxshape=(None, *array.shape[1:]))
    other = os.path.join(os.path.dirname(file.filename), "pipe")
    layout[...] = h5py.VirtualSource(other, "data", array.shape)
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("make", [external, loop, outside, virtual])
def test_nothing_is_read_from_another_file(saved, make):
    """Nor opened: a pipe would never end."""
    model, path, name = saved
    (path.parent / "other.bin").write_bytes(bytes(range(200)))
    replace(path, name, make)
    os.mkfifo(path.parent / "pipe")
    refused(model, path, name.rsplit("/", 1)[1], "Write the weights themselves into the file.")


def huge(file, name, array):
    file.create_dataset(name, (1 << 19, 1 << 19), "f4", chunks=(1024, 1024), compression="gzip")


def empty(file, name, array):
    file.create_dataset(name, array.shape, "f4")


def inflating(file, name, array):
    made = file.create_dataset(name, array.shape, "f4", chunks=array.shape, compression="gzip")
    made.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 24), 9))


@pytest.mark.parametrize("make", [huge, empty, inflating])
def test_sizes_that_are_not_there(saved, make):
    model, path, name = saved
    replace(path, name, make)
    assert path.stat().st_size < 1 << 17
    refused(model, path, error=ValueError)


@pytest.mark.parametrize(
    "options", [{"compression": "gzip"}, {"shuffle": True, "fletcher32": True}]
)
def test_compressed_files_are_read(saved, options):
    model, path, name = saved
    chunks = {"chunks": (2, 2), **options}
    replace(path, name, lambda file, name, a: file.create_dataset(name, data=a, **chunks))
    weights.load(model, path, verbose=0)
    for ours, theirs in zip(model.get_weights(), small_model(0).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_unwanted_layers_are_not_read(tmp_path):
    path, model = tmp_path / "x.h5", small_model(1)
    small_model(0).save_weights(path)
    with h5py.File(path, "a") as file:
        names = [*file.attrs["layer_names"], b"bomb"]
        group = file.create_group("bomb")
        group.attrs["weight_names"] = np.array([b"w"])
        huge(group, "w", None)
        file.attrs["layer_names"] = np.array(names)
    report = weights.load(model, path, verbose=0)
    assert (report.loaded, report.unused) == (["hidden", "output"], ["bomb"])


def test_one_text_a_thousand_times(tmp_path):
    """4 kB of references to a text of 1 MB."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.attrs.create("layer_names", ["a" * (1 << 20)] * 40, dtype=h5py.string_dtype())
    refused(small_model(0), path, "layer_names", "accepted are up to")


@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5", "x.keras"])
def test_what_is_no_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(small_model(0), tmp_path / name, "is a folder, a pipe or a device")


def test_compressed_archive(tmp_path):
    model = small_model(0)
    model.save(tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as old:
        contents = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "y.keras", "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in contents.items():
            new.writestr(name, content)
    refused(model, tmp_path / "y.keras", "Unpack it and load that file")


def test_graph_in_an_archive_is_not_read(tmp_path):
    small_model(0).save(tmp_path / "x.keras")
    with zipfile.ZipFile(tmp_path / "x.keras") as old:
        content = old.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "y.keras", "w") as new:
        new.writestr("model.weights.h5", content)
        new.writestr("config.json", json.dumps({"module": "os", "class_name": "abort"}))
    model = small_model(1)
    weights.load(model, tmp_path / "y.keras")
    np.testing.assert_array_equal(model.get_weights()[0], small_model(0).get_weights()[0])


def test_shards_are_refused(tmp_path):
    (tmp_path / "x.weights.json").write_text('{"weight_map": {"/": "../../etc/passwd"}}')
    refused(small_model(0), tmp_path / "x.weights.json", "names further files")


@pytest.mark.parametrize("damage", [ValueError, OSError])
def test_older_file_for_every_kind_of_damage(tmp_path, damage):
    def load(path):
        if path == "new.h5":
            raise damage("new.h5 does not fit")

    with pytest.warns(UserWarning, match="new.h5 does not fit The checkpoint before it was used"):
        assert load_first_whole(["new.h5", "old.h5"], load) == "old.h5"
    with pytest.raises(damage, match="does not fit"):
        load_first_whole(["new.h5"], load)


def test_counting_values_that_are_not_finite():
    assert count_non_finite(np.float32([1, np.nan, np.inf, -np.inf])) == 3
    # Their sum overflows, and cancels.
    assert count_non_finite(np.full(4, 3e38, np.float32)) == 0
    assert count_non_finite(np.float32([np.inf, -np.inf, 0])) == 2


def test_model_saved_as_h5(tmp_path):
    model, other = small_model(0), small_model(1)
    model.metadata = {"config": "{}"}
    with pytest.warns(UserWarning, match="read it with load_weights or MaskRCNN.from_run"):
        model.save(tmp_path / "x.h5")
    model.save_weights(tmp_path / "y.h5")
    assert weights.matterport.read_metadata(tmp_path / "x.h5") == {"config": "{}"}
    assert other.load_weights(tmp_path / "x.h5", verbose=0).loaded == ["hidden", "output"]
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_whole_training_model_in_a_keras_file(tmp_path):
    from mrcnn.graph import build_graph
    from tests.mini import MiniConfig

    model = build_graph(MiniConfig(), "training")
    model.save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shutil.rmtree(tmp_path)
