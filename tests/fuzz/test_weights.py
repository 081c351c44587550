"""Weight files that are damaged, lie or lead elsewhere: the model is filled whole, or as it was."""

import contextlib
import os
import shutil
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest

from mrcnn import weights
from mrcnn.weights.keras_model import CheckpointModel
from tests.fuzz.guard import CASES, SEED, guarded
from tests.fuzz.mutate import mutate_bytes
from tests.mini import silent

KINDS = ["x.h5", "nested.h5", "x.weights.h5", "x.keras"]
HUGE = (1 << 19, 1 << 19)


def make_model():
    """A model of convolution, normalization, a nested model, dropout and a dense layer."""
    image = keras.Input((8, 8, 3), name="image")
    feature_map = keras.Input((None, None, 4))
    rpn = keras.Model(feature_map, keras.layers.Conv2D(2, 1, name="raw")(feature_map), name="rpn")
    x = keras.layers.Conv2D(4, 3, name="conv1")(image)
    x = rpn(keras.layers.BatchNormalization(name="bn_conv1")(x))
    x = keras.layers.Dropout(0.5, name="drop")(keras.layers.GlobalAveragePooling2D(name="pool")(x))
    return CheckpointModel(image, keras.layers.Dense(2, name="mrcnn_class_logits")(x), name="m")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a model and the folder with a sound file of every kind."""
    keras.utils.set_random_seed(SEED)
    model, folder = make_model(), tmp_path_factory.mktemp("weights")
    model.compile("sgd")
    for kind in ("x.h5", "x.weights.h5"):
        model.save_weights(folder / kind)
    model.save(folder / "x.keras")
    with h5py.File(folder / "x.h5") as plain, h5py.File(folder / "nested.h5", "w") as file:
        root = file.create_group("model_weights")
        for name in plain:
            plain.copy(name, root)
        for name, value in plain.attrs.items():
            root.attrs[name] = value
    return model, folder


def objects(file):
    """Return the names of all groups and data sets, and of the data sets alone."""
    groups, datasets = ["/"], []
    file.visititems(
        lambda name, o: (groups if isinstance(o, h5py.Group) else datasets).append(name)
    )
    return groups, datasets


def replace(file, name, rng, folder):
    """Put something else in the place of a data set; an error if HDF5 cannot."""
    array = file[name][()]
    shape = array.shape
    del file[name]
    kind = int(rng.integers(20))
    if kind < 4:
        bad = np.array(array, np.float64 if kind == 3 or array.dtype.kind != "f" else "f4")
        bad.flat[int(rng.integers(bad.size))] = [np.nan, np.inf, -np.inf, 1e300][kind]
        file[name] = bad
    elif kind == 4:
        odd = [np.complex64, bool, np.int32, np.int64, np.uint8, ">f4", np.float16, np.longdouble]
        file[name] = array.astype(odd[rng.integers(len(odd))])
    elif kind == 5:
        file.create_dataset(name, HUGE, "f4", chunks=(1024, 1024), compression="gzip")
    elif kind == 6:
        file.create_dataset(name, shape, "f4")
    elif kind == 7:
        # Filled pieces that are larger than the array, and that inflate to more than they say.
        made = file.create_dataset(name, shape, "f4", chunks=shape, compression="gzip")
        size = int(rng.choice([array.nbytes - 4, array.nbytes + 4, 1 << 24]))
        made.id.write_direct_chunk((0,) * len(shape), zlib.compress(bytes(size), 9))
    elif kind == 8:
        file[name] = h5py.ExternalLink(str(folder / rng.choice(["pipe", "other.h5"])), "/data")
    elif kind == 9:
        file[name] = h5py.SoftLink(rng.choice([f"/{name}", "/", "/nowhere", "/spare"]))
        file["spare"] = array
    elif kind == 10:
        layout = h5py.VirtualLayout(shape, "f4", maxshape=(None, *shape[1:]))
        other = str(folder / rng.choice(["pipe", "other.h5"]))
        layout[...] = h5py.VirtualSource(other, "data", shape)
        file.create_virtual_dataset(name, layout)
    elif kind == 11:
        other = str(folder / rng.choice(["pipe", "other.bin"]))
        file.create_dataset(name, shape, "f4", external=[(other, 0, h5py.h5f.UNLIMITED)])
    elif kind == 12:
        file[name] = np.full(shape, b"text")
    elif kind == 13:
        file.create_dataset(
            name, shape, h5py.string_dtype() if rng.random() < 0.5 else h5py.ref_dtype
        )
    elif kind == 14:
        file[name] = np.zeros(shape, [("a", "f4"), ("b", "S3")])
    elif kind == 15:
        file[name] = [h5py.Empty("f4"), np.float32(1), np.zeros(0, "f4")][rng.integers(3)]
    elif kind == 16:
        file.create_group(name)
    elif kind == 17:
        file[name] = np.dtype("f4")
    elif kind == 18:
        file[name] = array.reshape(-1) if rng.random() < 0.5 else array[..., None]
    else:
        file[name] = file["/"] if rng.random() < 0.5 else file[name.split("/")[0]]


def rewrite(file, name, rng):
    """Put something odd into an attribute of a group."""
    attributes = file[name].attrs
    key = ["layer_names", "weight_names", "mrcnn_config", "name"][rng.integers(4)]
    texts = [b"conv1", b"", b"\xff\xfe", b"../x", b"/", b".", b"a/b", "é".encode(), b"a\x1b[2J"]
    old = np.ravel(attributes[key]).tolist() if key in attributes else []
    kind = int(rng.integers(9))
    if kind == 0:
        attributes[key] = old + [texts[rng.integers(len(texts))]]
    elif kind == 1:
        attributes[key] = [texts[rng.integers(len(texts))] for _ in range(3)]
    elif kind == 2:
        attributes[key] = [1, 2.5, True, 3 + 1j][rng.integers(4)]
    elif kind == 3 and key in attributes:
        del attributes[key]
    elif kind == 4:
        attributes.create(key, ["a" * 1000] * 2000, dtype=h5py.string_dtype())
    elif kind == 5:
        attributes[key] = h5py.Empty("f4")
    elif kind == 6:
        attributes[key] = old * 2
    elif kind == 7:
        attributes.create(key, file[name].ref, dtype=h5py.ref_dtype)
    elif old:
        attributes[key] = rng.permutation(np.array(old)).tolist()


def change_structure(path, rng, folder):
    """Change an HDF5 file so that it is still one."""
    with h5py.File(path, "a") as file:
        groups, datasets = objects(file)
        for _ in range(int(rng.choice([1, 1, 2, 4]))):
            # HDF5 itself refuses some changes, such as a scalar in pieces.
            with contextlib.suppress(Exception):
                way, group = rng.random(), groups[rng.integers(len(groups))]
                if way < 0.6:
                    replace(file, datasets[rng.integers(len(datasets))], rng, folder)
                elif way < 0.9:
                    rewrite(file, group, rng)
                else:
                    del file[group]
                    other = h5py.ExternalLink(str(folder / "pipe"), "/")
                    file[group] = [other, h5py.SoftLink("/"), file["/"]][rng.integers(3)]


def change_archive(path, rng, folder):
    """Change the HDF5 file in an archive, or how it is packed."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    inner = path.with_suffix(".inner")
    inner.write_bytes(contents["model.weights.h5"])
    change_structure(inner, rng, folder)
    contents["model.weights.h5"] = inner.read_bytes()
    inner.unlink()
    contents["config.json"] = b'{"module": "os", "class_name": "system"}'
    kind = rng.integers(6)
    if kind == 0:
        del contents["model.weights.h5"]
    packed = zipfile.ZIP_DEFLATED if kind == 1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        if kind == 2:
            with archive.open("x/../../model.weights.h5", "w") as file:
                file.write(b"x")


