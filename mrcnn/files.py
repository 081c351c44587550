"""Writing files whole: under a temporary name first, then renamed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside `path`; that file replaces `path` when the block ends.

    If the block raises, KeyboardInterrupt included, the temporary file is removed and `path` stays
    as it was. The temporary name keeps the suffix, by which some writers choose their format, and
    is a name only: the block creates the file, so it gets the usual permissions.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
