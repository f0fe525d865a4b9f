"""Discrete conjugates, values and maximisers, on the CPU: `fenchel bench` against PyTorch and a hull in plain Python.

Run from the project's root, on a machine with little else to do:

    python benches/peers/conjugate.py [--repeats 15] [--threads 2]

1-D, 16,384 points to as many slopes: all pairs in PyTorch, eager and compiled, with maximisers and (compiled) without, in
rows of a size that is the best of some; the linear-time algorithm in plain Python. 2-D, 512 x 512 to 512 x 512: two
maxima of PyTorch, one axis after the other. Convex functions and wild ones (`x^2 + 2 sin(40 x)` and noise on each axis),
f32. Then the time of 1-D against the number of points. Values of `fenchel conjugate` are checked against PyTorch's,
maximisers by the values they give.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from common import Fenchel, conditions, table, workspace

CHUNKS = [64, 256, 1024]


def function(axes, n, wild, seed=0):
    x = np.linspace(-2, 2, n)
    side = x**2 + (2 * np.sin(40 * x) if wild else 0)
    values = side if axes == 1 else side[:, None] + side[None, :]
    noise = np.random.default_rng(seed).uniform(-1, 1, values.shape) if wild else 0
    return x, (values + noise).astype(np.float32), 2 * x


def maxima(x, f, slopes):
    """`max_i (s_j x_i - f_i)` for each row of f [R, N]: [R, M] and the maximisers."""
    return torch.max(slopes[None, :, None] * x[None, None, :] - f[:, None, :], dim=2)


def values_only(x, f, slopes):
    """The same without maximisers, which compiles into something several times faster."""
    return (torch.amax(slopes[None, :, None] * x[None, None, :] - f[:, None, :], dim=2),) * 2


def all_pairs(maximum, x, f, slopes, chunk):
    """1-D, some slopes at a time."""
    parts = [maximum(x, f[None], slopes[i : i + chunk]) for i in range(0, len(slopes), chunk)]
    return torch.cat([v[0] for v, _ in parts]), torch.cat([i[0] for _, i in parts])


def two_passes(maximum, x, f, slopes, chunk):
    """2-D, some rows at a time: over the second axis, then over the first."""
    done = [maximum(x, f[i : i + chunk], slopes) for i in range(0, len(f), chunk)]
    inner, second = (torch.cat(parts) for parts in zip(*done))
    done = [maximum(x, -inner.T[i : i + chunk], slopes) for i in range(0, len(slopes), chunk)]
    outer, first = (torch.cat(parts).T for parts in zip(*done))
    if first.is_floating_point():
        return outer, None
    return outer, first * len(x) + torch.gather(second, 0, first)


def hull(x, f, slopes):
    """The linear-time algorithm, in plain Python on lists."""
    stack = []
    for i, (a, v) in enumerate(zip(x, f)):
        while stack:
            b, w, _, before = stack[-1]
            edge = (v - w) / (a - b)
            if edge > before:
                break
            stack.pop()
        stack.append((a, v, i, edge if stack else float("-inf")))
    values, picks, at, last = [], [], 0, len(stack) - 1
    for s in slopes:
        while at < last and s > stack[at + 1][3]:
            at += 1
        values.append(s * stack[at][0] - stack[at][1])
        picks.append(stack[at][2])
    return values, picks


def seconds(job, repeats):
    job()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples), min(samples)


def check(fenchel, folder, axes, n, wild):
    """The program's values and maximisers against PyTorch's, in f64."""
    x, f, slopes = function(axes, n, wild)
    names = {f"axis{i}": x for i in range(axes)}
    np.savez(folder / "axes.npz", **names)
    np.savez(folder / "slopes.npz", **{name: slopes for name in names})
    np.save(folder / "f.npy", f)
    fenchel("conjugate", folder / "f.npy", "--axes", folder / "axes.npz", "--slopes", folder / "slopes.npz", "-o",
            folder / "c.npy", "--maximisers", folder / "i.npy")
    c, picks = np.load(folder / "c.npy"), np.load(folder / "i.npy")
    torch_x, torch_f, torch_s = (torch.tensor(a, dtype=torch.float64) for a in (x, f, slopes))
    passes = all_pairs if axes == 1 else two_passes
    expected, _ = passes(maxima, torch_x, torch_f, torch_s, 16)
    at = np.unravel_index(picks, f.shape)
    given = -f[at].astype(np.float64)
    for i in range(axes):
        shape = [1] * axes
        shape[i] = n
        given += slopes.reshape(shape) * x[at[i]]
    return max(np.abs(c - expected.numpy()).max(), np.abs(given - expected.numpy()).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fenchel", default="target/release/fenchel")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    compiled, compiled_values = torch.compile(maxima), torch.compile(values_only)
    with workspace() as folder:
        folder = Path(folder)
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        print(conditions(fenchel, f"PyTorch {torch.__version__}"))

        def ours(shape):
            command = ["bench", "--only", f"conjugate, {shape}", "--repeats", arguments.repeats, "--seconds", 60]
            (row,) = [r for r in fenchel(*command)["rows"] if r["shape"] == shape]
            return row["seconds"]

        rows = []
        for axes, n in [(1, 1 << 14), (2, 512)]:
            for wild in [False, True]:
                shape = " x ".join([str(n)] * axes) + (", wild" if wild else ", convex")
                x, f, slopes = function(axes, n, wild)
                x32, f32, s32 = (torch.tensor(a, dtype=torch.float32) for a in (x, f, slopes))
                passes = all_pairs if axes == 1 else two_passes
                chunks = CHUNKS if axes == 1 else [4, 16, 64]
                before = ours(shape)
                peers = {}
                ways = [("eager", maxima), ("compiled", compiled), ("compiled, values only", compiled_values)]
                for name, maximum in ways:
                    times = [seconds(lambda c=c, m=maximum: passes(m, x32, f32, s32, c), arguments.repeats) for c in chunks]
                    peers[f"PyTorch {name}"] = min(times)
                if axes == 1:
                    lists = [list(map(float, a)) for a in (x, f, slopes)]
                    peers["hull in plain Python"] = seconds(lambda: hull(*lists), 5)
                # The least of the program's own repetitions, before and after; the peers' least as well.
                own = min(before, ours(shape))
                difference = check(fenchel, folder, axes, n, wild)
                rows.append([shape, "fenchel", f"{1e3 * own:.3f}", "1", f"{difference:.1e}"])
                for name, (_, least) in peers.items():
                    rows.append([shape, name, f"{1e3 * least:.2f}", f"{least / own:.0f}", ""])
        table(["grid", "program", "ms, least", "ratio", "largest difference"], rows)
        rows = []
        for shape in ["16384, convex", "262144, convex", "4194304, convex", "16384, wild", "4194304, wild"]:
            time_of = ours(shape)
            rows.append([shape, f"{1e3 * time_of:.3f}", f"{1e9 * time_of / int(shape.split(',')[0]):.2f}"])
        table(["points and slopes", "ms", "ns a point"], rows)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode)
