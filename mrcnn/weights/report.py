"""The record of loading weights."""

from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """Names of layers by what happened to them.

    Attributes:
        path: of the file.
        loaded, adapted: loaded; of these, adapted to another number of image channels.
        skipped: `{name: reason}`.
        mismatched: `{name: (shapes in the file, shapes in the model)}`.
        missing, unused: of the model and not in the file; of the file and not in the model.
        settings: of a state dict of another program, see `architecture.settings_of`.
        program, names, extras: of such a state dict of a detector, for the way back: its program,
            the names of its tensors, and those that the model has no use for, by name.
        metadata: `{name: text}` that this package wrote into the file.
    """

    path: str
    loaded: list = field(default_factory=list)
    adapted: list = field(default_factory=list)
    skipped: dict = field(default_factory=dict)
    mismatched: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)
    unused: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    program: str | None = None
    names: tuple = ()
    extras: dict = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)

    @property
    def untrained(self):
        """Layers of the model whose weights were not loaded."""
        return [*self.skipped, *self.mismatched, *self.missing]

    def mismatch_message(self, their_classes, our_classes):
        """Return the sentence for layers whose shapes differ."""
        listed = ", ".join(f'"{name}"' for name in self.mismatched)
        if their_classes and our_classes and their_classes != our_classes:
            return (
                f'The checkpoint "{self.path}" has {their_classes} classes and the Config has '
                f"{our_classes}: pass exclude=[{listed}] to train these layers for your classes, "
                f"or set NUM_CLASSES = {their_classes} to use the checkpoint as it is."
            )
        name, (theirs, ours) = next(iter(self.mismatched.items()))
        return (
            f'The checkpoint "{self.path}" does not fit the model in {listed}: "{name}" has '
            f"shapes {theirs} in the file and {ours} in the model. Set BACKBONE and the sizes of "
            "the layers as they were in training, or pass these names as exclude=[...]."
        )

    def __str__(self):
        rows = [("loaded", len(self.loaded), "")]
        rows += [("adapted to the image channels", 1, name) for name in self.adapted]
        groups = {f"skipped, {reason}": [] for reason in self.skipped.values()}
        for name, reason in self.skipped.items():
            groups[f"skipped, {reason}"].append(name)
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
