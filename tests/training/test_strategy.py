"""Choice of the strategy, and the tasks of its processes."""

import functools
import json

import pytest
import tensorflow as tf

from mrcnn.model import MaskRCNN
from mrcnn.training import strategy as strategies
from mrcnn.training.strategy import (
    Agreement,
    WorkerLostError,
    choose_strategy,
    is_chief,
    process_count,
    telling_of_lost_workers,
)
from tests.mini import mini_config

WORKERS = {"worker": ["a:1", "b:1", "c:1"]}
WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


class Resolved:
    """A fake strategy: process number `index` of a job in a cluster, such as WORKERS."""

    def __init__(self, cluster, kind, index, replicas=1):
        count = sum(map(len, cluster.values()))
        self.cluster_resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(cluster), task_type=kind, task_id=index
        )
        self.num_replicas_in_sync = count * replicas


@pytest.fixture
def cluster(monkeypatch):
    """Return a function that sets TF_CONFIG to a cluster, and returns a list of those joined."""
    made = []

    def make(**settings):
        made.append(settings)
        return "several workers"

    def set_cluster(jobs):
        task = {"type": "worker", "index": 0}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
        return made

    monkeypatch.delenv("TF_CONFIG", raising=False)
    # In these tests it has joined nobody yet.
    join = functools.cache(strategies._multi_worker.__wrapped__)
    monkeypatch.setattr(strategies, "_multi_worker", join)
    monkeypatch.setattr(strategies, "wait_for_workers", lambda cluster: None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", make)
    return set_cluster


@pytest.fixture
def gpus(monkeypatch):
    """Return a function that fakes a number of GPUs, and returns a list of strategies' devices."""
    made = []

    def see(count):
        devices = [tf.config.LogicalDevice(f"/device:GPU:{i}", "GPU") for i in range(count)]
        for lists in ("list_logical_devices", "list_physical_devices"):
            monkeypatch.setattr(tf.config, lists, lambda kind: devices if kind == "GPU" else [])
        return made

    def make(names):
        made.append(names)
        return f"{len(names)} GPUs"

    monkeypatch.setattr(strategies, "_mirrored", make)
    return see


# Choice


def test_one_device_has_the_strategy_of_tensorflow(cluster, gpus):
    gpus(4)
    assert choose_strategy(1) is tf.distribute.get_strategy()


def test_the_first_gpus_are_taken(cluster, gpus):
    made = gpus(4)
    assert choose_strategy(3) == "3 GPUs"
    assert made == [("/device:GPU:0", "/device:GPU:1", "/device:GPU:2")]


@pytest.mark.parametrize("seen, advice", [(0, 1), (1, 1), (2, 2)])
def test_fewer_gpus_than_asked_for(cluster, gpus, seen, advice):
    gpus(seen)
    message = (
        rf"^GPU_COUNT is 3, and TensorFlow sees {seen} GPUs on this machine; "
        rf"set GPU_COUNT to {advice}, "
    )
    with pytest.raises(ValueError, match=message) as caught:
        choose_strategy(3)
    assert "\n" not in str(caught.value)


def test_gpus_of_a_machine_of_several(cluster, gpus, monkeypatch):
    cluster(WORKERS)
    gpus(2)
    # Listing these starts TensorFlow, after which workers can no longer be joined.
    monkeypatch.delattr(tf.config, "list_logical_devices")
    assert choose_strategy(2) == "several workers"
    with pytest.raises(ValueError, match="^GPU_COUNT is 3, and TensorFlow sees 2 GPUs"):
        choose_strategy(3)


def test_a_model_for_training_asks_for_the_gpus_and_one_for_inference_does_not(
    gpus, cluster, tmp_path
):
    gpus(0)
    config = mini_config(GPU_COUNT=2)
    with pytest.raises(ValueError, match="GPU_COUNT is 2, and TensorFlow sees 0 GPUs"):
        MaskRCNN("training", config, str(tmp_path))
    cluster(WORKERS)
    model = MaskRCNN("inference", config, str(tmp_path))
    assert model.strategy is tf.distribute.get_strategy()


@pytest.mark.parametrize("jobs", [WORKERS, WITH_CHIEF, {"chief": ["a:1"], "worker": ["b:1"]}])
def test_several_workers_are_joined(cluster, jobs, capsys):
    made = cluster(jobs)
    assert choose_strategy(1) == "several workers"
    assert made == [{}]
    # A waiting process prints the addresses of the others.
    addresses = ", ".join(address for job in jobs.values() for address in job)
    assert f"Joining the workers {addresses};" in capsys.readouterr().out


def test_gpus_of_workers_are_counted_without_starting_tensorflow(cluster, gpus, monkeypatch):
    cluster(WORKERS)
    gpus(2)
    # After it, TensorFlow refuses to join workers.
    monkeypatch.setattr(tf.config, "list_logical_devices", pytest.fail)
    assert choose_strategy(2) == "several workers"


@pytest.mark.parametrize(
    "jobs", [{}, {"worker": ["a:1"]}, {"chief": ["a:1"]}, {"worker": ["a:1"], "ps": ["b:1"]}]
)
def test_one_worker_has_nobody_to_join(cluster, jobs):
    made = cluster(jobs)
    assert choose_strategy(1) is tf.distribute.get_strategy()
    assert made == []


def test_one_worker_may_have_several_gpus(cluster, gpus):
    cluster({"worker": ["a:1"]})
    gpus(2)
    assert choose_strategy(2) == "2 GPUs"


def test_workers_are_joined_before_anything_is_computed(cluster, monkeypatch):
    cluster(WORKERS)

    def refuse():
        raise RuntimeError("Collective ops must be configured at program startup")

    monkeypatch.setattr(strategies, "_multi_worker", refuse)
    message = r"make the MaskRCNN first in the script.*\(Collective ops must be"
    with pytest.raises(RuntimeError, match=message):
        choose_strategy(1)


def test_a_process_has_one_strategy(cluster, monkeypatch):
    """Messages of two strategies would have the same numbers. Nor does it wait a second time."""
    waited, made = [], cluster(WORKERS)
    monkeypatch.setattr(
        strategies, "wait_for_workers", lambda cluster: waited.append((cluster.own, list(made)))
    )
    assert [choose_strategy(1), choose_strategy(1)] == ["several workers"] * 2
    assert waited == [("worker 0", [])]
    assert len(made) == 1
    devices = tuple(device.name for device in tf.config.list_logical_devices("CPU"))
    assert strategies._mirrored(devices) is strategies._mirrored(devices)


# Processes


@pytest.mark.parametrize(
    "jobs, chiefs",
    [
        (WORKERS, [("worker", 0)]),
        # With a chief, the first worker is a worker like the others.
        (WITH_CHIEF, [("chief", 0)]),
    ],
)
def test_one_process_is_the_chief(jobs, chiefs):
    tasks = [(kind, index) for kind, addresses in jobs.items() for index in range(len(addresses))]
    assert [task for task in tasks if is_chief(Resolved(jobs, *task))] == chiefs
    assert [process_count(Resolved(jobs, *task)) for task in tasks] == [3, 3, 3]


def test_only_workers_count():
    jobs = {"worker": ["a:1", "b:1"], "ps": ["c:1"], "evaluator": ["d:1"]}
    assert process_count(Resolved(jobs, "worker", 1)) == 2
    assert not is_chief(Resolved(jobs, "evaluator", 0))


@pytest.mark.parametrize(
    "make", [tf.distribute.get_strategy, lambda: tf.distribute.MirroredStrategy(["CPU:0"])]
)
def test_without_a_cluster_there_is_one_process(make):
    strategy = make()
    assert is_chief(strategy)
    assert process_count(strategy) == 1
    agreement = Agreement(strategy)
    assert [agreement.any(True), agreement.any(False)] == [True, False]
    # Seeds are larger than float32 can hold exactly.
    assert agreement.of_chief(2**62 + 1) == 2**62 + 1


# Lost workers


@pytest.mark.parametrize(
    "kind",
    [
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ],
)
def test_a_lost_worker_gets_a_sentence(kind):
    with pytest.raises(WorkerLostError, match="another worker did not answer") as caught:
        with telling_of_lost_workers(Resolved(WORKERS, "worker", 0)):
            raise kind(None, None, "Connection reset by peer")
    assert "train(resume=True)" in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)


def test_the_lost_worker_is_named():
    """TensorFlow lists the workers that it has not heard of, one in a line."""
    text = (
        "Error reported from /job:worker/task:1: The following tasks are unhealthy (stopped "
        "sending heartbeats):\n/job:worker/replica:0/task:2\n/job:chief/replica:0/task:0\n"
        "The tasks have crashed.\n/job:worker/replica:0/task:2"
    )
    message = "because worker 2 and chief 0 did not answer: it may be paused, ended or"
    with pytest.raises(WorkerLostError, match=message):
        with telling_of_lost_workers(Resolved(WORKERS, "worker", 0)):
            raise tf.errors.UnavailableError(None, None, text)


def test_other_errors_stay_as_they_are():
    with pytest.raises(FloatingPointError), telling_of_lost_workers(Resolved(WORKERS, "worker", 0)):
        raise FloatingPointError
    # A single process cannot lose another.
    with pytest.raises(tf.errors.AbortedError):
        with telling_of_lost_workers(tf.distribute.get_strategy()):
            raise tf.errors.AbortedError(None, None, "")
