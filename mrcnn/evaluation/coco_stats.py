"""The result of an evaluation by the rules of COCO: numbers, tables and curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

AREAS = ("all", "small", "medium", "large")


def coco_numbers(max_dets: int) -> list[tuple[str, float | None, str, int]]:
    """List COCO's numbers in order: name, IoU (None for all), area, predictions per image."""
    by_area = [(area[0], None, area, max_dets) for area in AREAS[1:]]
    precisions = [("", None, "all", max_dets)]
    precisions += [(f"{100 * iou:.0f}", iou, "all", max_dets) for iou in (0.5, 0.75)]
    recalls = [(f"{count}", None, "all", count) for count in (1, 10, max_dets)]
    rows = {"AP": precisions + by_area, "AR": recalls + by_area}
    return [(kind + end, *row) for kind in rows for end, *row in rows[kind]]


class F1Curve(NamedTuple):
    """F1 over the score threshold. The arrays are `[n]`, one entry per distinct score, falling.

    `best_threshold` is the score to cut at. Without predictions it is 1, and `best_f1` 0.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    best_f1: float
    best_threshold: float

    def summary(self) -> str:
        """Return the best F1 and its threshold as text, or the reason why there is none."""
        if self.best_f1:
            return f"{self.best_f1:.3f}, with scores of {self.best_threshold:.2f} and more"
        count = len(self.thresholds)
        return f"none, {'no detection is right' if count else 'nothing was detected'}"


class ClassMatches(NamedTuple):
    """The predictions of a class in all images, and which of them are right.

    Attributes:
        scores: `[n]`, falling.
        correct: `[T, n]` int8, by IoU threshold: 1 right, 0 wrong, -1 left out (on a crowd).
        count: objects of the class, without crowds.
    """

    scores: np.ndarray
    correct: np.ndarray
    count: int


@dataclass(frozen=True)
class CocoStats:
    """Result of `run_coco_eval` for boxes or for masks. A number of -1 means: no objects.

    `str()` gives the twelve lines that pycocotools prints. Methods raise ValueError for an IoU or a
    class that was not evaluated.

    Attributes:
        iou_type: "bbox" or "segm".
        stats: the twelve numbers by name, 0 to 1: AP (mean over IoU 0.5, 0.55 ... 0.95), AP50,
            AP75, APs, APm, APl (objects below 32**2, up to 96**2, and above it in pixels), AR1,
            AR10, AR100 (recall with that many predictions per image; the last is `max_dets`), ARs,
            ARm, ARl.
        by_class: one dict per class: id, name, count (objects without crowds), AP, AP50, AP75, AR.
        max_dets: predictions per image and class that count.
        iou_thresholds: `[T]`.
        recalls: `[R]`, the recalls of `precision`.
        precision: `[T, R, K]`, classes in the order of `by_class`; -1 for a class without objects.
        matches: `ClassMatches` by class, in the same order.
    """

    iou_type: str
    stats: dict[str, float]
    by_class: list[dict[str, Any]]
    max_dets: int
    iou_thresholds: np.ndarray = field(repr=False)
    recalls: np.ndarray = field(repr=False)
    precision: np.ndarray = field(repr=False)
    matches: list[ClassMatches] = field(repr=False)

    def __str__(self) -> str:
        span = f"{self.iou_thresholds[0]:.2f}:{self.iou_thresholds[-1]:.2f}"
        lines = []
        for name, iou, area, count in coco_numbers(self.max_dets):
            title = "Average Precision  (AP)" if "AP" in name else "Average Recall     (AR)"
            which = span if iou is None else f"{iou:.2f}"
            place = f"IoU={which:<9} | area={area:>6} | maxDets={count:>3d}"
            lines.append(f" {title} @[ {place} ] = {self.stats[name]:.3f}")
        return "\n".join(lines)

    def class_table(self) -> str:
        """Return AP per class as text, best first, and a last line on classes without objects."""
        figures = ("AP", "AP50", "AP75", "AR")
        rows = [row for row in self.by_class if row["AP"] > -1]
        width = max([5, *(len(row["name"]) for row in rows)])
        lines = [f"{'class':<{width}} {'objects':>8}" + "".join(f"{f:>8}" for f in figures)]
        for row in sorted(rows, key=lambda row: -row["AP"]):
            cells = "".join(f"{row[f]:>8.3f}" for f in figures)
            lines.append(f"{row['name']:<{width}} {row['count']:>8d}{cells}")
        if absent := len(self.by_class) - len(rows):
            classes = "class has" if absent == 1 else "classes have"
            lines.append(f"{absent} more {classes} no objects in these images.")
        return "\n".join(lines)

    def precision_recall(
        self, iou: float = 0.5, class_id: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return precisions `[R]` and recalls `[R]` of the curve whose area is the AP at one IoU.

        Args:
            iou: one of `iou_thresholds`.
            class_id: one class; None for the mean curve of the classes that have objects. Without
                objects the precisions are -1.
        """
        curves = self.precision[self._iou_index(iou)]
        if class_id is not None:
            return curves[:, self._class_index(class_id)], self.recalls
        curves = curves[:, curves[0] > -1]
        mean = curves.mean(axis=1) if curves.size else np.full(len(self.recalls), -1.0)
        return mean, self.recalls

    def f1_curve(self, iou: float = 0.5, class_id: int | None = None) -> F1Curve:
        """Compute precision, recall and F1 of the predictions from each score threshold on.

        Args:
            iou: one of `iou_thresholds`.
            class_id: one class; None counts the predictions of all classes together.
        """
        index = self._iou_index(iou)
        chosen = self.matches if class_id is None else [self.matches[self._class_index(class_id)]]
        scores = np.concatenate([np.zeros(0), *(m.scores for m in chosen)])
        correct = np.concatenate([np.zeros(0), *(m.correct[index] for m in chosen)])
        scores, correct = scores[correct >= 0], correct[correct >= 0]
        order = np.argsort(-scores, kind="stable")
        scores, correct = scores[order], correct[order]
        # A threshold keeps all predictions of its score: the last of equal scores counts.
        last = np.flatnonzero(np.diff(scores, append=-np.inf))
        hits, taken = np.cumsum(correct)[last], last + 1
        count = sum(m.count for m in chosen)
        f1 = 2 * hits / (taken + count)
        best, best_score = max(zip(f1, scores[last], strict=True), default=(0.0, 1.0))
        precision, recall = hits / taken, hits / max(count, 1)
        return F1Curve(scores[last], precision, recall, f1, float(best), float(best_score))

    def _iou_index(self, iou):
        found = np.flatnonzero(np.isclose(self.iou_thresholds, iou))
        if not len(found):
            accepted = ", ".join(f"{value:.2f}" for value in self.iou_thresholds)
            raise ValueError(f"iou is {iou}; accepted are {accepted}.")
        return int(found[0])

    def _class_index(self, class_id):
        ids = [row["id"] for row in self.by_class]
        if class_id not in ids:
            raise ValueError(f"class_id is {class_id}; evaluated were {ids}.")
        return ids.index(class_id)
