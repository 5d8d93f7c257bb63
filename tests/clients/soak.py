#!/usr/bin/env python3
"""Keeps a quern server busy for minutes with clients good and bad, and looks at what they leave.

    tests/clients/soak.py build/release/quern demo --minutes 60 --serve-options "--threads 1"

Clients stream, ask for whole answers, leave after every byte of a request in turn or somewhere in
the answer, close their half of the connection, read slowly, and send nonsense. Every whole answer
must be that of the same request alone (`quern run --prompts`), every refusal a 400, every request
stand in the access log once. Now and then all wait until the server is idle: then no block of keys
and values, no connection and no descriptor may be held, and memory must have stopped to grow.
Needs Python alone. Exit status 0 if all of this holds, else 1 with a line for each thing that does
not.
"""

import argparse
import collections
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from serving import Serving, events_of

MOST_GROWTH = 2 << 20  # bytes of memory in the last two thirds of the time
IDLE_WITHIN_S = 10
BAD_BODIES = (b"{", b"[]", b'{"prompt":5}', b'{"prompt":"x","colour":1}', b'{"prompt":"x","n":0}',
              b'{"prompt":[999999999]}', b'{"prompt":"x","logit_bias":{"-1":1}}', b"\xff\xfe",
              b'{"prompt":"x","max_tokens":1e99}', b'{"prompt":"x","stop":[5]}')


def make_bodies(rng, count):
    words = "once upon a time there was a little fox who lived by the river and sang".split()
    for _ in range(count):
        yield {"prompt": " ".join(rng.choices(words, k=rng.randrange(1, 60))),
               "max_tokens": rng.randrange(1, 40), "seed": rng.randrange(2**31),
               "temperature": rng.choice((0, 1)), "ignore_eos": True}


def texts_alone(quern, model, bodies):
    lines = "".join(json.dumps(body) + "\n" for body in bodies)
    done = subprocess.run([quern, "run", model, "--prompts", "-"], input=lines,
                          capture_output=True, text=True, check=True)
    return [json.loads(line)["text"] for line in done.stdout.splitlines()]


