"""The command line `mrcnn`; each command is a module."""


def main(argv=None):
    """Run one command line of `mrcnn`."""
    raise NotImplementedError
