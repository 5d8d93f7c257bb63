#!/usr/bin/env python3
"""Asks a quern server for many answers at random times, in company and beside clients that leave in
the middle, and compares each with what `quern run --prompts` says to the same request alone.

    tests/clients/same_answers.py build/release/quern demo --requests 1000

Token ids and log-probabilities must be equal, bit by bit: whatever else was in the step, however the
prompt was cut, whether its beginning was cached, preempted or computed. Needs Python alone.
Exit status 0 if all are equal, 1 with a line for each request that differs.
"""

import argparse
import http.client
import json
import queue
import random
import subprocess
import sys
import threading
import time

from serving import Serving, events_of

WORDS = ("once upon a time there was little fox kite river who wanted to find the bright red stone "
         "and all of her friends went with him over hill until night came down").split()


def make_requests(rng, count):
    """Bodies of /v1/completions. Beginnings are shared, so that prefixes are found in the cache."""
    beginnings = [" ".join(rng.choices(WORDS, k=rng.choice((8, 30, 70)))) for _ in range(12)]
    for _ in range(count):
        prompt = rng.choice(beginnings)
        if rng.random() < 0.8:
            prompt += " " + " ".join(rng.choices(WORDS, k=rng.randrange(1, 40)))
        body = {"prompt": prompt, "max_tokens": rng.randrange(1, 60),
                "seed": rng.randrange(2**31), "logprobs": rng.randrange(0, 4)}
        if rng.random() < 0.4:
            body["temperature"] = 0
        if rng.random() < 0.3:
            body |= {"top_k": rng.randrange(1, 40), "top_p": rng.choice((0.5, 0.9))}
        if rng.random() < 0.2:
            body["repetition_penalty"] = 1.3
        if rng.random() < 0.2:
            body["stop"] = rng.choice((["the"], [".", "!"], ["river"]))
        if rng.random() < 0.5:
            body["ignore_eos"] = True
        if rng.random() < 0.3:
            body["cache_salt"] = rng.choice(("a", "b"))
        if rng.random() < 0.3:
            body["priority"] = rng.randrange(-3, 4)
        yield body


def alone(quern, model, bodies):
    """The same requests, one after the other, without a prefix cache."""
    lines = "".join(json.dumps(body) + "\n" for body in bodies)
    done = subprocess.run([quern, "run", model, "--prompts", "-", "--max-num-seqs", "1",
                           "--no-enable-prefix-caching"],
                          input=lines, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"quern run ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        yield {"token_ids": answer["token_ids"], "finish_reason": answer["finish_reason"],
               "text": answer["text"],
               "logprobs": [token["logprob"] for token in answer["logprobs"]]}


class Client:
    """One of the threads: takes requests from the queue, streams or not, sometimes leaves."""

    def __init__(self, port, work, answers, seed, leave):
        self.port, self.work, self.answers = port, work, answers
        self.rng, self.leave = random.Random(seed), leave
        self.left = 0

    def run(self):
        while True:
            try:
                index, body = self.work.get_nowait()
            except queue.Empty:
                return
            time.sleep(self.rng.expovariate(50))
            try:
                if self.rng.random() < self.leave:
                    self.ask(body, leave_after=self.rng.randrange(0, 400))
                    self.left += 1
                self.answers[index] = self.ask(body)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.answers[index] = {"error": repr(error)}

    def ask(self, body, leave_after=None):
        stream = leave_after is not None or self.rng.random() < 0.5
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request("POST", "/v1/completions",
                               json.dumps(body | {"stream": stream, "return_token_ids": True}))
            if leave_after == 0:
                return None
            response = connection.getresponse()
            if response.status != 200:
                return {"error": f"{response.status}: {response.read()[:200]!r}"}
            if leave_after is not None:
                response.read(leave_after)
                return None
            chunks = self.chunks(response) if stream else [json.loads(response.read())]
        finally:
            connection.close()
        answer = {"token_ids": [], "text": "", "logprobs": [], "finish_reason": None}
        for chunk in chunks:
            if "error" in chunk:
                return {"error": chunk["error"]}
            for choice in chunk["choices"]:
                answer["token_ids"] += choice.get("token_ids") or []
                answer["text"] += choice["text"]
                answer["logprobs"] += (choice["logprobs"] or {}).get("token_logprobs", [])
                answer["finish_reason"] = choice["finish_reason"] or answer["finish_reason"]
        return answer

    @staticmethod
    def chunks(response):
        events = events_of(response.read().decode())
        if events[-1] != "[DONE]":
            raise ValueError(f"the stream ends with {events[-1]!r}")
        return [json.loads(event) for event in events[:-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--leave", type=float, default=0.25, metavar="SHARE",
                        help="of requests asked once before, by a client that leaves")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve-options", default="", help="separated by blanks")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    bodies = list(make_requests(rng, options.requests))
    wanted = list(alone(options.quern, options.model, bodies))
    if len(wanted) != len(bodies):
        sys.exit(f"quern run gave {len(wanted)} answers to {len(bodies)} requests")

    with Serving(options.quern, options.model, "--max-queue", str(options.requests),
                 *options.serve_options.split()) as server:
        work, answers = queue.Queue(), [None] * len(bodies)
        for item in enumerate(bodies):
            work.put(item)
        clients = [Client(server.port, work, answers, rng.random(), options.leave)
                   for _ in range(options.clients)]
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        metrics = server.metrics()
    differ = [i for i, (answer, want) in enumerate(zip(answers, wanted)) if answer != want]
    for i in differ[:20]:
        print(f"request {i}: {bodies[i]}\n  alone  {wanted[i]}\n  served {answers[i]}")
    figures = {name: metrics[name] for name in
               ("quern_preemptions_total", "quern_prefix_cache_hits_total")}
    print(f"{len(bodies) - len(differ)} of {len(bodies)} answers equal those alone, "
          f"{sum(client.left for client in clients)} clients left before; {figures}")
    return 1 if differ or server.status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
