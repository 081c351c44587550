"""`Result`: the dict that `detect` returns, with methods to draw, save, convert and measure it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrcnn.files import replacing
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.measures import measure_mask
from mrcnn.ops.pixels import as_image
from mrcnn.ops.rle_crop import crop_rle

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

# Classes that `repr` names before it counts the rest.
_SHOWN = 4


class Result(dict):
    """The detections in one image.

    It is the dict of the original, with its keys, and `len(r)` is the number of instances. A result
    is true as a dict is, also without instances: write `if len(r):`. Pickles and copies have the
    attributes; `r.image = None` drops the photo, which is not copied, from memory and from them.

    Args:
        values: dict of "rois" `[n, (y1, x1, y2, x2)]`, "class_ids" `[n]`, "scores" `[n]`, and
            "masks" bool `[height, width, n]`, or a list of n COCO RLEs.
        image, path, class_names: see the attributes.

    Attributes:
        image: the photo as `detect` got it, an array, or None.
        path: of the photo's file, a str, or None.
        class_names: list of names that starts with "BG", or None.

    The methods raise ValueError, with what is missing, where they need one of these, or a key.
    """

    def __init__(
        self,
        values: Mapping | Iterable = (),
        image: np.ndarray | None = None,
        path: str | None = None,
        class_names: list[str] | None = None,
    ):
        super().__init__(values)
        self.image, self.path, self.class_names = image, path, class_names

    def __len__(self) -> int:
        return len(self.get("rois", ()))

    def __bool__(self) -> bool:
        # As before: `if r` in old scripts, and Python's JSON encoder, ask for keys.
        return next(iter(self), None) is not None

    def copy(self) -> Result:
        """Return a shallow copy."""
        return Result(self, self.image, self.path, self.class_names)

    def __repr__(self) -> str:
        ids, counts = np.unique(self.get("class_ids", ()), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        parts = [f"{counts[i]} {self._name(ids[i])}" for i in order[:_SHOWN]]
        if len(order) > _SHOWN:
            parts.append(f"{counts[order[_SHOWN:]].sum()} of {len(order) - _SHOWN} other classes")
        where = f" in {os.path.basename(self.path)}" if self.path else ""
        return f"<Result: {', '.join(parts) or 'nothing'}{where}>"

    # Pictures and files

    def plot(self, **options) -> np.ndarray:
        """Draw the instances into a copy of the photo.

        Args:
            options: of `mrcnn.drawing.overlay.draw_detections`, such as color_by="instance".

        Returns:
            `[height, width, 3]` uint8, the size of the photo.
        """
        from mrcnn.drawing.overlay import draw_detections

        photo = as_image(self._photo("plot()"), self.path or "The image")
        columns = self["rois"], self.get("masks"), self["class_ids"], self.class_names
        return draw_detections(photo, *columns, self.get("scores"), **options)

    def save(self, path: str | os.PathLike, **options) -> None:
        """Write a picture, or the instances for correction in LabelMe; whole, or not at all.

        COCO's JSON is of many images: collect `to_coco` of each.

        Args:
            path: of the file; `.jpg`, `.png` and other suffixes of pictures write `plot`, and
                `.json` writes `to_labelme`.
            options: of `plot`.

        Raises:
            ValueError: for another suffix.
            OSError: names the path and the reason, if it cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            from mrcnn.writers.coco import write_json

            write_json(path, self.to_labelme(path))
            return
        if suffix not in PICTURES:
            raise ValueError(
                f'A result cannot be saved as "{path}"; accepted are {", ".join(PICTURES)} for a '
                "picture, and .json for LabelMe."
            )
        from PIL import Image

        picture = Image.fromarray(self.plot(**options))
        quality = {"quality": 92} if suffix in (".jpg", ".jpeg", ".webp") else {}
        with replacing(path) as temporary:
            picture.save(temporary, **quality)

    # Other formats

    def to_coco(self, image_id: Any = 0) -> list[dict]:
        """Return COCO results: one dict per instance, of plain numbers and strings for JSON.

        Its keys are `image_id`, `category_id`, which is the class id, `bbox` `[x, y, width,
        height]`, `score`, and, where there are masks, `segmentation`, an RLE.
        """
        from mrcnn.writers.coco import coco_rle

        found = []
        for index, (y1, x1, y2, x2) in enumerate(np.asarray(self["rois"]).tolist()):
            entry = {
                "image_id": image_id,
                "category_id": int(self["class_ids"][index]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(self["scores"][index]),
            }
            if "masks" in self:
                entry["segmentation"] = coco_rle(self._mask(index))
            found.append(entry)
        return found

    def to_labelme(self, path: str | os.PathLike) -> dict:
        """Return the document of LabelMe, which opens it with the photo for correction.

        Args:
            path: where the document will be written; the photo is named relative to its folder.
        """
        from mrcnn.writers.labelme import labelme_document

        if self.path is None:
            raise ValueError("to_labelme() needs the photo's file; this result has no path.")
        image = Path(os.path.relpath(self.path, Path(path).parent)).as_posix()
        size = self._size("to_labelme()")
        document = labelme_document(image, *size, [])
        for index, class_id in enumerate(self["class_ids"]):
            part, (y, x) = self._part(index)
            shapes = labelme_document(image, *size, [(self._name(class_id), part)])["shapes"]
            for shape in shapes:
                shape["points"] = [[px + x, py + y] for px, py in shape["points"]]
                shape["group_id"] = index + 1 if shape["group_id"] else None
            document["shapes"] += shapes
        return document

    def to_supervision(self) -> Any:
        """Return `supervision.Detections`, with `class_name` in its data where names are known.

        Raises:
            ImportError: if supervision is not installed.
        """
        try:
            import supervision
        except ImportError:
            raise ImportError(
                "to_supervision() needs the package supervision: pip install supervision."
            ) from None
        mask = None
        if "masks" in self:
            size = self._size("to_supervision()") if len(self) else (0, 0)
            mask = np.zeros((len(self), *size), bool)
            for index, canvas in enumerate(mask):
                part, (y, x) = self._part(index)
                canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
        class_ids = np.asarray(self["class_ids"], int).reshape(-1)
        names = np.array([self._name(class_id) for class_id in class_ids], str)
        return supervision.Detections(
            xyxy=np.asarray(self["rois"], np.float32).reshape(-1, 4)[:, [1, 0, 3, 2]],
            mask=mask,
            confidence=np.asarray(self["scores"], np.float32).reshape(-1),
            class_id=class_ids,
            data={"class_name": names} if self.class_names else {},
        )

    # Instances

    def polygons(self) -> list[list[np.ndarray]]:
        """Return the outlines of each instance.

        Returns:
            One list per instance of its rings `[k, (y, x)]`, in pixels, (0, 0) is the upper left
            corner of the photo. Outer rings run clockwise, holes counterclockwise after the ring
            that they are in; see `mrcnn.ops.contours.mask_polygons`.
        """
        from mrcnn.ops.contours import mask_polygons

        outlines = []
        for index in range(len(self)):
            part, corner = self._part(index)
            rings = [ring for component in mask_polygons(part) for ring in component]
            outlines.append([ring + np.array(corner, np.float64) for ring in rings])
        return outlines

    def crops(self, margin: int = 0, background: Any = None) -> list[np.ndarray]:
        """Return the piece of the photo in each box, copied.

        Args:
            margin: pixels to add on each side, as far as the photo reaches.
            background: number or colour for the pixels outside the instance's mask; None keeps
                them.

        Returns:
            One array per instance, `[h, w, channels]` or `[h, w]`, in the type of the photo.
        """
        photo = self._photo("crops()")
        if not margin >= 0 or margin != int(margin):
            raise ValueError(f"margin is {margin}; it must be a whole number of pixels from 0 on.")
        pieces, margin = [], int(margin)
        boxes = np.asarray(self["rois"], np.float64).reshape(-1, 4)
        low, high = np.floor(boxes[:, :2]) - margin, np.ceil(boxes[:, 2:]) + margin
        corners = np.concatenate([low, high], axis=1).clip(0, np.tile(photo.shape[:2], 2))
        for index, (y1, x1, y2, x2) in enumerate(corners.astype(int).tolist()):
            piece = np.array(photo[y1:y2, x1:x2])
            if background is not None:
                outside = ~_window(*self._part(index), (y1, x1, y2, x2))
                piece[outside] = background
            pieces.append(piece)
        return pieces

    def table(self, scale: float | None = None) -> list[dict]:
        """Measure the instances.

        Args:
            scale: length of a pixel's side, such as 0.5 for half a micrometre; lengths are
                multiplied by it, areas by its square. None measures in pixels.

        Returns:
            One dict per instance, also for `pandas.DataFrame(r.table())`: `class_id`, `class`,
            `score`, `y1`, `x1`, `y2`, `x2` of the box in pixels, and of the mask `area`,
            `perimeter`, `centroid_y`, `centroid_x` and `equivalent_diameter`, by the definitions of
            `skimage.measure.regionprops`. `centroid` is in the same unit, the centre of the first
            pixel is 0. An empty mask has NaN there.
        """
        scale = 1.0 if scale is None else scale
        if not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"scale is {scale}; it must be the length of a pixel, above 0.")
        rows = []
        boxes = np.asarray(self["rois"]).reshape(-1, 4).tolist()
        for index, box in enumerate(boxes):
            class_id = int(self["class_ids"][index])
            rows.append(
                {
                    "class_id": class_id,
                    "class": self._name(class_id),
                    "score": float(self["scores"][index]),
                    **dict(zip(("y1", "x1", "y2", "x2"), box, strict=True)),
                    **measure_mask(*self._part(index), scale),
                }
            )
        return rows

    # What the methods need

    def _photo(self, method):
        if self.image is None:
            raise ValueError(
                f"{method} needs the photo, but this result has no image; set r.image."
            )
        return self.image

    def _size(self, method):
        """Return `(height, width)` of the photo."""
        masks = self.get("masks")
        if self.image is not None:
            return tuple(self.image.shape[:2])
        if hasattr(masks, "shape"):
            return tuple(masks.shape[:2])
        if masks:
            return tuple(masks[0]["size"])
        raise ValueError(
            f"{method} needs the size of the photo, but this result has neither image nor masks."
        )

    def _name(self, class_id):
        names = self.class_names or ()
        return names[class_id] if 0 <= class_id < len(names) else f"class {class_id}"

    def _mask(self, index):
        """Return a mask `[height, width]` bool, or its RLE."""
        if self.get("masks") is None:
            raise ValueError("This result has no masks.")
        masks = self["masks"]
        return masks[..., index] if hasattr(masks, "shape") else masks[index]

    def _part(self, index):
        """Return the mask of an instance within its tight box, and the box's `(y, x)`."""
        mask = self._mask(index)
        if isinstance(mask, dict):
            y, x, part = crop_rle(mask)
            return part, (y, x)
        y1, x1, y2, x2 = extract_bboxes(mask[..., np.newaxis])[0].tolist()
        return mask[y1:y2, x1:x2].astype(bool), (y1, x1)


def _window(part, corner, box):
    """Return the pixels `[h, w]` bool of a box that a mask at a corner `(y, x)` covers."""
    y1, x1, y2, x2 = box
    window = np.zeros((y2 - y1, x2 - x1), bool)
    (y, x), (h, w) = corner, part.shape
    top, left, bottom, right = max(y, y1), max(x, x1), min(y + h, y2), min(x + w, x2)
    if top < bottom and left < right:
        window[top - y1 : bottom - y1, left - x1 : right - x1] = part[
            top - y : bottom - y, left - x : right - x
        ]
    return window
