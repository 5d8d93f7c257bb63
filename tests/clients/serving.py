"""A `quern serve` of a client's own, and what can be seen of it from outside."""

import http.client
import json
import signal
import subprocess
import tempfile
import time
from pathlib import Path


class ServerEnded(Exception):
    """The server ended before it was ready."""


class Serving:
    """Runs until the block ends; `status` is then what it exited with."""

    def __init__(self, quern, model, *options):
        self.command = [quern, "serve", model, "--port", "0", *options]
        self.status = None

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        ready = Path(self.folder.name, "ready")
        begun = time.monotonic()
        self.process = subprocess.Popen([*self.command, "--ready-file", str(ready)],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not ready.exists():
            if self.process.poll() is not None:
                self.folder.cleanup()
                raise ServerEnded(f"quern serve ended with {self.process.returncode}")
            time.sleep(0.01)
        self.start_s = time.monotonic() - begun
        self.port = int(ready.read_text(encoding="utf-8").strip().rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.status = self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.folder.cleanup()

    def connect(self, timeout=300):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def post(self, path, body):
        """Status and JSON of a whole answer."""
        connection = self.connect()
        try:
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def metrics(self):
        """Values by name, those of several labels added up."""
        connection = self.connect(timeout=30)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        values = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.split("{")[0].split(" ")[0], float(line.rsplit(" ", 1)[1])
                values[name] = values.get(name, 0) + value
        return values

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def resident_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
        raise ServerEnded("the server has no memory any more")


def events_of(text):
    """The data of a stream of server-sent events, as text."""
    return [line[6:] for line in text.splitlines() if line.startswith("data: ")]
