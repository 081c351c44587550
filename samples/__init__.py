"""The samples as part of the installed package: `python -m mrcnn.samples.coco train ...`."""

import runpy
import sys
from pathlib import Path


def run(name):
    """Run the script of a sample as `python samples/<name>/<name>.py` does."""
    folder = Path(__file__).parent / name
    # Python puts the folder of a script first, for the modules beside it.
    sys.path.insert(0, str(folder))
    sys.argv[0] = str(folder / f"{name}.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