class Soak:
    """What the clients share: the load, what they saw, and when they have to wait."""

    def __init__(self, server, bodies, texts, seed):
        self.server, self.bodies, self.texts = server, bodies, texts
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.faults = []
        self.ids = []  # of the answers that a client saw the head of
        self.next_byte = 0
        self.rng = random.Random(seed)
        self.running = threading.Event()
        self.over = False
        self.busy = 0

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def fault(self, text):
        with self.lock:
            self.counts["faults"] += 1
            if len(self.faults) < 50:
                self.faults.append(text)

    def saw(self, response):
        with self.lock:
            self.ids.append(response.headers["x-request-id"])

    def client(self, seed):
        rng = random.Random(seed)
        kinds = (self.ask_whole, self.ask_stream, self.leave_in_request, self.leave_in_answer,
                 self.half_close, self.read_slowly, self.send_nonsense)
        while not self.over:
            self.running.wait()
            with self.lock:
                self.busy += 1
            kind = rng.choice(kinds)
            try:
                kind(rng)
                self.count(kind.__name__)
            except (OSError, http.client.HTTPException, ValueError, LookupError,
                    TypeError) as error:
                self.fault(f"{kind.__name__}: {error!r}")
            finally:
                with self.lock:
                    self.busy -= 1

    def check_text(self, what, index, text):
        if text != self.texts[index]:
            self.fault(f"{what}: request {index} got {text!r}, alone {self.texts[index]!r}")

    def ask_whole(self, rng, path="/v1/completions"):
        index = rng.randrange(len(self.bodies))
        connection = self.server.connect(60)
        try:
            connection.request("POST", path, json.dumps(self.bodies[index]))
            response = connection.getresponse()
            self.saw(response)
            self.check_text("whole", index, json.loads(response.read())["choices"][0]["text"])
        finally:
            connection.close()

    def ask_stream(self, rng):
        index = rng.randrange(len(self.bodies))
        connection = self.server.connect(60)
        try:
            connection.request("POST", "/v1/completions",
                               json.dumps(self.bodies[index] | {"stream": True}))
            response = connection.getresponse()
            self.saw(response)
            self.check_stream("stream", index, response.read().decode())
        finally:
            connection.close()

    def check_stream(self, what, index, text):
        events = events_of(text)
        if not events or events[-1] != "[DONE]":
            self.fault(f"{what}: the stream ends with {events[-1:]}")
            return
        pieces = [json.loads(event)["choices"][0]["text"] for event in events[:-1]]
        self.check_text(what, index, "".join(pieces))

    def raw(self, rng, stream):
        """An index, and the bytes of the request."""
        index = rng.randrange(len(self.bodies))
        body = json.dumps(self.bodies[index] | {"stream": stream}).encode()
        head = (f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode()
        return index, head + body

    def leave_in_request(self, rng):
        _, data = self.raw(rng, rng.random() < 0.5)
        with self.lock:
            at = self.next_byte % (len(data) + 1)
            self.next_byte += 1
        with socket.create_connection(("127.0.0.1", self.server.port), 60) as client:
            client.sendall(data[:at])

    def leave_in_answer(self, rng):
        _, data = self.raw(rng, rng.random() < 0.8)
        wanted = rng.randrange(1, 3000)
        with socket.create_connection(("127.0.0.1", self.server.port), 60) as client:
            client.sendall(data)
            while wanted > 0 and (got := client.recv(wanted)):
                wanted -= len(got)

    def half_close(self, rng):
        """A client that says that it sends no more; it is answered or left, but never half."""
        index, data = self.raw(rng, True)
        with socket.create_connection(("127.0.0.1", self.server.port), 60) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while got := client.recv(65536):
                answer += got
        self.count("half_close answered" if b"[DONE]" in answer else "half_close left")
        if b"[DONE]" in answer:
            events = events_of(answer.split(b"\r\n\r\n", 1)[1].decode())
            pieces = [json.loads(event)["choices"][0]["text"] for event in events[:-1]]
            self.check_text("half_close", index, "".join(pieces))

    def read_slowly(self, rng):
        _, data = self.raw(rng, True)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(60)
            client.connect(("127.0.0.1", self.server.port))
            client.sendall(data)
            for _ in range(rng.randrange(1, 100)):
                if not client.recv(64):
                    break
                time.sleep(0.02)

    def send_nonsense(self, rng):
        connection = self.server.connect(60)
        try:
            body = rng.choice(BAD_BODIES)
            connection.request("POST", "/v1/completions", body)
            response = connection.getresponse()
            self.saw(response)
            answer = json.loads(response.read())
            if response.status != 400 or "message" not in answer["error"]:
                self.fault(f"nonsense {body!r}: {response.status} {answer}")
        finally:
            connection.close()


def wait_until_idle(soak, server, descriptors):
    """What the idle server still holds that it should not, and its memory. Its connections end a
    little after the clients'."""
    soak.running.clear()
    while soak.busy:
        time.sleep(0.01)
    stop = time.monotonic() + IDLE_WITHIN_S
    while True:
        metrics = server.metrics()
        held = {name: metrics[f"quern_{name}"] for name in
                ("num_requests_running", "num_requests_waiting", "kv_cache_usage_ratio")}
        held["http_connections"] = metrics["quern_http_connections"] - 1  # this question's own
        time.sleep(0.1)
        held["descriptors"] = server.descriptors() - descriptors
        if not any(held.values()) or time.monotonic() > stop:
            return held, server.resident_bytes()


def check_log(path, ids):
    """Every answer that a client saw has one line."""
    lines = collections.Counter()
    statuses = collections.Counter()
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        lines[row["request_id"]] += 1
        statuses[row["status"]] += 1
    for name in ids:
        if lines[name] != 1:
            yield f"request {name} stands {lines[name]} times in the log"
    for name, count in lines.items():
        if count > 1:
            yield f"request {name} stands {count} times in the log"
    print(f"access log: {sum(lines.values())} lines, by status {dict(sorted(statuses.items()))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern")
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--check-every", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve-options", default="", help="separated by blanks")
    options = parser.parse_args()
    bodies = list(make_bodies(random.Random(options.seed), 60))
    texts = texts_alone(options.quern, options.model, bodies)
    samples, faults = [], []
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder, "access.log"))
        with Serving(options.quern, options.model, "--access-log", log, "--max-model-len", "512",
                     *options.serve_options.split()) as server:
            soak = Soak(server, bodies, texts, options.seed)
            threads = [threading.Thread(target=soak.client, args=(i,), daemon=True)
                       for i in range(options.clients)]
            descriptors = server.descriptors()
            for thread in threads:
                thread.start()
            end = time.monotonic() + 60 * options.minutes
            while time.monotonic() < end and server.process.poll() is None:
                soak.running.set()
                time.sleep(min(options.check_every, max(0.1, end - time.monotonic())))
                held, resident = wait_until_idle(soak, server, descriptors)
                samples.append(resident)
                if any(held.values()):
                    faults.append(f"idle, and held: {held}")
            soak.over = True
            soak.running.set()
            for thread in threads:
                thread.join(timeout=120)
            faults += ["a client waits without end" for thread in threads if thread.is_alive()]
        if server.status != 0:
            faults.append(f"the server ended with {server.status}")
        faults += soak.faults + list(check_log(log, soak.ids))
    growth = samples[-1] - samples[len(samples) // 3]
    if growth > MOST_GROWTH:
        faults.append(f"memory grew by {growth >> 10} KiB in the last two thirds of the time")
    print(f"{sum(soak.counts[k] for k in soak.counts if ' ' not in k)} requests: "
          f"{dict(sorted(soak.counts.items()))}")
    print(f"memory when idle, MiB: first {samples[0] >> 20}, then "
          f"{samples[len(samples) // 3] / 2**20:.1f}, last {samples[-1] / 2**20:.1f}; "
          f"{descriptors} descriptors; {len(samples)} times idle")
    for fault in faults:
        print(f"FAULT {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
