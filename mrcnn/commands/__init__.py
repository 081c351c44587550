"""The command line `mrcnn`: one module per command, thin calls of the Python API.

A command is a module `mrcnn/commands/<name>.py`, named in `COMMANDS`, with

    SUMMARY             one line for `mrcnn --help`, which ends with a full stop
    EXAMPLES            lines for the end of `mrcnn <name> --help`
    add(parser)         adds the arguments to an `argparse.ArgumentParser`; `--json` is there
    run(args)           does the work and returns an `Outcome`, or None

`run` prints for people with `print`. With `--json` all that is printed goes to standard error, and
`main` writes `Outcome.document` as one JSON object to standard output. Errors of the kinds in
`ERRORS` end the command with their sentence and status 1; wrong arguments that only `run` can see
call `args.error("...")`, status 2. All modules are imported for `--help`: TensorFlow, Keras and
other heavy libraries are imported in functions.
"""

import argparse
import contextlib
import importlib
import io
import os
import sys
import warnings

from mrcnn import __version__
from mrcnn.commands.outcome import ERRORS, Outcome, as_json
from mrcnn.files import one_line

COMMANDS = (
    *("train", "predict", "evaluate", "validate", "export", "convert", "download", "benchmark"),
    "info",
)

_EXAMPLES = """\
examples:
  mrcnn train photos/ --preset small
  mrcnn predict photos/new/ --weights last
  mrcnn COMMAND --help
"""


def main(argv=None):
    """Run one command line of `mrcnn`.

    Args:
        argv: list of arguments; None for those of the program.

    Returns:
        The exit status: 0; 1 after an error in a file or value, and where the command says so; 130
        after Ctrl-C.

    Raises:
        SystemExit: by argparse, with 0 after `--help` and 2 for wrong arguments.
    """
    args = _parser().parse_args(argv)
    name = f"mrcnn {args.command}"
    # Libraries print what they do; programs read one JSON object.
    printed = contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext()
    try:
        with _short_warnings(name), printed:
            outcome = args.run(args) or Outcome()
        if args.json:
            print(as_json(outcome.document))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{name}: stopped by Ctrl-C.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain at its end.
        _close_output()
        return 1
    except ERRORS as error:
        print(f"{name}: {_sentence(error)}", file=sys.stderr)
        return 1
    return outcome.status


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="mrcnn",
        description="Mask R-CNN: train on a folder of photos, detect, evaluate, export.",
        epilog=_EXAMPLES,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"mrcnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"mrcnn.commands.{name}")
        epilog = f"examples:\n{module.EXAMPLES}"
        sub = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=epilog,
            formatter_class=raw,
        )
        module.add(sub)
        sub.add_argument(
            "--json",
            action="store_true",
            help="write one JSON object to standard output, all else to standard error",
        )
        sub.set_defaults(run=module.run, error=sub.error)
    return parser


@contextlib.contextmanager
def _short_warnings(name):
    """Show warnings as one line without the place in the code."""

    def show(message, category, filename, lineno, file=None, line=None):
        print(f"{name}: warning: {one_line(message, 1000)}", file=file or sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _sentence(error):
    """Return the text of an error as one line."""
    # str() of a KeyError-like OSError from the system names errno first.
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f'"{error.filename}": {error.strerror}.'
    return one_line(error, 4000)


def _close_output():
    with contextlib.suppress(OSError, ValueError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
