"""Numbers that are not finite, which a model must not hold."""

import numpy as np


def count_non_finite(array):
    """Return how many values of a float array are NaN or infinite."""
    with np.errstate(all="ignore"):
        # One pass without a second array. A sum can overflow, so it only proves the good case.
        if np.isfinite(np.sum(array)):
            return 0
        return int(np.size(array) - np.count_nonzero(np.isfinite(array)))


def non_finite_weights(variables):
    """Return `{path: number of values that are NaN or infinite}` of the variables that have any."""
    counts = {
        variable.path: count_non_finite(np.asarray(variable))
        for variable in variables
        if "float" in str(variable.dtype)
    }
    return {path: count for path, count in counts.items() if count}


def describe_non_finite(counts):
    """Return `"conv1/kernel" has 3 values that are NaN or infinite, and so have 2 others`."""
    (path, count), *others = counts.items()
    values = "1 value that is" if count == 1 else f"{count} values that are"
    rest = f", and {len(others)} more weights have some" if others else ""
    return f'"{path}" has {values} NaN or infinite{rest}'
