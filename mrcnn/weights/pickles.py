"""Pickles without running anything: a machine that knows plain values and a closed list of names.

Python's own unpickler imports and calls what a file names. This one only makes numbers, texts,
lists and dicts; a name in the file stands for an object of this package, or is an error. Nothing
is imported, no attribute is set, and long contents stay in the file until they are read.
"""

import pickle
import struct

from mrcnn.weights.stored import Span

_MAX_STEPS = 1 << 20
# Longer texts and bytes stay in the file.
_SHORT = 4096
_MAX_INTEGER_BYTES = 16
_MAX_NUMBERED = 4096
_LOWEST_PROTOCOL, _HIGHEST_PROTOCOL = 2, 5

_KEYS = (str, int, float, bytes, bool, type(None))
_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False}
_EMPTY = {
    pickle.EMPTY_TUPLE: tuple,
    pickle.EMPTY_LIST: list,
    pickle.EMPTY_DICT: dict,
    pickle.EMPTY_SET: list,
}
_NUMBERS = {
    pickle.BININT: "<i",
    pickle.BININT1: "<B",
    pickle.BININT2: "<H",
    pickle.BINFLOAT: ">d",
}
_TUPLES = {pickle.TUPLE1: 1, pickle.TUPLE2: 2, pickle.TUPLE3: 3}
# The format of the length, and the encoding of the content.
_CONTENTS = {
    pickle.SHORT_BINUNICODE: ("<B", "utf-8"),
    pickle.BINUNICODE: ("<I", "utf-8"),
    pickle.BINUNICODE8: ("<Q", "utf-8"),
    # Texts and bytes of Python 2.
    pickle.SHORT_BINSTRING: ("<B", "latin-1"),
    pickle.BINSTRING: ("<i", "latin-1"),
    pickle.SHORT_BINBYTES: ("<B", None),
    pickle.BINBYTES: ("<I", None),
    pickle.BINBYTES8: ("<Q", None),
    pickle.BYTEARRAY8: ("<Q", None),
}
_PUTS = {pickle.BINPUT: "<B", pickle.LONG_BINPUT: "<I"}
_GETS = {pickle.BINGET: "<B", pickle.LONG_BINGET: "<I"}
_LONGS = {pickle.LONG1: "<B", pickle.LONG4: "<i"}


class Admitted:
    """What a name in a pickle stands for.

    Args:
        name: as in the pickle, "torch.FloatStorage".
        call: makes a value from arguments; None if a pickle may only mention the name.
        value: anything that the name means.
    """

    def __init__(self, name, call=None, value=None):
        self.name, self.call, self.value = name, call, value


class Ignored:
    """An object whose contents do not matter."""

    def build(self, state):
        """Take the state of the object, and forget it."""


class Machine:
    """The stack and the memory that a pickle works on.

    Args:
        source: the `SourceFile`.
        file: the same, open for reading bytes.
        start, end: places of the pickle in it; it may end before `end`.
        admitted: `{name: Admitted}`.
        persistent: makes a value from a persistent id; None if the pickle may have none.

    Attributes:
        at: place in the file after what was read.
    """

    def __init__(self, source, file, start, end, admitted, persistent=None):
        self.at = start
        self._source, self._file, self._end = source, file, end
        self._admitted, self._persistent = admitted, persistent
        self._stack, self._marks, self._memory = [], [], {}
        file.seek(start)

    def load(self):
        """Return what the pickle makes.

        Raises:
            WeightFileError: it has a name that is not admitted, or is no such pickle. Others are
                raised by damaged content: IndexError, KeyError, TypeError, ValueError.
        """
        for _ in range(_MAX_STEPS):
            code = self._read(1)
            if code == pickle.STOP:
                (result,) = self._stack
                return result
            step = _STEPS.get(code)
            if step is None:
                raise self._source.error(
                    f"has the pickle code {code!r}, which no file of weights of the protocols 2 to "
                    "5 needs"
                )
            step(self, code)
        raise self._source.error(
            f"takes more than {_MAX_STEPS} steps to unpickle, too many for a file of weights"
        )

    def _read(self, length):
        if not 0 <= length <= self._end - self.at:
            raise ValueError("the pickle ends within a value")
        self.at += length
        return self._file.read(length)

    def _number(self, form):
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _line(self):
        line = self._file.readline(1000)
        self.at += len(line)
        if self.at > self._end or not line.endswith(b"\n"):
            raise ValueError("the pickle ends within a name")
        return line[:-1].decode()

    def _protocol(self, code):
        protocol = self._number("<B")
        if not _LOWEST_PROTOCOL <= protocol <= _HIGHEST_PROTOCOL:
            raise self._source.error(f"is a pickle of protocol {protocol}; 2 to 5 are read")

    def _skip_frame(self, code):
        self._number("<Q")

    def _push_constant(self, code):
        self._stack.append(_CONSTANTS[code])

    def _push_empty(self, code):
        self._stack.append(_EMPTY[code]())

    def _push_number(self, code):
        self._stack.append(self._number(_NUMBERS[code]))

    def _push_integer(self, code):
        length = self._number(_LONGS[code])
        if length > _MAX_INTEGER_BYTES:
            raise ValueError(f"a whole number of {length} bytes")
        self._stack.append(int.from_bytes(self._read(length), "little", signed=True))

    def _push_content(self, code):
        form, encoding = _CONTENTS[code]
        length = self._number(form)
        if length <= _SHORT:
            content = self._read(length)
            self._stack.append(content if encoding is None else content.decode(encoding))
            return
        if length > self._end - self.at:
            raise ValueError("the pickle ends within a value")
        self._stack.append(Span(self._source, self.at, length, encoding == "utf-8"))
        self.at += length
        self._file.seek(self.at)

    def _mark(self, code):
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self):
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _pop(self, code):
        # Python drops a mark in this way as well.
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, code):
        self._since_mark()

    def _short_tuple(self, code):
        length = _TUPLES[code]
        items = self._stack[-length:]
        if len(items) != length:
            raise ValueError("the pickle lacks values for a tuple")
        self._stack[-length:] = [tuple(items)]

    def _tuple(self, code):
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _list(self, code):
        items = self._since_mark()
        self._stack.append(items)

    def _dict(self, code):
        items = self._since_mark()
        self._stack.append(_filled({}, items))

    def _append(self, code):
        value = self._stack.pop()
        _checked(self._stack[-1], list).append(value)

    def _extend(self, code):
        items = self._since_mark()
        _checked(self._stack[-1], list).extend(items)

    def _set_item(self, code):
        value, key = self._stack.pop(), self._stack.pop()
        _filled(_checked(self._stack[-1], dict), [key, value])

    def _set_items(self, code):
        items = self._since_mark()
        _filled(_checked(self._stack[-1], dict), items)

    def _put(self, code):
        self._memory[self._number(_PUTS[code])] = self._stack[-1]

    def _memoize(self, code):
        self._memory[len(self._memory)] = self._stack[-1]

    def _get(self, code):
        self._stack.append(self._memory[self._number(_GETS[code])])

    def _push_global(self, code):
        module = self._line()
        self._stack.append(self._find(module, self._line()))

    def _push_stack_global(self, code):
        name, module = _checked(self._stack.pop(), str), _checked(self._stack.pop(), str)
        self._stack.append(self._find(module, name))

    def _find(self, module, name):
        full = f"{module}.{name}"
        found = self._admitted.get(full)
        if found is None:
            raise self._source.error(
                f"names {full[:200]!r}, which is no part of weights; nothing in it was run. "
                f"{_advice(full)}"
            )
        return found

    def _call(self, code):
        arguments, function = _checked(self._stack.pop(), tuple), self._stack.pop()
        if _checked(function, Admitted).call is None:
            raise self._source.error(f"calls {function.name}, which is no function")
        self._stack.append(function.call(*arguments))

    def _build(self, code):
        state, target = self._stack.pop(), self._stack[-1]
        # The attributes of a dict, such as the versions of a state dict, do not matter.
        if not isinstance(target, dict):
            target.build(state)

    def _push_persistent(self, code):
        if self._persistent is None:
            raise self._source.error("refers to values outside the pickle")
        self._stack.append(self._persistent(self._stack.pop()))


