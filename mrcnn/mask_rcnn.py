"""`MaskRCNN`: the model with its weights and its runs. The work is done in other modules."""

import os
import warnings

from mrcnn.config import Config
from mrcnn.config_check import check_losses
from mrcnn.detection_methods import DetectionMethods
from mrcnn.graph import build_network
from mrcnn.inference import detect as detection
from mrcnn.legacy.checkpoint_path import CheckpointPath
from mrcnn.legacy.methods import LegacyMethods, overridden
from mrcnn.runs.imported import (
    adopted,
    imported_config,
    layers_of_other_classes,
    original_config,
    warn_of_settings,
)
from mrcnn.runs.provenance import origin
from mrcnn.runs.resume import load_first_whole
from mrcnn.runs.resume import resume as resume_run
from mrcnn.runs.run import Run, checkpoints, checkpoints_at, last_checkpoint
from mrcnn.runs.settings import as_metadata, describe, for_detection, read_config
from mrcnn.training import fit
from mrcnn.training.strategy import choose_strategy
from mrcnn.weights import exporting, is_foreign
from mrcnn.weights.keras_model import CheckpointModel
from mrcnn.weights.start import starting_weights


def _of_run(name):
    """Return a property that stands for an attribute of the model's run."""
    return property(
        lambda model: getattr(model.run, name), lambda model, value: setattr(model.run, name, value)
    )


