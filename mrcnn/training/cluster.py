"""The processes that train together, as the environment variable TF_CONFIG names them."""

import contextlib
import errno
import json
import os
import re
import socket
import time
from typing import NamedTuple

# Jobs whose processes train, and others that TensorFlow knows.
JOBS, OTHER_JOBS = ("chief", "worker"), ("ps", "evaluator")

# A host name, an IPv4 address, or an IPv6 address in brackets; and a port.
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.%\w]+\]|[^\s:/\[\]@]+):([0-9]{1,5})")

# Seconds between two lines about the workers that are waited for.
WAITING_SECONDS = 30
# Seconds for one of them to answer, and until all are asked again.
_ANSWER_SECONDS, _PAUSE_SECONDS = 3, 0.5
_UNKNOWN = "its host name is unknown"

_TASK = '{"type": "worker", "index": 0}'
_EXAMPLE = f'{{"cluster": {{"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}}, "task": {_TASK}}}'


class Cluster(NamedTuple):
    """The processes that train together.

    Attributes:
        addresses: dict from the name of a process, such as "worker 1", to its "host:port".
        own: name of this process; None if it trains alone.
    """

    addresses: dict[str, str]
    own: str | None

    @property
    def others(self):
        """Return the addresses of the other processes by name."""
        return {name: where for name, where in self.addresses.items() if name != self.own}


def read_cluster():
    """Return the `Cluster` of TF_CONFIG; without TF_CONFIG, or if it is blank, one of no process.

    Raises:
        ValueError: names the first mistake in TF_CONFIG.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return Cluster({}, None)
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(f"is not JSON ({error}): {_shown(text)}")
    if not isinstance(settings, dict):
        _refuse(f"is {_shown(settings)}; it must be an object such as {_EXAMPLE}")
    if "cluster" not in settings and settings.get("task"):
        _refuse('has a "task" and no "cluster", the addresses of all workers')
    jobs = settings.get("cluster", {})
    if not isinstance(jobs, dict):
        _refuse(f'has the "cluster" {_shown(jobs)}; it must be an object such as {_EXAMPLE}')
    _check_jobs(jobs)
    addresses = {
        f"{job} {index}": address for job in JOBS for index, address in enumerate(jobs.get(job, []))
    }
    if len(addresses) < 2:
        return Cluster(addresses, None)
    for job in set(jobs) & set(OTHER_JOBS):
        _refuse(f'has a job "{job}" in its "cluster"; only {" and ".join(JOBS)} are supported')
    return Cluster(addresses, _own_name(settings.get("task"), jobs))


def _check_jobs(jobs):
    owners = {}
    for job, addresses in jobs.items():
        if job not in JOBS + OTHER_JOBS:
            _refuse(f'has the job {_shown(job)} in its "cluster"; it may be {" or ".join(JOBS)}')
        if not isinstance(addresses, list) or not addresses:
            _refuse(
                f'has {_shown(addresses)} for the job "{job}"; it must be a list of addresses '
                'such as ["10.0.0.1:2222"]'
            )
        if job == "chief" and len(addresses) > 1:
            _refuse(f"has {len(addresses)} chiefs; one is possible, and the others are workers")
        for index, address in enumerate(addresses):
            name = f"{job} {index}"
            match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
            if match is None or not 0 < int(match[2]) < 1 << 16:
                _refuse(
                    f"has the address {_shown(address)} for {name}; it must be host:port, with a "
                    "port from 1 to 65535"
                )
            if address in owners:
                _refuse(f"has the address {address} twice, for {owners[address]} and {name}")
            owners[address] = name


def _own_name(task, jobs):
    """Return the name of this process, such as "worker 1"."""
    if not isinstance(task, dict):
        _refuse(f'has the "task" {_shown(task)}; it must be an object such as {_TASK}')
    kind, index = task.get("type"), task.get("index")
    if kind in OTHER_JOBS:
        _refuse(f'makes this process a "{kind}"; only {" and ".join(JOBS)} are supported')
    if not isinstance(kind, str) or kind not in jobs:
        _refuse(
            f'has the "type" {_shown(kind)} in its "task"; the jobs of the cluster are '
            f"{' and '.join(jobs)}"
        )
    # TensorFlow reads the text of a number, too.
    if isinstance(index, str) and index.isdecimal() and index.isascii() and len(index) < 10:
        index = int(index)
    count = len(jobs[kind])
    if type(index) is not int or not 0 <= index < count:
        _refuse(
            f'has the "index" {_shown(index)} in its "task"; it must be a whole number from 0 to '
            f"{count - 1}, because there are {count} of {kind}"
        )
    return f"{kind} {index}"


def _shown(value):
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse(text):
    raise ValueError(f"The environment variable TF_CONFIG {text}.")


def _split(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def wait_for_workers(cluster, seconds=WAITING_SECONDS):
    """Wait until the ports of all other processes answer, and print now and then which do not.

    TensorFlow would wait without a word, and without noticing Ctrl-C. Until it opens the port of
    this process, the others find a socket there that answers and does nothing.

    Raises:
        OSError: if another program uses the port of this process.
    """
    with _answering(cluster):
        silent = {name: None for name in cluster.others}
        told, misspelt = time.monotonic(), set()
        while True:
            silent = {name: _silence(cluster.addresses[name]) for name in silent}
            silent = {name: reason for name, reason in silent.items() if reason}
            if not silent:
                return
            # A name that nobody knows is often misspelt, but may become known when its machine
            # starts.
            unknown = {name for name, reason in silent.items() if reason == _UNKNOWN} - misspelt
            if unknown or time.monotonic() - told >= seconds:
                missing = [
                    f"{name} at {cluster.addresses[name]} ({silent[name]})" for name in silent
                ]
                print(f"Still waiting for {', '.join(missing)}.", flush=True)
                told, misspelt = time.monotonic(), misspelt | unknown
            time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def _answering(cluster):
    """Listen at the port of this process during a block."""
    address = cluster.addresses[cluster.own]
    host, port = _split(address)
    try:
        server = _listen(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason = os.strerror(error.errno) if error.errno else error
            raise OSError(
                f"TF_CONFIG gives this process, {cluster.own}, the address {address}, whose port "
                f"it cannot open ({reason})."
            ) from error
        raise OSError(
            f"TF_CONFIG gives this process, {cluster.own}, the address {address}, and another "
            "program uses this port already, perhaps an earlier training; end it, or choose "
            "another port for all workers."
        ) from error
    with server:
        yield


def _listen(host, port):
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family)
    except OSError as error:
        # Behind a router a machine may not have the name or the address that others use for it.
        if not isinstance(error, socket.gaierror) and error.errno != errno.EADDRNOTAVAIL:
            raise
        return socket.create_server(("", port))


def _silence(address):
    """Return why an address does not answer, or None if it does."""
    try:
        with socket.create_connection(_split(address), timeout=_ANSWER_SECONDS):
            return None
    except (socket.gaierror, UnicodeError):
        return _UNKNOWN
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno else "no answer"
