"""`python -m mrcnn` is the command `mrcnn`."""

import sys

from mrcnn.commands import main

if __name__ == "__main__":
    sys.exit(main())