class MaskRCNN(DetectionMethods, LegacyMethods):
    """Mask R-CNN: trains on a `Dataset`, detects in photos, keeps its checkpoints.

    Args:
        mode: "training" or "inference".
        config: a `Config`.
        model_dir: folder where runs keep their logs and checkpoints.
        strategy: `tf.distribute.Strategy` to train with, `IMAGES_PER_GPU` images on each replica.
            By default the environment variable TF_CONFIG and `GPU_COUNT` decide; see
            docs/scaling.md.

    Attributes:
        keras_model: the functional Keras model; see `mrcnn.graph` for its inputs and outputs.
        network: the `Network` whose graph it is.
        mode, config, model_dir: the arguments.
        run, epoch: the `Run` that training continues, and its finished epochs.
        log_dir, checkpoint_path: folder of the run, which is made when training starts, and path
            of its checkpoints with "*epoch*" for the number.
        class_names: list of names, starting with "BG", of the data set it was trained on: from the
            weight file, or COCO's for published weights; None if unknown.
        load_report: the `LoadReport` of the weights that were loaded last, or None.
        anchors: `[num_anchors, (y1, x1, y2, x2)]` float64 in pixels, those used last.

    Raises:
        ValueError: if the mode or the Config is not legal, or if there are fewer GPUs.
    """

    epoch, log_dir, checkpoint_path = map(_of_run, ("epoch", "folder", "checkpoint_path"))

    def __init__(self, mode, config, model_dir, strategy=None):
        if mode not in ("training", "inference"):
            raise ValueError(f'mode is "{mode}"; accepted are "training" and "inference".')
        config.validate()
        self.mode, self.config, self.model_dir = mode, config, model_dir
        self.anchors = self._detector = self.network = self.class_names = self.load_report = None
        self._anchor_cache, self._resumes = {}, False
        self.strategy = strategy or choose_strategy(config.GPU_COUNT, mode)
        self.run = Run.new(model_dir, config.NAME)
        self.set_log_dir()
        with self.strategy.scope():
            self.keras_model = self.build(mode, config)
        self._random_head = detection.class_head(self.keras_model)
        self._describe()

    def build(self, mode, config):
        """Return the Keras model, a graph of `network`. Subclasses may override this."""
        self.network = build_network(config)
        model = self.network.graph(mode)
        if mode == "training":
            check_losses(config.LOSS_WEIGHTS, Config, [layer.name for layer in model.layers])
        return model

    def _describe(self, of=None):
        """Put into the model's weight files what `from_run` needs, and the origin in metadata."""
        if isinstance(self.keras_model, CheckpointModel):
            kept = origin(self.keras_model.metadata if of is None else of)
            facts = as_metadata(describe(self.config, self.class_names))
            self.keras_model.metadata = facts | kept

    @classmethod
    def from_run(cls, path, mode="inference", model_dir=None, name=None, **settings):
        """Return the model of a run with its weights, settings and class names.

        Args:
            path: a checkpoint or other `.h5` file of this package; the folder of a run, for its
                newest checkpoint; or a folder of runs, for the newest run.
            mode: "inference" or "training". Training continues the run that the checkpoint is in.
            model_dir: folder for further runs; by default the one with this run.
            name: `NAME` of the runs to look for in a folder of runs; None for any.
            settings: values to change in the Config, such as DETECTION_MIN_CONFIDENCE=0.5.

        Raises:
            FileNotFoundError: if there is no checkpoint.
            ValueError: if the file has no settings, or if a function, such as BACKBONE, is missing.
        """
        paths = checkpoints_at(path, name)
        config, class_names = read_config(paths[0], **settings)
        if mode == "inference":
            config = for_detection(config)
        folder = os.path.dirname(os.path.abspath(paths[0]))
        in_run = Run.of_checkpoint(paths[0], config.NAME) is not None
        model = cls(mode, config, model_dir or (os.path.dirname(folder) if in_run else folder))
        model.class_names = class_names
        model._describe()
        load_first_whole(paths, model.load_weights)
        return model

    @classmethod
    def from_weights(cls, path, mode="inference", model_dir=None, **settings):
        """Return the model of any weight file; docs/weights.md lists some.

        Args:
            path: a `.pth`, `.pkl` or `.safetensors` file of torchvision or Detectron2; an `.h5`
                file of the original, whose layers show their sizes and the number of classes, for
                a Config with the original's defaults; or a path for `from_run`.
            mode: "inference" or "training".
            model_dir: folder for runs; by default that of the file.
            settings: values to change in the Config, which follows from the file. With another
                NUM_CLASSES the layers that depend on it stay random.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is of another program, is a classifier, or is damaged.
        """
        if is_foreign(path):
            config = imported_config(path, mode, **settings)
        elif os.path.isdir(path) or (config := original_config(path, **settings)) is None:
            return cls.from_run(path, mode, model_dir, **settings)
        model = cls(mode, config, model_dir or os.path.abspath(os.path.dirname(path)))
        model._load(path, layers_of_other_classes(path, config.NUM_CLASSES))
        return model

    # Runs and weights

    def set_log_dir(self, model_path=None):
        """Choose the run that training continues: that of a checkpoint, or a new one at epoch 0."""
        name = self.config.NAME
        found = Run.of_checkpoint(model_path, name) if model_path else None
        self.run = found or Run.new(self.model_dir, name)
        if found and self.mode == "training":
            print(f"Resuming {self.log_dir} after epoch {self.epoch}.")

    def find_last(self):
        """Return the path of the last checkpoint of the newest run in `model_dir` that has any."""
        return CheckpointPath(last_checkpoint(self.model_dir, self.config.NAME))

    def load_weights(self, filepath, by_name=False, exclude=None):
        """Load weights. If they are a checkpoint of a run, training continues that run.

        Args:
            filepath: of an `.h5` file in the original's layout, which is always loaded by layer
                name, whatever `by_name` is; of a `.pth`, `.pkl` or `.safetensors` file of
                torchvision or Detectron2, also of an ImageNet classifier for the backbone; or of
                Keras's own `.weights.h5` or `.keras` file.
            exclude: names of layers to leave as they are.

        Raises:
            FileNotFoundError, ValueError: before any weight has changed.
        """
        warn_of_settings(self.config, filepath, self._load(filepath, exclude))

    def _load(self, filepath, exclude):
        self.load_report = report = self.keras_model.load_weights(filepath, exclude=exclude)
        untrained = report.untrained if report else []
        if self.mode == "inference" and untrained:
            warnings.warn(
                f"{len(untrained)} layers keep their random weights, so detections will be "
                f"meaningless: {', '.join(untrained[:5])}.",
                stacklevel=3,
            )
        if self.mode == "inference":
            self._random_head = None
        names, metadata = adopted(self.config.NUM_CLASSES, report)
        self.class_names = names or self.class_names
        self._describe(metadata)
        self.set_log_dir(filepath)
        return report

    def export_weights(self, path, format="torchvision"):
        """Write the weights for "torchvision" or "detectron2" (`format`); see docs/weights.md.

        Args:
            path: of the file: `.pth` or `.safetensors`; for Detectron2 also `.pkl`.

        Raises:
            ValueError: if the program has no such architecture.
        """
        model = self.keras_model
        exporting.export(model, self.config, path, format, self.load_report, model.metadata)

    def start_from(self, weights):
        """Load weights by a name or a path, as the command lines of the samples do.

        Args:
            weights: "coco" for the original's weights, downloaded once to `model_dir`, without the
                layers that depend on the number of classes; "imagenet" for a trained backbone;
                "last" for the newest run in `model_dir`, which `train` then resumes, in inference
                mode for its last undamaged checkpoint; "random" for none; else a file.

        Raises:
            FileNotFoundError, ValueError: as `find_last` and `load_weights`.
            mrcnn.download.DownloadError: if a download fails.
        """
        self._resumes = False
        if weights == "imagenet":
            weights = self.get_imagenet_weights()
        if weights != "last":
            path, exclude = starting_weights(
                weights, self.model_dir, self.config.NUM_CLASSES, self.config.BACKBONE
            )
            if path:
                self.load_weights(path, by_name=True, exclude=exclude)
            return
        if self.mode == "training":
            new = Run.new(self.model_dir, self.config.NAME)
            found = resume_run(new, self.model_dir, self.config.NAME, self.keras_model)
            if found:
                self.run, self._resumes = found, found.saved is not None
                return
        last = self.find_last()
        older = checkpoints(os.path.dirname(last))
        load_first_whole(dict.fromkeys([last, *older]), self.load_weights)

    # Training

    def train(
        self,
        train_dataset,
        val_dataset,
        learning_rate,
        epochs,
        layers,
        augmentation=None,
        custom_callbacks=None,
        no_augmentation_sources=None,
        resume=False,
    ):
        """Train, with a checkpoint, TensorBoard logs and validation losses after every epoch.

        Args:
            train_dataset, val_dataset: prepared `Dataset`s. `val_dataset` may be None.
            learning_rate: a number, which is reached after `WARMUP_STEPS` and lowered after
                `LEARNING_RATE_DECAY_EPOCHS`; a Keras schedule; or a function from an epoch, 0 for
                the first, to a number.
            epochs: the total, finished epochs included: stages of training end at 20, 40, ...
            layers: "heads", "3+", "4+", "5+" (that stage of the backbone and what is above it),
                "all", or a regular expression of layer names.
            augmentation: "default" or "strong"; an imgaug augmenter; Keras preprocessing layers; a
                transform of Albumentations or torchvision v2; or a function, see docs/your_data.md.
            custom_callbacks: any Keras callbacks.
            no_augmentation_sources: names of sources whose images are not augmented.
            resume: continue the newest run in `model_dir` as if it had not stopped, with optimizer,
                image order, random numbers and callbacks. Without any run, start one.

        Returns:
            A `keras.callbacks.History`, with the losses by epoch in its `history`.

        Raises:
            RuntimeError: in inference mode; past `MAX_LOAD_ERRORS` bad images; for a run in use.
            OSError: names a folder or file that cannot be written.
            ValueError: if data set and Config do not fit.
            FloatingPointError: if a loss becomes NaN; names it and the images of the batch.
            MemoryError: lists the settings that reduce memory.
        """
        if self.mode != "training":
            raise RuntimeError(
                f'train() needs a MaskRCNN made with mode="training"; this one has "{self.mode}".'
            )
        if resume or self._resumes:
            found = resume_run(self.run, self.model_dir, self.config.NAME, self.keras_model)
            if found is None:
                print(f'No run to resume in "{self.model_dir}"; starting a new one.')
            self.run = found or self.run
        else:
            self.run.saved = None
        self.class_names = getattr(train_dataset, "class_names", None)
        history = fit.train(
            self.keras_model,
            self.config,
            self.run,
            self.strategy,
            train_dataset,
            val_dataset,
            learning_rate,
            epochs,
            layers,
            augmentation,
            list(custom_callbacks or []),
            no_augmentation_sources,
            select=overridden(self, "set_trainable"),
            compile=overridden(self, "compile"),
            make_detector=lambda: self.inference_model(for_detection(self.config)),
        )
        if history.history:
            self._resumes = False
        return history
