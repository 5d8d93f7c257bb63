"""What the machine could do seconds before and after a sample.

Memory bandwidth changes within minutes on shared hosts, so a share of a ceiling counts only the
ceiling measured beside the sample.
"""
import json
import subprocess

TIMEOUT_S = 30


def probe_command(quern, threads):
    """A second or two of measuring that stores nothing."""
    return [quern, "doctor", "--probe", "--json", "-t", str(threads)]


def parse_figures(text, threads):
    """name -> value, as in {"read_gb_s": 33.1, "int8_amx": 3500}."""
    entry = json.loads(text)["ceilings"]["by_threads"][str(threads)]
    return {name: float(figure["value"]) for name, figure in entry["figures"].items()}


class Probe:
    """Takes ceilings; nothing ({}) without a quern binary that can."""

    def __init__(self, quern, say):
        self.quern = quern
        self.say = say
        self.missing = None if quern else "no quern binary was given"

    def take(self, threads):
        if self.missing:
            return {}
        try:
            done = subprocess.run(probe_command(self.quern, threads), capture_output=True,
                                  text=True, timeout=TIMEOUT_S, check=False)
            if done.returncode == 0:
                return parse_figures(done.stdout, threads)
            lines = done.stderr.strip().splitlines()
            self.missing = f"exit status {done.returncode}: {lines[-1] if lines else 'no message'}"
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
            self.missing = f"{type(error).__name__}: {error}"
        self.say(f"samples have no ceilings beside them: {self.missing}")
        return {}


def mean_figures(before, after):
    return {name: (before[name] + after[name]) / 2 for name in before.keys() & after.keys()}


def drift(before, after, name="read_gb_s"):
    """How far the two lie apart, as a share of the larger one; 0 where there are none."""
    if name not in before or name not in after:
        return 0.0
    low, high = sorted((before[name], after[name]))
    return (high - low) / high if high > 0 else 0.0


def share_of_ceiling(row, speed, figures):
    """The part of what the machine could do that `speed`, in tokens a second, is; None where row or
    figures lack what that needs.

    Of a row: work_bytes that cross from memory and work_operations, {unit: operations}, of one
    repetition. Reading and reckoning go on at once, so the floor is the longer of both."""
    tokens = (row.get("n_prompt") or row.get("n_gen", 0)) * row.get("batch", 1)
    bytes_read, operations = row.get("work_bytes"), row.get("work_operations")
    if not tokens or bytes_read is None or operations is None or "read_gb_s" not in figures:
        return None
    if not operations.keys() <= figures.keys():
        return None
    reading = bytes_read * 1e-9 / figures["read_gb_s"]
    reckoning = sum(count * 1e-9 / figures[unit] for unit, count in operations.items())
    return max(reading, reckoning) * speed / tokens
