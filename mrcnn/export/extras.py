"""Packages of the extra `export`, imported when they are needed."""

import importlib


def needed(*names):
    """Return modules of optional packages.

    Raises:
        ImportError: one sentence that says how to install them.
    """
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            missing = (error.name or name).partition(".")[0]
            raise ImportError(
                f"This export needs the package {missing}, which is not installed; "
                'pip install "mrcnn[export]" installs it.',
                name=missing,
            ) from None
    return modules[0] if len(modules) == 1 else modules