def values(model):
    return [np.array(v) for v in [*model.variables, *model.optimizer.variables]]


@pytest.mark.filterwarnings("ignore:Duplicate name", "ignore:Skipping")
@pytest.mark.parametrize("way", ["bytes", "structure"])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_files(whole, tmp_path, kind, way):
    model, folder = whole
    rng = np.random.default_rng([SEED, KINDS.index(kind), way == "bytes"])
    content, path = (folder / kind).read_bytes(), tmp_path / kind
    (tmp_path / "other.bin").write_bytes(b"secret" * 100)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.ones(4, "f4")
    before, refused = values(model), 0
    for number in range(CASES // len(KINDS) // 2):
        if way == "bytes":
            path.write_bytes(mutate_bytes(content, rng))
        else:
            shutil.copy(folder / kind, path)
            change = change_archive if kind.endswith(".keras") else change_structure
            change(path, rng, tmp_path)
        # Only now, as the mutations themselves may read what earlier ones have made.
        os.mkfifo(tmp_path / "pipe")
        try:
            with guarded(tmp_path, (weights.WeightFileError, ValueError)) as errors:
                silent(weights.load, model, path)
            after = values(model)
            if errors:
                refused += 1
                assert str(path) in str(errors[0])
                for old, new in zip(before, after, strict=True):
                    np.testing.assert_array_equal(new, old)
            assert all(np.isfinite(value).all() for value in after)
            assert not any(
                np.array_equal(v.view("u1")[:6], list(b"secret")) for v in after if v.ndim
            )
        except AssertionError as error:
            raise AssertionError(f"case {number} of {kind}, {way}: {error}") from error
        (tmp_path / "pipe").unlink()
        if not errors:
            before = after
    assert refused > 0
