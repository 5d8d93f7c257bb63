"""Trains the demo model; run the same command again to resume from the last checkpoint.

    python train.py --work WORKDIR --minutes 65
    python train.py --work WORKDIR --end-at 16:34          # UTC, today
    python train.py --work WORKDIR --minutes 30 --extend   # a finished run, for longer

Learning rate: warm-up, constant, then a decay to nearly zero over the last 30 % of the run. How far the
run is goes by whichever is further: the clock, or --max-tokens. So a slow machine still ends in
time with a finished decay; it has only seen fewer tokens.
"""

import argparse
import csv
import math
import os
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from model import Config, DemoModel

WARM_UP_STEPS = 150
PEAK_RATE = 3e-3
DECAY_FROM = 0.70
TOKENS_PER_STEP = 4096
LONG_EVERY = 8  # every eighth step uses windows of the whole context
CHECKPOINT_SECONDS = 120


def rate_at(step, progress):
    rate = PEAK_RATE * min(1.0, (step + 1) / WARM_UP_STEPS)
    if progress > DECAY_FROM:
        rate *= max(0.02, 1 - (progress - DECAY_FROM) / (1 - DECAY_FROM))
    return rate


def windows(data, length, count, rng):
    """Windows that begin where a document begins."""
    ids, starts = data["ids"], data["starts"]
    usable = np.searchsorted(starts, len(ids) - length - 1)
    picked = starts[rng.integers(0, usable, count)]
    rows = np.stack([ids[s:s + length + 1] for s in picked]).astype(np.int64)
    return torch.from_numpy(rows[:, :-1]), torch.from_numpy(rows[:, 1:])


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--minutes", type=float, default=65)
    args.add_argument("--end-at", help="HH:MM in UTC, instead of --minutes")
    args.add_argument("--extend", action="store_true",
                      help="go on from a finished run with a schedule of its own (to resume an "
                      "interrupted extension: the same command without --extend)")
    args.add_argument("--max-tokens", type=int, default=40_000_000)
    args.add_argument("--loss-csv", type=Path, default=Path(__file__).parent / "loss.csv")
    args.add_argument("--threads", type=int, default=1,
                      help="on a shared machine one thread wastes nothing at barriers")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)

    train, held_out = (dict(np.load(args.work / f"{n}.npz")) for n in ("train", "held_out"))
    check_x, check_y = windows(held_out, 512, 16, np.random.default_rng(7))
    model = DemoModel(Config())
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in named if p.dim() == 1 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)]
    step, tokens, spent = 0, 0, 0.0
    checkpoint = args.work / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        step, tokens, spent = saved["step"], saved["tokens"], saved["spent"]
        print(f"resumed at step {step}", flush=True)
    elif args.extend:
        raise SystemExit(f"--extend: {checkpoint} does not exist; train first")
    # The schedule's clock and token count begin here; `spent` is the time of all runs.
    clock_before = saved.get("clock", spent) if checkpoint.exists() and not args.extend else 0.0
    tokens_before = saved.get("tokens_before", 0) if checkpoint.exists() else 0
    if args.extend:
        tokens_before = tokens

    now = time.time()
    if args.end_at:
        hour, minute = map(int, args.end_at.split(":"))
        end = datetime.now(timezone.utc).replace(hour=hour, minute=minute, second=0).timestamp()
    else:
        end = now + args.minutes * 60 - clock_before
    clock_began, began = now - clock_before, now - spent
    compiled = torch.compile(model, dynamic=False)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def save():
        torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
                    "step": step, "tokens": tokens, "spent": time.time() - began,
                    "clock": time.time() - clock_began, "tokens_before": tokens_before}, str(checkpoint) + ".new")
        os.replace(str(checkpoint) + ".new", checkpoint)

    def held_out_loss():
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return model(check_x, check_y).item()

    def log(loss):
        fresh = not args.loss_csv.exists()
        with open(args.loss_csv, "a") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "tokens", "seconds", "rate", "train_loss", "held_out_loss"])
            writer.writerow([step, tokens, round(time.time() - began), f"{rate:.5f}", f"{loss:.4f}",
                             f"{held_out_loss():.4f}"])

    last_save, running, progress = time.time(), [], 0.0
    while progress < 1.0:
        progress = max((time.time() - clock_began) / (end - clock_began),
                       (tokens - tokens_before) / args.max_tokens)
        rate = rate_at(step, progress)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        length = 1024 if step % LONG_EVERY == LONG_EVERY - 1 else 512
        x, y = windows(train, length, TOKENS_PER_STEP // length, np.random.default_rng([1, step]))
        with torch.autocast("cpu", torch.bfloat16):
            loss = compiled(x, y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        running.append(loss.item())
        if not math.isfinite(running[-1]):
            raise SystemExit(f"loss is {running[-1]} at step {step}")
        step, tokens = step + 1, tokens + TOKENS_PER_STEP
        if step % 10 == 0:
            print(f"step {step} tokens {tokens} loss {np.mean(running[-10:]):.4f} rate {rate:.5f} "
                  f"progress {progress:.3f} seconds {time.time() - began:.0f}", flush=True)
        if time.time() - last_save > CHECKPOINT_SECONDS:
            save()
            log(np.mean(running))
            running, last_save = [], time.time()
    save()
    if running:
        log(np.mean(running))
    print("done", flush=True)


if __name__ == "__main__":
    main()
