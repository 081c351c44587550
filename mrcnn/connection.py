"""Answers of web servers, read within limits of time: http and https, nothing else."""

import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)


class NetworkError(Exception):
    """The network or the server failed. The message is the reason.

    Attributes:
        status: the HTTP status that the server answered with, if it is not a success.
    """

    def __init__(self, reason, status=None):
        super().__init__(reason)
        self.status = status


class Answer:
    """An answer of a server, with status 200 or 206.

    Args:
        url: address.
        timeout: seconds for the beginning of the answer, and for each `read`.
        headers: dict of headers of the request.

    Attributes:
        status: 200, or 206 for the rest of a file.
        headers: of the answer.
        length: announced number of bytes of this answer, or None.

    Raises:
        NetworkError: as do all methods.
    """

    def __init__(self, url, timeout, headers=None):
        self._watchdog = _Watchdog(timeout)
        try:
            with self._explained():
                request = Request(url, headers=headers or {})
                if request.type not in ("http", "https"):
                    raise NetworkError("accepted are addresses with http:// and https://")
                self._response = _opener(self._watchdog).open(request, timeout=timeout)
            self.status, self.headers = self._response.status, self._response.headers
            encoding = self.headers.get("Content-Encoding") or "identity"
            if self.status not in (200, 206):
                raise NetworkError(
                    f"the server answers with HTTP status {self.status}", self.status
                )
            if encoding.lower() != "identity":
                raise NetworkError(f"it arrives in the encoding {encoding[:40]!r}")
            self.length = _length(self.headers)
        except BaseException:
            self.close()
            raise

    def close(self):
        """Close the connection."""
        self._watchdog.stop()
        # Those of redirections too, which urllib leaves open after errors.
        for response in self._watchdog.responses:
            response.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    @property
    def validator(self):
        """The ETag of the file, or its date, or None: for the header If-Range."""
        etag = self.headers.get("ETag") or ""
        found = etag if etag.startswith('"') else self.headers.get("Last-Modified")
        return found if is_validator(found) else None

    def read(self, most):
        """Return up to `most` bytes as soon as some arrive; none at the end."""
        self._watchdog.extend()
        with self._explained():
            return self._response.read1(most)

    @contextmanager
    def _explained(self):
        """Turn all errors of the block into NetworkError."""
        try:
            yield
        except HTTPError as error:
            error.close()  # It holds the connection.
            raise NetworkError(str(error), error.code) from None
        # ValueError is for addresses that cannot be sent.
        except (OSError, HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            if self._watchdog.has_fired:
                reason = f"the server did not go on for {self._watchdog.seconds:g} seconds"
            raise NetworkError(" ".join(reason.split())[:300]) from error
        if self._watchdog.has_fired:
            reason = f"the server did not go on for {self._watchdog.seconds:g} seconds"
            raise NetworkError(reason)


def _length(headers):
    """Return the announced length, or None."""
    text = headers.get("Content-Length")
    if text is None or headers.get("Transfer-Encoding"):
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise NetworkError(f"the server announces the length {text[:40]!r}")
    return int(text)


def is_validator(text):
    """Return True for a text that a header may hold."""
    return isinstance(text, str) and bool(re.fullmatch(r"[\x20-\x7e]{1,1000}", text))


class _Watchdog:
    """Thread that ends connections at a deadline.

    The timeout of a socket starts anew with every byte that drips in.
    """

    def __init__(self, seconds):
        self.seconds, self.has_fired = seconds, False
        self.sockets, self.responses = [], []
        self._stopped = threading.Event()
        self.extend()
        threading.Thread(target=self._watch, daemon=True).start()

    def extend(self):
        """Move the deadline."""
        self._deadline = time.monotonic() + self.seconds

    def stop(self):
        """End the thread."""
        self._stopped.set()

    def _watch(self):
        while not self._stopped.wait(max(self._deadline - time.monotonic(), 0.01)):
            if time.monotonic() < self._deadline:
                continue
            self.has_fired = True
            for each in self.sockets:
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
            return


def _opener(watchdog):
    """Return an opener without files, FTP and data addresses, to which a server may redirect."""

    def watched(base):
        class Watched(base):
            def connect(self):
                super().connect()
                watchdog.sockets.append(self.sock)

            def getresponse(self):
                response = super().getresponse()
                watchdog.responses.append(response)
                return response

        return Watched

    class Http(HTTPHandler):
        def http_open(self, request):
            return self.do_open(watched(HTTPConnection), request)

    class Https(HTTPSHandler):
        def https_open(self, request):
            return self.do_open(watched(HTTPSConnection), request)

    class Redirect(HTTPRedirectHandler):
        def redirect_request(self, request, response, *arguments):
            # urllib would read all that comes with a redirection.
            response.close()
            return super().redirect_request(request, response, *arguments)

    opener = OpenerDirector()
    for handler in (
        *(ProxyHandler(), UnknownHandler(), Http(), Https()),
        *(HTTPDefaultErrorHandler(), Redirect(), HTTPErrorProcessor()),
    ):
        opener.add_handler(handler)
    return opener
