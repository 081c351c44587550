"""State dicts in pickles: NumPy arrays and containers, and the names that pickles have for them."""

from mrcnn.files import one_line
from mrcnn.weights.pickles import Admitted, Ignored, Machine
from mrcnn.weights.stored import TYPES, Span, StoredTensor, strides_of

# Where programs put the state dict; the first is Detectron2's and torchvision's, "blobs" Caffe2's.
_WRAPPERS = ("model", "state_dict", "model_state", "model_state_dict", "blobs")
_MAX_NAME = 1000
_KINDS = {dtype.str[1:]: name for name, dtype in TYPES.items() if name != "bfloat16"}
_BYTE_ORDERS = {"<": False, ">": True, "=": False, "|": False}


class _Type(Ignored):
    """A `numpy.dtype`; its state is the order of the bytes."""

    def __init__(self, code, *flags):
        if type(code) is not str or code not in _KINDS:
            shown = code[:20] if type(code) is str else type(code).__name__
            raise TypeError(f"an array of NumPy's type {shown!r}, which is no number")
        self.kind, self.is_big_endian = _KINDS[code], False

    def build(self, state):
        order = state[1]
        # Python finds a tuple of many tuples in a dict only at the cost of its stack.
        if type(order) is not str:
            raise TypeError("an order of bytes that is no text")
        self.is_big_endian = _BYTE_ORDERS[order]


class Array:
    """A NumPy array as its pickle describes it."""

    def __init__(self, kind=None, shape=(), content=b"", strides=None):
        self._parts = kind, shape, content, strides

    def build(self, state):
        """Take the version, shape, type, order and content."""
        _, shape, kind, is_fortran, content = state
        self._parts = kind, shape, content, strides_of(shape, "F" if is_fortran else "C")

    def stored(self, is_big_endian=False):
        """Return the `StoredTensor`; ValueError or TypeError if it cannot be one."""
        kind, shape, content, strides = self._parts
        if type(kind) is not _Type or type(shape) is not tuple:
            raise TypeError("an array without type or shape")
        if isinstance(content, str):
            content = content.encode("latin-1")
        if not isinstance(content, Span | bytes):
            raise TypeError("an array of Python objects")
        return StoredTensor(content, shape, kind.kind, strides, 0, kind.is_big_endian)


def _new_array(kind, shape, code):
    if kind is not _NDARRAY:
        raise TypeError("an array of another class than numpy.ndarray")
    return Array()


def _from_buffer(content, kind, shape, order, axes=None):
    """Return an array of the newer protocol. `axes` is the order of the axes after a transpose."""
    strides = strides_of(shape, order)
    if axes is not None:
        shape, strides = tuple(shape[axis] for axis in axes), [strides[axis] for axis in axes]
    return Array(kind, shape, content, strides)


def _encode(text, encoding="utf-8"):
    """Return the bytes that Python 3 wrote as text for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("bytes in another encoding than Latin-1")
    return text if isinstance(text, Span) else text.encode("latin-1")


def _no_bytes():
    """Return what Python 3 writes for Python 2 in place of empty bytes."""
    return b""


def _ordered_dict(items=()):
    """Return a dict of `[[key, value], ...]`, as Python 2 wrote them."""
    result = {}
    for key, value in items:
        if type(key) is not str:
            raise TypeError("a dict with keys that are no texts")
        result[key] = value
    return result


def _ignored(*arguments):
    return Ignored()


def _new_dict(*arguments):
    return {}


_NDARRAY = Admitted("numpy.ndarray")
_CORES = ("numpy.core", "numpy._core")

# What torch's pickles may have as well.
ADMITTED = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": Admitted("numpy.dtype", _Type),
    **{f"{core}.multiarray._reconstruct": Admitted("_reconstruct", _new_array) for core in _CORES},
    **{
        f"{core}.multiarray.scalar": Admitted("scalar", lambda kind, raw: Array(kind, (), raw))
        for core in _CORES
    },
    **{f"{core}.numeric._frombuffer": Admitted("_frombuffer", _from_buffer) for core in _CORES},
    "_codecs.encode": Admitted("_codecs.encode", _encode),
    "collections.OrderedDict": Admitted("OrderedDict", _ordered_dict),
    # In checkpoints of trainings, beside the weights.
    "collections.Counter": Admitted("Counter", _ignored),
    "collections.defaultdict": Admitted("defaultdict", _new_dict),
    "argparse.Namespace": Admitted("argparse.Namespace", _ignored),
    **{f"{module}.bytes": Admitted("bytes", _no_bytes) for module in ("builtins", "__builtin__")},
    **{
        f"{module}.{name}": Admitted(name, _ignored)
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "list", "dict")
    },
}


def read_pickle(source):
    """Return the tensors of a pickle and what else it says, see `collected`."""
    with source.opened() as file:
        return collected(source, Machine(source, file, 0, source.size, ADMITTED).load())


def collected(source, top, is_big_endian=False):
    """Return `({name: StoredTensor}, {name: value})` of a state dict, or of a dict that has one.

    Args:
        source: the `SourceFile`.
        top: what a pickle made.
        is_big_endian: the order of bytes, where arrays do not have their own.

    Returns:
        The tensors, and the plain values (texts, numbers) beside the state dict.

    Raises:
        WeightFileError: there is no state dict, or an entry of it is damaged.
    """
    if type(top) is not dict:
        raise source.error(
            f"holds {_article(top)}, not a state dict. Save model.state_dict(), or a dict that has "
            'it as "model"'
        )
    state = next((top[key] for key in _WRAPPERS if type(top.get(key)) is dict), None)
    plain = (str, int, float, bool)
    beside = {} if state is None else top
    metadata = {k: v for k, v in beside.items() if type(k) is str and type(v) in plain}
    tensors = {}
    for name, value in (top if state is None else state).items():
        if not hasattr(value, "stored"):
            continue
        if type(name) is not str or not name.isprintable() or len(name) > _MAX_NAME:
            raise source.error(f"has a tensor with the name {str(name)[:100]!r}, which is none")
        try:
            tensors[name] = value.stored(is_big_endian)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
            raise source.error(f'has in "{name[:100]}": {one_line(error)}') from error
    if not tensors:
        keys = ", ".join(repr(key[:50]) for key in list(top)[:5] if type(key) is str)
        raise source.error(f"has no tensors; at its top it has: {keys or 'nothing'}")
    return tensors, metadata


def _article(value):
    return f"a single {type(value).__name__}"
