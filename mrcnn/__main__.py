"""`python -m mrcnn` is the command `mrcnn`."""

from mrcnn.commands import main

if __name__ == "__main__":
    main()
