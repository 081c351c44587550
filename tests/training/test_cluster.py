"""TF_CONFIG is checked before TensorFlow reads it, and workers are waited for by name."""

import json
import socket
import threading
import time

import pytest

from mrcnn.training import cluster as clusters
from mrcnn.training.cluster import Cluster, read_cluster, wait_for_workers

TWO = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
FIRST = {"type": "worker", "index": 0}


def of(jobs, task=FIRST):
    return json.dumps({"cluster": jobs, "task": task})


@pytest.fixture
def read(monkeypatch):
    """Return a function that reads the cluster of a TF_CONFIG."""

    def read(text):
        monkeypatch.setenv("TF_CONFIG", text)
        return read_cluster()

    monkeypatch.delenv("TF_CONFIG", raising=False)
    return read


def test_no_tf_config_is_no_cluster(read):
    assert read_cluster() == Cluster({}, None)


@pytest.mark.parametrize("text", ["", "  \n", "{}", '{"cluster": {}}', '{"environment": "cloud"}'])
def test_a_process_alone(read, text):
    assert read(text) == Cluster({}, None)


def test_one_worker_has_no_others(read):
    alone = read(of({"worker": ["10.0.0.1:2222"], "ps": ["10.0.0.2:2222"]}))
    assert (alone.addresses, alone.own) == ({"worker 0": "10.0.0.1:2222"}, None)


def test_processes_have_names(read):
    found = read(of({"worker": ["b:2", "[::1]:3"], "chief": ["a-1.b_2.example:1"]}))
    assert found.addresses == {
        "chief 0": "a-1.b_2.example:1",
        "worker 0": "b:2",
        "worker 1": "[::1]:3",
    }
    assert found.own == "worker 0"
    assert found.others == {"chief 0": "a-1.b_2.example:1", "worker 1": "[::1]:3"}
    # TensorFlow reads this number, too.
    assert read(of(TWO, {"type": "worker", "index": "1"})).own == "worker 1"


