"""Whose CPU time was it: what others had while something was measured."""
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since boot, over all CPUs. `steal` is what the hypervisor gave to other guests."""

    wall: float
    busy: float
    steal: float
    ours: float  # this script and its finished children


def read_cpu_times():
    with open("/proc/stat", encoding="ascii") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:]]
    # user nice system idle iowait irq softirq steal; guest time is already inside user.
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    per_second = os.sysconf("SC_CLK_TCK")
    ours = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    return CpuTimes(time.monotonic(), (user + nice + system + irq + softirq) / per_second,
                    steal / per_second, ours)


def foreign_cores(before, after, num_cpus):
    """Cores that others kept busy, on average, less two ticks per CPU that rounding can make."""
    wall = after.wall - before.wall
    resolution = 2 * num_cpus / os.sysconf("SC_CLK_TCK")
    foreign = (after.busy - before.busy) - (after.ours - before.ours)
    return max(0.0, foreign - resolution) / wall


def steal_share(before, after, num_cpus):
    return (after.steal - before.steal) / ((after.wall - before.wall) * num_cpus)


def process_times():
    """pid -> (name, CPU ticks) of every process; for naming the culprit."""
    times = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it ended meanwhile
        name_end = stat.rindex(")")
        words = stat[name_end + 2:].split()
        name = stat[stat.index("(") + 1:name_end]
        times[int(entry.name)] = (name, int(words[11]) + int(words[12]))
    return times


def busiest_other(before, after):
    used = [(ticks - before.get(pid, ("", 0))[1], name) for pid, (name, ticks) in after.items()
            if pid != os.getpid()]
    ticks, name = max(used, default=(0, ""))
    return name if ticks > 0 else "a process that has ended"
