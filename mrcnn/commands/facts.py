"""What weight files, runs and exported models say of themselves."""

import json
import os
import zipfile
from pathlib import Path

from mrcnn.files import one_line

# Of the metadata of an exported file.
_MOST_BYTES = 1 << 24
# Where a SavedModel keeps files that TensorFlow does not read.
_SAVED_MODEL = Path("assets.extra", "metadata.json")
# Of the zip archive at the end of a `.tflite` file.
_LITERT = "metadata.json"


def facts_of(path):
    """Return the facts about a file or a folder.

    Args:
        path: a weight file of any program, the folder of a run or of runs, or an exported model.

    Returns:
        A dict of "path" and "kind", texts; of "config", "class_names", "versions", "training",
        "metrics" and "export" those that are known; of a run also "checkpoints" and "epoch".

    Raises:
        FileNotFoundError, ValueError: one sentence on what is missing, or damaged.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'There is no file or folder "{path}".')
    reader = _EXPORTED.get(path.suffix.lower())
    if path.is_dir() and (path / "saved_model.pb").is_file():
        reader = _saved_model
    if reader:
        return _exported(path, *reader(path))
    return _run(path) if path.is_dir() else _weights(path)


def _run(path):
    from mrcnn.runs.run import CONFIG_FILE, checkpoints_at
    from mrcnn.runs.settings import read_facts

    try:
        found = checkpoints_at(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} mrcnn validate reports on photos.") from None
    folder = os.path.dirname(found[0])
    try:
        facts = read_facts(found[0])
    except ValueError:
        # The newest may be damaged, and runs of the original hold no settings.
        facts = _weights(Path(found[0])) if not Path(folder, CONFIG_FILE).is_file() else {}
    names = [os.path.basename(each) for each in found]
    return facts | {"path": folder, "kind": "run", "checkpoints": names}


def _weights(path):
    from mrcnn.runs.imported import classes_of
    from mrcnn.runs.settings import read_facts
    from mrcnn.weights import is_foreign, matterport

    if is_foreign(path):
        return _foreign(path)
    is_h5 = matterport.recognises(path)
    if is_h5 and "config" not in matterport.read_metadata(path):
        count, names = classes_of(path)
        settings = matterport.settings_of(path)
        kind = "weights in the layout of the original, without settings"
        return {"path": path, "kind": kind, "config": settings, "class_names": names}
    kind = "weights of this package" if is_h5 else "weights of Keras"
    return {"path": path, "kind": kind} | read_facts(str(path))


def _foreign(path):
    from mrcnn.runs.imported import classes_of
    from mrcnn.weights import own_metadata, settings_of, tensor_files

    settings, is_detector = settings_of(path)
    found = tensor_files.read_tensors(path)
    what = "a Mask R-CNN" if is_detector else "an ImageNet classifier, for the backbone alone"
    facts = {"path": path, "kind": f"weights of {what} ({found.format} file)", "config": settings}
    own = {n: t for n, t in _parsed(path, own_metadata(found.metadata)).items() if n != "config"}
    return facts | {"class_names": classes_of(path)[1] if is_detector else None} | own


def _exported(path, kind, texts):
    """Return the facts in the metadata of an exported file."""
    if "config" not in texts:
        raise ValueError(f'"{path}" is {kind} without facts: mrcnn export did not write it.')
    return {"path": path, "kind": kind} | _parsed(path, texts)


def _parsed(path, texts):
    """Return the values of `{name: JSON}`, of files that anyone may have written."""
    from mrcnn.runs.provenance import check_provenance

    try:
        facts = {str(name): json.loads(text) for name, text in texts.items()}
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f'The facts in "{path}" are not JSON ({one_line(error)}).') from error
    check_provenance(path, facts)
    names = facts.get("class_names")
    is_names = names is None or (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    )
    if not is_names or not isinstance(facts.get("config", {}), dict):
        raise ValueError(f'The facts in "{path}" are not those of a model.')
    return facts


def _saved_model(path):
    file = path / _SAVED_MODEL
    if not file.is_file() or file.stat().st_size > _MOST_BYTES:
        return "a SavedModel", {}
    try:
        texts = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'"{file}" is not JSON ({one_line(error)}).') from error
    return "a SavedModel", texts if isinstance(texts, dict) else {}


def _onnx(path):
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "Reading ONNX files needs the package onnx: pip install mrcnn[export]."
        ) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    # protobuf has an error class of its own.
    except Exception as error:
        raise ValueError(f'"{path}" is not an ONNX file ({one_line(error)}).') from error
    return "an ONNX model", {prop.key: prop.value for prop in model.metadata_props}


def _openvino(path):
    from defusedxml import ElementTree

    try:
        root = ElementTree.parse(path).getroot()
    # Of defusedxml for entities, of the parser for all else.
    except Exception as error:
        raise ValueError(f'"{path}" is not an OpenVINO model ({one_line(error)}).') from error
    found = root.find("rt_info/mrcnn")
    texts = {} if found is None else {part.tag: part.get("value", "") for part in found}
    return "an OpenVINO model", texts


def _litert(path):
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_LITERT) as file:
            text = file.read(_MOST_BYTES + 1)
        texts = json.loads(text) if len(text) <= _MOST_BYTES else {}
    # A file of LiteRT without an archive behind it, or without this entry.
    except (zipfile.BadZipFile, KeyError):
        texts = {}
    # Damaged archives raise errors of a dozen kinds.
    except Exception as error:
        raise ValueError(f'The archive in "{path}" is damaged ({one_line(error)}).') from error
    return "a LiteRT model", texts if isinstance(texts, dict) else {}


_EXPORTED = {".onnx": _onnx, ".xml": _openvino, ".tflite": _litert}
