"""Run notebooks and keep their outputs, small: python notebooks/keep_outputs.py [inspect_data ...]

Without names, all of them. The hash of the code that made the outputs is kept, too, so that a test
can tell old ones. Pictures become at most 900 pixels wide. What the libraries log,
and times and folders of this machine, are left out. Needs `pip install -e ".[notebooks]"`.
"""

import base64
import hashlib
import io
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
SIZE, COLORS = (900, 600), 128


def code_hash(notebook):
    """Return a hash of the code cells of a notebook, as read from its JSON."""
    cells = (cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    # A file has lists of lines where nbformat has whole texts.
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    return hashlib.sha256(code.encode()).hexdigest()


def small_picture(png):
    """Return the type and base64 text of a picture with fewer pixels, PNG or JPEG."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image.thumbnail(SIZE)
    files = {"image/png": io.BytesIO(), "image/jpeg": io.BytesIO()}
    # Charts are smaller as PNG, photos as JPEG.
    image.quantize(COLORS).save(files["image/png"], "png", optimize=True)
    image.save(files["image/jpeg"], "jpeg", quality=80, optimize=True)
    kind = min(files, key=lambda kind: len(files[kind].getvalue()))
    return kind, base64.b64encode(files[kind].getvalue()).decode()


def joined(outputs):
    """Join texts in a row to one output, as a line that is drawn over comes in many."""
    texts = []
    for output in outputs:
        name = output.get("name")
        if texts and name is not None and texts[-1].get("name") == name:
            texts[-1]["text"] += output["text"]
        elif name != "stderr":
            texts.append(output)
    return texts


def tidy(output):
    """Change an output for keeping, and return it."""
    if "text" in output:
        # Of a line that was drawn over, the last state is kept.
        text = re.sub(r"[^\n]*\r(?=[^\n])", "", output["text"])
        output["text"] = text.replace(f"{FOLDER.resolve().parent}/", "")
    if "image/png" in output.get("data", {}):
        kind, picture = small_picture(output["data"].pop("image/png"))
        output["data"][kind] = picture
    return output


def keep_outputs(path):
    """Run a notebook in its folder, and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": FOLDER}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [tidy(output) for output in joined(cell.outputs)]
    # Keras and Python write their versions into the metadata; those of the repository stay.
    notebook.metadata = nbformat.read(path, as_version=4).metadata
    notebook.metadata["mrcnn"] = {"outputs_of": code_hash(notebook)}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        print(name, flush=True)
        keep_outputs(FOLDER / f"{name}.ipynb")