def _checked(value, kind):
    """Return a value of a type; TypeError for another one. A subclass may do things of its own."""
    if type(value) is not kind:
        raise TypeError(f"the pickle has a {type(value).__name__} in place of a {kind.__name__}")
    return value


def _filled(target, items):
    """Return a dict after keys and values, in turn, were put into it."""
    keys = items[::2]
    # Tuples in tuples take very long to compare, and so do many numbers that were chosen for it.
    if len(items) % 2 or not all(type(key) in _KEYS for key in keys):
        raise TypeError("the pickle has a dict with keys that are no texts or numbers")
    is_large = len(target) + len(keys) > _MAX_NUMBERED
    if is_large and not all(type(key) is str for key in keys):
        raise ValueError(f"the pickle has a dict of over {_MAX_NUMBERED} keys that are no texts")
    target.update(zip(keys, items[1::2], strict=True))
    return target


def _advice(name):
    if name.startswith(("torch.nn.", "torchvision.", "detectron2.", "__torch__.", "__main__.")):
        return "It holds a whole model: save model.state_dict() instead"
    return "Save the weights alone, or use a file from a source that you trust"


_STEPS = {
    pickle.PROTO: Machine._protocol,
    pickle.FRAME: Machine._skip_frame,
    **dict.fromkeys(_CONSTANTS, Machine._push_constant),
    **dict.fromkeys(_EMPTY, Machine._push_empty),
    **dict.fromkeys(_NUMBERS, Machine._push_number),
    **dict.fromkeys(_LONGS, Machine._push_integer),
    **dict.fromkeys(_CONTENTS, Machine._push_content),
    pickle.MARK: Machine._mark,
    pickle.POP: Machine._pop,
    pickle.POP_MARK: Machine._pop_mark,
    **dict.fromkeys(_TUPLES, Machine._short_tuple),
    pickle.TUPLE: Machine._tuple,
    pickle.LIST: Machine._list,
    pickle.DICT: Machine._dict,
    pickle.APPEND: Machine._append,
    pickle.APPENDS: Machine._extend,
    pickle.ADDITEMS: Machine._extend,
    pickle.SETITEM: Machine._set_item,
    pickle.SETITEMS: Machine._set_items,
    **dict.fromkeys(_PUTS, Machine._put),
    pickle.MEMOIZE: Machine._memoize,
    **dict.fromkeys(_GETS, Machine._get),
    pickle.GLOBAL: Machine._push_global,
    pickle.STACK_GLOBAL: Machine._push_stack_global,
    pickle.REDUCE: Machine._call,
    # `cls.__new__(cls, *arguments)`; the classes that are admitted make no difference.
    pickle.NEWOBJ: Machine._call,
    pickle.BUILD: Machine._build,
    pickle.BINPERSID: Machine._push_persistent,
}
