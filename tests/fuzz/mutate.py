"""Seeded mutations: of bytes, and of trees of JSON."""

import copy

# Values that annotation tools, scripts and attackers put where something else belongs.
ODD = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 0.5, -0.0, 1e308, -1e308,
    float("nan"), float("inf"), "", " ", "3", "1e3", "nan", "\x00", "../../etc/passwd",
    "/dev/zero", "/proc/self/mem", "C:\\x.png", "é" * 300, "a" * 5000, [], {}, [[]], [None],
    [1, [2, [3]]], {"": None}, {"a": {"b": {}}}, [0.0] * 7, ["1", "2", "3"], [1e7] * 8, [-1e7] * 6,
    5e-324, 1e6, -999999.5, 2**53, 4294967296, "\ud800", "\x1b[2J\n", ".", "/", "0",
    "o" * 3000, [True] * 6, [0, 1e6, 31, -1e6, 1e6, 3],
    [[1, 2], [30, "4"], [5, 9]], [[10**400, 1], [-(10**400), 2], [3, 9.5]],
    {"size": [24, 32], "counts": "o" * 40}, {"size": [24.0, True], "counts": [768]},
    {"size": [24, 32], "counts": [-1, 769]}, {"size": [24, 32], "counts": "Q" + "P" * 9 + "H"},
]  # fmt: skip


def mutate_bytes(data, rng):
    """Return damaged bytes: flipped, overwritten, cut, doubled, moved or filled parts."""
    data = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 4, 16]))):
        if not data:
            return b""
        at = int(rng.integers(len(data)))
        length = int(min(len(data) - at, rng.choice([1, 2, 4, 8, 64, 1024])))
        kind = rng.integers(7)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + length] = rng.bytes(length)
        elif kind == 2:
            data[at : at + length] = rng.choice([b"\x00", b"\xff", b"\x7f", b"\x80"]) * length
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif kind == 5:
            source = int(rng.integers(len(data)))
            data[at : at + length] = data[source : source + length]
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)


def _places(tree, found):
    """Collect `(container, key)` of every value below a tree, without recursion."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(items):
            found.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def mutate_tree(tree, rng):
    """Return a copy of a JSON tree, one to four values replaced, removed, doubled or swapped."""
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4]))):
        places = _places(tree, [])
        if not places:
            break
        parent, key = places[rng.integers(len(places))]
        kind = rng.integers(10)
        if kind < 6:
            parent[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
        elif kind == 6:
            del parent[key]
        elif kind == 7 and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[key]))
        elif kind == 7:
            parent[f"{key}2"] = copy.deepcopy(parent[key])
        else:
            other, other_key = places[rng.integers(len(places))]
            parent[key] = copy.deepcopy(other[other_key])
    return tree
