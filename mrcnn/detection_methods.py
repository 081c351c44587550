"""`DetectionMethods`: what `MaskRCNN` does in inference mode."""

import copy
from functools import partial

import numpy as np

from mrcnn.data.photos import read_image
from mrcnn.inference import detect as detection
from mrcnn.inference import molding as mold
from mrcnn.inference import tiles
from mrcnn.inference.sources import as_photos
from mrcnn.inference.stream import Stream
from mrcnn.inference.trace import log
from mrcnn.legacy.methods import detect_overridden, overridden


class DetectionMethods:
    """Base class of `MaskRCNN`. It reads its mode, config, keras_model and network."""

    def detect(self, images, verbose=0, mask_format=None, tile=None, overlap=0.2):
        """Detect instances.

        A subclass's `mold_inputs` and `unmold_detections` are called as the original calls them.

        Args:
            images: list of images of any sizes, `[height, width, 3]` RGB uint8, or grey, RGBA,
                uint16, or floats from 0 to 1; or paths of image files.
            verbose: 1 prints the shapes of the inputs, and shows the progress of tiles.
            mask_format: "full", or "rle" for COCO RLEs: `{"size": [h, w], "counts": bytes}`. None
                is "full", with `tile` "rle".
            tile: side, in pixels of the image, of the overlapping tiles that the network gets one
                by one, each resized as a photo of its size would be. None gives it whole images.
            overlap: share of its side that a tile has in common with the next one at least.
                Objects that are larger are joined from several tiles.

        Returns:
            A list with one `Result` per image, a dict with methods, see docs/results_api.md:
            "rois" `[n, (y1, x1, y2, x2)]` in pixels of the image, int32, or float32 with RECIPE
            "paper", which does not round them, "class_ids" int32 `[n]`, "scores" float32 `[n]`,
            best first, "masks" bool `[height, width, n]`, or RLEs. If n is 0, also "best_score" of
            all proposals and classes and "min_confidence", the limit.

        Raises:
            RuntimeError: in training mode.
            ValueError: names the image that is refused, and the reason; for another mask_format,
                tile or overlap; for full masks of tiles above `limits.MAX_MASK_BYTES`.
            FileNotFoundError, OSError: if an image file is missing or damaged.
        """
        mask_format = mask_format or ("full" if tile is None else "rle")
        mold.check_format(mask_format)
        if tile is not None:
            tiles.check_tiles(tile, overlap)
        is_own = overridden(self, "mold_inputs") or overridden(self, "unmold_detections")
        detector = self._detector_for("detect", all_masks=bool(is_own))
        images, paths = mold.read_photos(
            images, read_image if tile is None else tiles.read_for_tiles
        )
        if verbose:
            log(f"Processing {len(images)} images")
            for image in images:
                log("image", image)
        if is_own:
            detect = partial(detect_overridden, self, detector)
        else:
            images = mold.without_mean(images, self.config)
            detect = partial(detection.detect, detector, config=self.config)
        if tile is None:
            results = detect(images, mask_format=mask_format)
        else:
            detect = partial(detect, mask_format="rle")
            options = self.config, tile, overlap, mask_format, verbose
            results = tiles.detect_images(detect, images, *options)
        for result, image, path in zip(results, images, paths, strict=True):
            result.image, result.path, result.class_names = image, path, self.class_names
        return results

    def detect_molded(self, molded_images, image_metas, verbose=0):
        """Run `detect` on `[batch, height, width, channels]` molded images.

        `image_metas` are `[batch, meta_size]`, both as from `mold_inputs`. The results are in
        pixels of the molded images.
        """
        detector = self._detector_for("detect_molded")
        if verbose:
            log("molded_images", molded_images)
        return detection.detect_molded(
            detector, molded_images, image_metas, self.config, self.class_names
        )

    def detect_stream(self, photos, mask_format="rle", tile=None, overlap=0.2, **options):
        """Detect in any number of photos while others are read and written.

        `for result in model.detect_stream("photos/"): ...` gives the results in order.

        Args:
            photos: a path or several, of photos, folders and videos, see
                `mrcnn.inference.sources.Sources`, or an iterable of `Photo`.
            mask_format, tile, overlap: as of `detect`.
            options: of `mrcnn.inference.stream.Stream`: batch, workers, write, on_skip.

        Returns:
            A `Stream`, to be iterated once.

        Raises:
            RuntimeError: in training mode.
            ValueError: for an option out of its range.
            FileNotFoundError: if a folder holds no photos.
        """
        mold.check_format(mask_format)
        photos = as_photos(photos, None if tile is None else tiles.read_for_tiles)
        if tile is not None:
            tiles.check_tiles(tile, overlap)
        is_own = overridden(self, "mold_inputs") or overridden(self, "unmold_detections")
        detector = self._detector_for("detect_stream", all_masks=bool(is_own))

        def alone(timed, image, name):
            if is_own:
                detect = partial(detect_overridden, self, timed)
            else:
                detect = partial(detection.detect, timed, config=self.config)
            if tile is None:
                return detect([image], mask_format=mask_format)[0]
            detect, config = partial(detect, mask_format="rle"), self.config
            size = config.BATCH_SIZE, name, int(config.IMAGE_SHAPE[2])
            result = tiles.detect_tiled(detect, image, tile, overlap, *size)
            if mask_format == "full":
                result["masks"] = tiles.full_masks(result, image.shape[:2])
            return result

        options |= {"mask_format": mask_format, "class_names": self.class_names}
        options["alone"] = alone if is_own or tile is not None else None
        return Stream(detector, photos, self.config, **options)

    def inference_model(self, config=None):
        """Return a `MaskRCNN` in inference mode that shares the weights of this one.

        Args:
            config: a Config of the same sizes with, for example, another DETECTION_MIN_CONFIDENCE.

        Raises:
            ValueError: if the Config is not legal, or of a model with other weights.
        """
        other = copy.copy(self)
        other.mode, other.config, other._anchor_cache = "inference", config or self.config, {}
        other.config.validate()
        recipe = other.config.recipe()
        for name in recipe.WEIGHT_SETTINGS:
            ours, theirs = getattr(self.config, name), getattr(other.config, name)
            if not np.array_equal(ours, theirs):
                raise ValueError(
                    f"inference_model() got a Config whose {name} is {theirs!r}; the weights of "
                    f"this model were made for {ours!r}."
                )
        other.keras_model = self.network.graph("inference", recipe.operators(other.config))
        other._describe(getattr(self.keras_model, "metadata", None))
        return other

    def export(
        self,
        path,
        format=None,
        image_size=None,
        batch=1,
        precision="float32",
        masks="pasted",
        calibration=None,
        overwrite=False,
    ):
        """Write the model for another runtime: a photo in, detections in its pixels out.

        Resizing, anchors and the pasting of masks are inside. The file is loaded in its runtime and
        compared with this model before it takes its place; docs/export.md has examples.

        Args:
            path: the file, or the folder of a SavedModel.
            format: "saved_model", "onnx", "openvino" or "litert"; by default that of the suffix of
                `path`: none, ".onnx", ".xml" or ".tflite".
            image_size: `(height, width)` of all photos in pixels; None for photos of any size,
                which LiteRT cannot have.
            batch: 1 for one photo `[height, width, channels]` uint8; a larger number, or None for
                any, for `[batch, height, width, channels]`, photos of one size.
            precision: "float32"; "float16" and "int8" for OpenVINO and LiteRT as far as they can.
            masks: "pasted" for masks of the photo's size, "small" for those of the mask head.
            calibration: list of photos, arrays or paths, in which the file is compared, and from
                which int8 takes the ranges of values.
            overwrite: replace what is at `path`.

        Returns:
            An `ExportReport` with path, format, size, largest differences, and seconds.

        Raises:
            FileExistsError: if something is at `path`, unless `overwrite`.
            ValueError: for another format, suffix or option; if the format lacks an operation; if
                the file does not agree with Keras.
            ImportError: if packages of the format are not installed.
            OSError: if the file cannot be written.
        """
        from mrcnn.export.exporting import export_model

        model = self._for_export()
        detector = model._detector_for("export")
        return export_model(
            model,
            detector,
            path,
            format,
            image_size,
            batch,
            precision,
            masks,
            calibration,
            overwrite,
        )

    def _for_export(self):
        """Return this model in inference mode and float32, which shares or copies the weights."""
        own = [name for name in ("mold_inputs", "unmold_detections") if overridden(self, name)]
        if self.network is None or own:
            raise ValueError(
                "export() writes the network and the molding of this package; this model has its "
                f"own {' and '.join(own) or 'keras_model'}."
            )
        model = self if self.mode == "inference" else self.inference_model()
        if all(layer.compute_dtype == "float32" for layer in model.keras_model.layers):
            return model
        config = copy.copy(model.config)
        config.PRECISION = "float32"
        exact = type(self)("inference", config, self.model_dir)
        exact.keras_model.set_weights(model.keras_model.get_weights())
        exact.class_names, exact._random_head = model.class_names, None
        return exact

    def _detector_for(self, method, all_masks=False):
        if self.mode != "inference":
            raise RuntimeError(
                f'{method}() needs a MaskRCNN made with mode="inference"; this one has '
                f'"{self.mode}", and its inference_model() gives one with the same weights.'
            )
        detection.warn_of_random_head(self.keras_model, self._random_head, stacklevel=4)
        self._random_head = None
        detector, wanted = self._detector, (self.keras_model, all_masks)
        if detector is None or (detector.keras_model, detector.all_masks) != wanted:
            # Other threads may change the attribute: keep the object.
            any_size = self.config.IMAGE_RESIZE_MODE == "pad32"
            detector = detection.Detector(self.keras_model, self.get_anchors, all_masks, any_size)
            self._detector = detector
        return detector

    def get_anchors(self, image_shape):
        """Return the anchors of a molded image shape: `[num_anchors, 4]` float32, normalized."""
        shape = tuple(map(int, image_shape[:2]))
        if shape not in self._anchor_cache:
            self._anchor_cache[shape] = mold.normalized_anchors(self.config, shape)
        self.anchors, normalized = self._anchor_cache[shape]
        return normalized
