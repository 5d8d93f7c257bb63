"""What a report says of the machine and of the files."""
import hashlib
import os
import re
from pathlib import Path

# Prefixes of the environment variables that change how an engine runs.
SPEAKING = ("OMP_", "GOMP_", "KMP_", "GGML_", "LLAMA_", "QUERN_", "VLLM_")


def read_or(path, otherwise):
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return otherwise


def environment():
    cpuinfo = read_or("/proc/cpuinfo", "")

    def cpu_field(name):
        match = re.search(rf"^{name}\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
        return match[1] if match else "unknown"

    caches = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if read_or(index / "type", "") != "Instruction":
            caches[read_or(index / "level", "")] = read_or(index / "size", "unknown")
    flags = set(cpu_field("flags").split())
    speaking = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
                "amx_int8", "amx_bf16", "hypervisor")
    memory = re.search(r"MemTotal:\s*(\d+)", read_or("/proc/meminfo", ""))
    return {
        "cpu_model": cpu_field("model name"),
        "num_cpus": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "l2": caches.get("2", "unknown"),
        "l3": caches.get("3", "unknown"),
        "isa": [flag for flag in speaking if flag in flags],
        "microcode": cpu_field("microcode"),
        "memory_gib": int(memory[1]) / 2**20 if memory else 0.0,
        "huge_pages": read_or("/sys/kernel/mm/transparent_hugepage/enabled", "unknown"),
        "governor": read_or("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                            "not readable"),
        "cgroup_cpu_max": read_or("/sys/fs/cgroup/cpu.max", "not readable"),
        "kernel": os.uname().release,
        "load_average": os.getloadavg(),
        "environment_variables": {k: v for k, v in os.environ.items() if k.startswith(SPEAKING)},
    }


def files_of(path):
    """The file itself, or all below a folder."""
    path = Path(path)
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def size_of(path):
    return sum(file.stat().st_size for file in files_of(path))


def sha256_of(path):
    """Of a folder: over its files in the order of their names. Also brings them into the page
    cache, so that no engine is the first to read them."""
    digest = hashlib.sha256()
    for name in files_of(path):
        with open(name, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
