"""Run notebooks and keep their outputs, small: python notebooks/keep_outputs.py inspect_data ...

Pictures become at most 900 pixels wide with 64 colours. What the libraries log, and times and
folders of this machine, are left out. Needs `pip install -e ".[notebooks]"`.
"""

import base64
import io
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
SIZE, COLORS = (900, 600), 64


def small_picture(png):
    """Return a base64 PNG with fewer pixels and colours."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image.thumbnail(SIZE)
    file = io.BytesIO()
    image.quantize(COLORS).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def tidy(output):
    """Change an output for keeping; return False for one to leave out."""
    if output.get("name") == "stderr":
        return False
    if "text" in output:
        # Of a line that was drawn over, the last state is kept.
        text = re.sub(r"[^\n]*\r(?=[^\n])", "", output["text"])
        output["text"] = text.replace(f"{FOLDER.resolve().parent}/", "")
    if "image/png" in output.get("data", {}):
        output["data"]["image/png"] = small_picture(output["data"]["image/png"])
    return True


def keep_outputs(path):
    """Run a notebook in its folder, and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": FOLDER}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if tidy(output)]
    # Keras and Python write their versions into the metadata; those of the repository stay.
    notebook.metadata = nbformat.read(path, as_version=4).metadata
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        keep_outputs(FOLDER / f"{name}.ipynb")
