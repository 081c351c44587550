"""A server on this machine that sends one body well, in parts, or badly."""

import re
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Behaviour:
    """Behaviour of a server, which a test may change while it runs.

    bodies: dict of bytes by the name at the end of the address; others are a 404.
    cuts: list; the first entry is taken away by each answer, which then ends after so many bytes.
    ranges: go by the header Range ("right"), ignore it ("ignored"), or send another part ("wrong").
    announce: send the length.
    etag: text of the header ETag, or None. A part is sent only if If-Range is absent or this.
    asked: list of the Range headers that came, None for none.
    posted: list of (address, body) of what was sent here.
    """

    def __init__(self, bodies):
        self.bodies, self.cuts, self.asked, self.posted = bodies, [], [], []
        self.ranges, self.announce, self.etag = "right", True, None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted, name = self.server.behaviour, self.path.rsplit("/", 1)[1].partition("?")[0]
        wanted.asked.append(self.headers.get("Range"))
        if name not in wanted.bodies:
            self.send_error(404)
            return
        body = wanted.bodies[name]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and wanted.ranges != "ignored" else 0
        if self.headers.get("If-Range") not in (None, wanted.etag):
            start = 0
        if start >= len(body) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start:
            self.send_response(206)
            start += wanted.ranges == "wrong"
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if wanted.etag:
            self.send_header("ETag", wanted.etag)
        if wanted.announce:
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + wanted.cuts.pop(0) if wanted.cuts else len(body)
        with suppress(ConnectionError):  # the client may have been interrupted
            self.wfile.write(body[start:end])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.behaviour.posted.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@contextmanager
def serving(bodies):
    """Run a server; gives its address and its `Behaviour`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.behaviour = Behaviour(bodies)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", running.behaviour
        finally:
            running.shutdown()
            thread.join()


@contextmanager
def answering(answer):
    """Run a server that lets a function `answer(connection, request)` send what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection):
            with connection, suppress(OSError):
                request = b""
                while b"\r\n\r\n" not in request and (more := connection.recv(4096)):
                    request += more
                if request:
                    answer(connection, request)

        def accept():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()
