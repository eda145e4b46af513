"""A web server whose answers end only when they are let, for copies that are under way meanwhile."""

import contextlib
import http.server
import threading

CONTENT = b"from elsewhere" * 20_000


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(CONTENT)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the copy was given up
            self.wfile.write(CONTENT[:1000])
            self.server.may_end.wait(30)
            self.wfile.write(CONTENT[1000:])

    def log_message(self, *_):
        """Quiet."""


@contextlib.contextmanager
def slow_source():
    """Its URL, and the event that lets answers end."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.may_end = threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/source", server.may_end
        finally:
            server.may_end.set()
            server.shutdown()
