"""What `find_last` returned in version 2.0 of Matterport's library: a pair."""

import os


class CheckpointPath(str):
    """A path whose items 0 and 1 are the folder of the run and the path, as in the old pair.

    Everything else is as in `str`: slices, other items, iteration, `len` and comparison.
    """

    __slots__ = ()

    def __getitem__(self, item):
        if isinstance(item, int) and item in (0, 1):
            return (os.path.dirname(self), str(self))[item]
        return super().__getitem__(item)
