"""Servers of the OpenAI API: how each is started, and the load that `quern bench serve` puts on it."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engines import EngineFailed


@dataclass(frozen=True)
class Room:
    """What a server is told to make room for."""

    threads: int
    sequences: int
    context: int  # tokens of one sequence


def quern(binary, model, room, port):
    return [binary, "serve", model, "--port", str(port), "--threads", str(room.threads),
            "--max-num-seqs", str(room.sequences), "--max-model-len", str(room.context)]


def llama_server(binary, model, room, port):
    """Its context is of all slots together."""
    return [binary, "-m", model, "--port", str(port), "-t", str(room.threads),
            "-np", str(room.sequences), "-c", str(room.sequences * room.context)]


def vllm(python, model, room, port):
    return [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model,
            "--port", str(port), "--dtype", "bfloat16", "--max-num-seqs", str(room.sequences),
            "--max-model-len", str(room.context), "--served-model-name", "model"]


KINDS = {"quern": quern, "llama_server": llama_server, "vllm": vllm}


@dataclass(frozen=True)
class Server:
    name: str
    kind: str
    binary: str
    model: str
    options: tuple = ()

    def command(self, room, port):
        return [*KINDS[self.kind](self.binary, self.model, room, port), *self.options]

    def environment(self, room):
        if self.kind != "vllm":
            return dict(os.environ)
        cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:room.threads])
        return os.environ | {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_OMP_THREADS_BIND": cpus,
                             "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1",
                             "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(room.threads)}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


MOST_STEAL = 0.05


def is_comparable(result):
    """Whether a load says enough about servers that take turns, though something is wrong with it:
    the hypervisor gave a little of the machine to others, without which no load on a shared host
    would count, or first tokens came later than the server's own metrics have it, which only quern
    has to answer for."""
    validity = result.get("validity", {})
    broken = {name: check["value"] for name, check in validity.get("checks", {}).items()
              if check["value"] is not None and abs(check["value"]) > check["bound"]}
    return (0 < len(broken) == len(validity.get("reasons", [])) and
            broken.pop("steal", 0) <= MOST_STEAL and broken.keys() <= {"ttft_beyond_server_ms"})


class Running:
    """A server that answers, until the block ends; then its whole process group is gone."""

    def __init__(self, server, room, timeout_s=600):
        self.server, self.room, self.timeout_s = server, room, timeout_s
        self.port = free_port()
        self.log = tempfile.TemporaryFile()

    def __enter__(self):
        try:
            self.process = subprocess.Popen(
                self.server.command(self.room, self.port), stdin=subprocess.DEVNULL,
                stdout=self.log, stderr=self.log, start_new_session=True,
                env=self.server.environment(self.room))
        except OSError as error:
            self.log.close()
            raise EngineFailed(f"cannot start {self.server.binary}: {error.strerror}") from error
        try:
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self):
        stop = time.monotonic() + self.timeout_s
        while time.monotonic() < stop:
            if self.process.poll() is not None:
                self.log.seek(0)
                lines = self.log.read().decode(errors="replace").strip().splitlines() or ["nothing"]
                raise EngineFailed(f"{self.server.name} ended with {self.process.returncode}; "
                                   f"it said last: {lines[-1][:200]}")
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass  # it does not listen yet
            finally:
                connection.close()
            time.sleep(0.2)
        raise EngineFailed(f"{self.server.name} is not ready after {self.timeout_s} s")

    def __exit__(self, *_):
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(timeout=40)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        self.process.wait()
        self.log.close()

    def load(self, client, arguments, timeout_s=900, whole=True):
        """The result of `quern bench serve` with these arguments against this server. `whole`: it
        must have lost and cut no answer, and the client must have been in time."""
        with tempfile.TemporaryDirectory() as folder:
            command = [client, "bench", "serve", "--base-url", f"http://127.0.0.1:{self.port}",
                       "--ignore-eos", "--temperature", "0", "--save-result", "--save-detailed",
                       "--result-dir", folder, "--result-filename", "result.json", *arguments]
            try:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                                      timeout=timeout_s, text=True, check=False)
            except subprocess.TimeoutExpired as late:
                raise EngineFailed(f"{self.server.name}: no result within {timeout_s} s") from late
            path = Path(folder, "result.json")
            result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        if result is None or (whole and done.returncode != 0 and not is_comparable(result)):
            raise EngineFailed(f"{self.server.name}: quern bench serve ended with "
                               f"{done.returncode}: {done.stderr.strip()[-300:]}")
        return result


def add_arguments(parser):
    parser.add_argument("--quern", metavar="BINARY", required=True,
                        help="quern: the server measured, and the client")
    parser.add_argument("--server", metavar="NAME:KIND=BINARY", action="append", default=[],
                        help=f"one more server; kinds: {', '.join(KINDS)} (of vllm its Python)")
    parser.add_argument("-m", "--model", metavar="FILE", required=True,
                        help="that all servers load, but those with a model of their own")
    parser.add_argument("--model-of", metavar="NAME=PATH", action="append", default=[],
                        help="the model of one server, where its format differs")
    parser.add_argument("--options-of", metavar="NAME=OPTIONS", action="append", default=[],
                        help="more options of one server, separated by blanks")
    parser.add_argument("--tokenizer", metavar="MODEL",
                        help="counts tokens of prompts and, again, of answers; not for models "
                        "that write no text (default: lengths of prompts are words)")
    parser.add_argument("-c", "--max-model-len", type=int, metavar="N",
                        help="tokens of one sequence (default: what two tokens a word need)")
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json-out", metavar="FILE", help="where everything measured is written")


def tokenizer_of(options):
    return ["--tokenizer", options.tokenizer] if options.tokenizer else []


def servers_of(parser, options):
    # Who is told to stop takes the servers along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    def pairs(texts, flag):
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals or not name or not value:
                parser.error(f"{flag} {text}: wanted NAME=...")
            yield name, value

    models = dict(pairs(options.model_of, "--model-of"))
    extra = {name: tuple(value.split()) for name, value in pairs(options.options_of,
                                                                  "--options-of")}
    known = {"quern": ("quern", options.quern)}
    for who, binary in pairs(options.server, "--server"):
        name, colon, kind = who.partition(":")
        if not colon or kind not in KINDS:
            parser.error(f"--server {who}: wanted NAME:KIND, and a kind of {', '.join(KINDS)}")
        known[name] = (kind, binary)
    for name in models.keys() | extra.keys():
        if name not in known:
            parser.error(f"there is no server {name}")
    return [Server(name, kind, os.path.abspath(binary),
                   os.path.abspath(models.get(name, options.model)), extra.get(name, ()))
            for name, (kind, binary) in known.items()]
