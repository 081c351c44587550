"""Training on one device or several, in one process or several."""

import contextlib
import functools
import re

import tensorflow as tf

from mrcnn.data.interruptible import interruptible
from mrcnn.training.cluster import read_cluster, wait_for_workers

# Errors of TensorFlow in a worker that has lost the others.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class WorkerLostError(RuntimeError):
    """Another process of the training does not answer."""


def choose_strategy(gpu_count, mode="training"):
    """Return the `tf.distribute.Strategy` for the machine and `GPU_COUNT`.

    In training it is a MultiWorkerMirroredStrategy if the environment variable TF_CONFIG names
    several workers, or a MirroredStrategy on the first `gpu_count` GPUs. Else it is the strategy of
    the current scope, by default TensorFlow's own for one device.

    Args:
        gpu_count: `GPU_COUNT`.
        mode: "training" or "inference".

    Raises:
        ValueError: if the machine has fewer GPUs; names a mistake in TF_CONFIG.
        OSError: if another program uses the port of this process.
        RuntimeError: if TensorFlow has computed something before the workers are joined.
    """
    if mode != "training":
        return tf.distribute.get_strategy()
    cluster = read_cluster()
    # Listing logical devices starts TensorFlow, after which workers can no longer be joined.
    listed = tf.config.list_physical_devices if cluster.own else tf.config.list_logical_devices
    gpus = listed("GPU") if gpu_count > 1 else []
    if gpu_count > 1 and len(gpus) < gpu_count:
        raise ValueError(
            f"GPU_COUNT is {gpu_count}, and TensorFlow sees {len(gpus)} GPUs on this machine; set "
            f"GPU_COUNT to {max(len(gpus), 1)}, or find out why "
            "tf.config.list_physical_devices('GPU') does not list the others."
        )
    if cluster.own:
        try:
            return _multi_worker()
        except RuntimeError as error:
            raise RuntimeError(
                "TF_CONFIG names several workers, which must be joined before TensorFlow has "
                "computed anything; make the MaskRCNN first in the script, or pass it a "
                f"strategy made there. ({error})"
            ) from error
    if gpu_count > 1:
        return _mirrored(tuple(gpu.name for gpu in gpus[:gpu_count]))
    return tf.distribute.get_strategy()


# One strategy per process: two would give their messages the same numbers, and TensorFlow would mix
# them up.
_mirrored = functools.cache(tf.distribute.MirroredStrategy)


@functools.cache
def _multi_worker():
    """Return the strategy of the workers in TF_CONFIG, once all have started."""
    cluster = read_cluster()
    print(
        f"Joining the workers {', '.join(cluster.addresses.values())}; this is {cluster.own}. "
        "Waiting until all have started.",
        flush=True,
    )
    wait_for_workers(cluster)
    return tf.distribute.MultiWorkerMirroredStrategy()


def is_chief(strategy):
    """Return whether this process is the one that writes files and shows progress."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return resolver.task_type == "chief" or (
        not has_chief and resolver.task_type == "worker" and resolver.task_id == 0
    )


def process_count(strategy):
    """Return the number of processes that train together."""
    resolver = strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict() if resolver else {}
    return max(1, sum(len(jobs.get(job, [])) for job in ("chief", "worker")))


class Batches:
    """Batches for the replicas of this process; every iteration starts over.

    Args:
        strategy: tf.distribute.Strategy.
        make_data: function from `shard` (see `make_dataset`) to `TrainingData`, with batches for
            one replica.
        per_replica: images in such a batch.

    Attributes:
        data: the `TrainingData`.
    """

    def __init__(self, strategy, make_data, per_replica):
        replicas = strategy.num_replicas_in_sync

        def make(context):
            processes = context.num_input_pipelines
            images = per_replica * replicas // processes
            self.data = make_data((context.input_pipeline_id, processes, images))
            return self.data.dataset

        self._distributed = strategy.distribute_datasets_from_function(make)
        self._replicas_here, self._drawn = replicas // process_count(strategy), 0
        self._is_alone = process_count(strategy) == 1

    def position(self):
        """Return the place of the next batch, for `start` of `make_dataset`."""
        return self.data.position(self._drawn * self._replicas_here)

    def __iter__(self):
        self._drawn, batches = 0, iter(self._distributed)
        # Several processes agree on each batch, so there the thread of the steps must draw it.
        if self._is_alone:
            batches = interruptible(batches)
        try:
            for batch in batches:
                self._drawn += 1
                yield batch
        except tf.errors.OpError:
            self.data.errors.reraise()
            raise


class Agreement:
    """Decisions that all processes share. Each process has to make the same calls in order."""

    def __init__(self, strategy):
        self._strategy, self._processes = strategy, process_count(strategy)
        self._is_chief = is_chief(strategy)
        self._total = tf.function(self._add, autograph=False)

    def _add(self, number):
        """Return the sum of a number over the processes; each replica of a process adds it once."""

        def add(value):
            replica = tf.distribute.get_replica_context()
            # `identity` puts the argument on a device, which it does not have yet.
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        total = self._strategy.run(add, args=(number,))
        replicas = self._strategy.num_replicas_in_sync // self._processes
        return self._strategy.experimental_local_results(total)[0] // replicas

    def any(self, flag):
        """Return whether `flag` is True in any process."""
        if self._processes == 1:
            return flag
        return int(self._total(tf.constant(int(flag), tf.int64))) > 0

    def of_chief(self, number):
        """Return the chief's whole number to every process."""
        if self._processes == 1:
            return number
        return int(self._total(tf.constant(number if self._is_chief else 0, tf.int64)))


@contextlib.contextmanager
def telling_of_lost_workers(strategy):
    """Raise WorkerLostError where TensorFlow reports that another worker is gone."""
    try:
        yield
    except _LOST as error:
        if process_count(strategy) == 1:
            raise
        found = re.findall(r"(?m)^/job:(\w+)/replica:\d+/task:(\d+)$", str(error))
        silent = " and ".join(" ".join(task) for task in dict.fromkeys(found)) or "another worker"
        raise WorkerLostError(
            f"Training has stopped because {silent} did not answer: it may be paused, ended or "
            "unreachable. Start all workers again with train(resume=True) or --model last, to "
            "resume from the last state."
        ) from error
