#!/usr/bin/env python3
"""Ends a quern server under load again and again, hard and softly, and starts it anew.

    tests/clients/kill_restart.py build/release/quern demo --kills 100 --terms 50

After SIGKILL the next start must answer, within two seconds of its beginning. After SIGTERM the
server must end by itself with status 0, and every stream with [DONE] or with an error event before
it. Needs Python alone. Exit status 0 if all of this holds, else 1 with a line for each that does
not.
"""

import argparse
import http.client
import json
import random
import signal
import sys
import threading
import time

from serving import Serving, events_of

MOST_START_S = 2


class Stream(threading.Thread):
    """One long answer, read to wherever it ends."""

    def __init__(self, server, seed):
        super().__init__()
        self.server, self.seed = server, seed
        self.status, self.events, self.error = None, [], None
        self.refused = False  # nobody listened any more

    def run(self):
        connection = self.server.connect(60)
        try:
            connection.connect()
        except OSError as error:
            self.error, self.refused = error, True
            return
        try:
            connection.request("POST", "/v1/completions", json.dumps(
                {"prompt": "Once upon a time", "max_tokens": 400, "ignore_eos": True,
                 "stream": True, "seed": self.seed}))
            response = connection.getresponse()
            self.status = response.status
            try:
                text = response.read().decode()
            except http.client.IncompleteRead as cut:
                text = cut.partial.decode()
            self.events = events_of(text)
        except (OSError, http.client.HTTPException) as error:
            self.error = error
        finally:
            connection.close()

    def ended_well(self):
        if self.status == 503:
            return True  # it came when the server was stopping already
        if self.status != 200 or not self.events:
            return False
        try:
            return self.events[-1] == "[DONE]" or "error" in json.loads(self.events[-1])
        except ValueError:
            return False  # cut inside an event


def one_round(serving, how, rng):
    """What went wrong, a line each, and the seconds from start to the first answer."""
    begun = time.monotonic()
    with serving as server:
        status, _ = server.post("/v1/completions", {"prompt": "Once", "max_tokens": 1})
        start_s = time.monotonic() - begun
        if status != 200:
            yield f"the first answer has status {status}"
        streams = [Stream(server, rng.randrange(2**31)) for _ in range(4)]
        for stream in streams:
            stream.start()
        time.sleep(rng.uniform(0, 0.3))
        server.process.send_signal(how)
        ended = server.process.wait(timeout=60)
        for stream in streams:
            stream.join()
    if start_s > MOST_START_S:
        yield f"the first answer came after {start_s:.2f} s"
    if how == signal.SIGTERM:
        if ended != 0:
            yield f"exit status {ended}"
        for stream in streams:
            if not stream.refused and not stream.ended_well():
                yield (f"a stream ended with status {stream.status}, {stream.events[-1:]}, "
                       f"{stream.error!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern")
    parser.add_argument("model")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--terms", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve-options", default="", help="separated by blanks")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    rounds = [signal.SIGKILL] * options.kills + [signal.SIGTERM] * options.terms
    rng.shuffle(rounds)
    faults = []
    for index, how in enumerate(rounds):
        serving = Serving(options.quern, options.model, *options.serve_options.split())
        faults += [f"round {index}, {how.name}: {fault}" for fault in one_round(serving, how, rng)]
    print(f"{options.kills} x SIGKILL, {options.terms} x SIGTERM: {len(faults)} faults")
    for fault in faults:
        print(f"FAULT {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