MISTAKES = {
    "not json": ("{cluster", "is not JSON .*'{cluster'"),
    "python": ("{'cluster': {}}", "is not JSON"),
    "deep": ("[" * 100_000, "is not JSON"),
    "null": ("null", "is null; it must be an object such as"),
    "list": ("[1]", r"is \[1\]; it must be an object"),
    "number": ("3", "is 3; it must be an object"),
    "no cluster": (json.dumps({"task": FIRST}), 'has a "task" and no "cluster"'),
    "cluster null": (of(None), 'has the "cluster" null; it must be'),
    "cluster list": (of(["a:1"]), r'has the "cluster" \["a:1"\]; it must be'),
    "unknown job": (of({"workers": ["a:1", "b:1"]}), "has the job 'workers' .* chief or worker"),
    "empty list": (of({"worker": []}), r'has \[\] for the job "worker"; it must be a list'),
    "one text": (of({"worker": "a:1"}), "has 'a:1' for the job \"worker\"; it must be a list"),
    "by number": (of({"worker": {"0": "a:1"}}), 'for the job "worker"; it must be a list'),
    "two chiefs": (of({"chief": ["a:1", "b:1"]}), "has 2 chiefs; one is possible"),
    "no port": (
        of({"worker": ["a:1", "b"]}),
        "the address 'b' for worker 1; it must be host:port",
    ),
    "port 0": (of({"worker": ["a:1", "b:0"]}), "has the address 'b:0' for worker 1"),
    "port 65536": (of({"worker": ["a:1", "b:65536"]}), "a port from 1 to 65535"),
    "port word": (of({"worker": ["a:1", "b:http"]}), "has the address 'b:http'"),
    "scheme": (of({"worker": ["a:1", "grpc://b:1"]}), "has the address 'grpc://b:1'"),
    "no host": (of({"worker": ["a:1", ":1"]}), "has the address ':1'"),
    "space": (of({"worker": ["a:1", "b :1"]}), "has the address 'b :1'"),
    "no text": (of({"worker": ["a:1", 5]}), "has the address 5 for worker 1"),
    "nan": (of({"worker": ["a:1", float("nan")]}), "has the address NaN for worker 1"),
    "twice": (of({"chief": ["a:1"], "worker": ["a:1"]}), "a:1 twice, for chief 0 and worker 0"),
    "ps": (of({**TWO, "ps": ["c:1"]}), 'has a job "ps" .*only chief and worker are supported'),
    "evaluator": (of({**TWO, "evaluator": ["c:1"]}), 'has a job "evaluator"'),
    "no task": (json.dumps({"cluster": TWO}), 'has the "task" null; it must be an object such as'),
    "task list": (of(TWO, ["worker", 0]), r'has the "task" \["worker", 0\]'),
    "task ps": (of(TWO, {"type": "ps", "index": 0}), 'makes this process a "ps"'),
    "no type": (of(TWO, {"index": 0}), 'has the "type" null .*the cluster are worker'),
    "type list": (of(TWO, {"type": [], "index": 0}), r'has the "type" \[\]'),
    "other type": (of(TWO, {"type": "chief", "index": 0}), "has the \"type\" 'chief'"),
    "no index": (of(TWO, {"type": "worker"}), 'has the "index" null .*from 0 to 1'),
    "index 2": (of(TWO, {"type": "worker", "index": 2}), 'has the "index" 2 .*from 0 to 1'),
    "index -1": (of(TWO, {"type": "worker", "index": -1}), 'has the "index" -1'),
    "index true": (of(TWO, {"type": "worker", "index": True}), 'has the "index" true'),
    "index 0.0": (of(TWO, {"type": "worker", "index": 0.0}), 'has the "index" 0.0'),
    "index word": (of(TWO, {"type": "worker", "index": "²"}), "has the \"index\" '²'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_a_sentence(read, name):
    text, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message) as caught:
        read(text)
    assert str(caught.value).startswith("The environment variable TF_CONFIG ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


# Waiting


@pytest.fixture
def ports():
    """Return three ports of this machine that nothing uses."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    numbers = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return numbers


def member(ports, own):
    return Cluster({f"worker {i}": f"127.0.0.1:{port}" for i, port in enumerate(ports)}, own)


def test_workers_that_start_one_after_the_other_find_each_other(ports, capsys, monkeypatch):
    monkeypatch.setattr(clusters, "_PAUSE_SECONDS", 0.05)
    ended, all_ended = [], threading.Event()

    def start(own):
        wait_for_workers(member(ports, own), seconds=0.2)
        ended.append(own)
        # As TensorFlow does, which then has the port.
        with socket.create_server(("127.0.0.1", ports[int(own[-1])])):
            if len(ended) == 3:
                all_ended.set()
            all_ended.wait(30)

    threads = [threading.Thread(target=start, args=[f"worker {index}"]) for index in range(3)]
    for thread in threads[:2]:
        thread.start()
    expected, printed = f"worker 2 at 127.0.0.1:{ports[2]} (connection refused).\n", ""
    end = time.monotonic() + 30
    while f"Still waiting for {expected}" not in printed and time.monotonic() < end:
        time.sleep(0.1)
        printed += capsys.readouterr().out
    assert f"Still waiting for {expected}" in printed
    assert ended == []
    threads[2].start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(ended) == ["worker 0", "worker 1", "worker 2"]


def test_an_unknown_host_is_named_at_once(ports, capsys, monkeypatch):
    def unknown(address, timeout):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(socket, "create_connection", unknown)
    monkeypatch.setattr(time, "sleep", interrupt)
    addresses = {"worker 0": f"127.0.0.1:{ports[0]}", "worker 1": "mispelt.example:2222"}
    with pytest.raises(KeyboardInterrupt):
        wait_for_workers(Cluster(addresses, "worker 0"))
    assert capsys.readouterr().out == (
        "Still waiting for worker 1 at mispelt.example:2222 (its host name is unknown).\n"
    )


def test_a_port_that_is_in_use(ports):
    with socket.create_server(("127.0.0.1", ports[0])):
        with pytest.raises(OSError, match="another program uses this port already") as caught:
            wait_for_workers(member(ports, "worker 0"))
    assert f"worker 0, the address 127.0.0.1:{ports[0]}, and" in str(caught.value)


def test_an_address_of_another_machine_is_opened_on_this_one(ports):
    """As behind a router; 192.0.2.1 is in no network."""
    addresses = {"worker 0": f"192.0.2.1:{ports[0]}", "worker 1": f"127.0.0.1:{ports[1]}"}
    with socket.create_server(("127.0.0.1", ports[1])):
        wait_for_workers(Cluster(addresses, "worker 0"))
