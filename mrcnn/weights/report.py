"""The record of loading weights: what became of each layer."""

from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """Names of layers: loaded (and adapted), skipped with the reason, missing, unused."""

    path: str
    loaded: list = field(default_factory=list)
    adapted: list = field(default_factory=list)
    skipped: dict = field(default_factory=dict)
    mismatched: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)
    unused: list = field(default_factory=list)

    @property
    def untrained(self):
        """Layers of the model that keep the values they had."""
        return [*self.skipped, *self.mismatched, *self.missing]

    def mismatch_message(self, their_classes, our_classes):
        """The sentence for layers whose shapes differ."""
        names = list(self.mismatched)
        listed = ", ".join(f'"{name}"' for name in names)
        if their_classes and our_classes and their_classes != our_classes:
            return (
                f'The checkpoint "{self.path}" has {their_classes} classes and the Config has '
                f"{our_classes}: pass exclude=[{listed}] to train these layers for your classes, "
                f"or set NUM_CLASSES = {their_classes} to use the checkpoint as it is."
            )
        theirs, ours = self.mismatched[names[0]]
        return (
            f'The checkpoint "{self.path}" does not fit the model in {listed}: "{names[0]}" has '
            f"shapes {theirs} in the file and {ours} in the model. Set BACKBONE and the sizes of "
            "the layers as they were in training, or pass these names as exclude=[...]."
        )

    def __str__(self):
        rows = [("loaded", len(self.loaded), "")]
        rows += [("adapted to the image channels", 1, name) for name in self.adapted]
        groups = {}
        for name, reason in self.skipped.items():
            groups.setdefault(f"skipped, {reason}", []).append(name)
        groups["skipped, other shape"] = list(self.mismatched)
        groups["not in the file"] = self.missing
        groups["not in the model"] = self.unused
        rows += [(what, len(names), _some(names)) for what, names in groups.items() if names]
        lines = [f"Weights from {self.path}"]
        lines += [f"  {what:<30}{count:>5} layers  {names}".rstrip() for what, count, names in rows]
        return "\n".join(lines)


def _some(names, most=8):
    rest = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
