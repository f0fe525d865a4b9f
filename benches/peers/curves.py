"""Cost curves of the envelope kernel on the CPU: seconds over points, anchors, dimension and outputs, with fits.

Run from the project's root, on a machine with little else to do:

    python benches/peers/curves.py [--repeats 5] [--quick] [-o docs/envelope-cost.svg]

Both halves with their pieces, f32, every pair compared (`fenchel bench --shape N,M,D,K`). A curve varies one of the
four and leaves the others at BASE. Two laws are fitted to each:

linear     t = c0 + c1 x, by least squares of relative errors, so that small sizes count as much as large ones
power law  t = c x^p, by least squares of log t, over the upper half of the sizes

The floor is what the counted operations, N M (2 D (K + 1) + 6 K), take at the rate that `fenchel bench` measures for
multiply-adds (the median of all runs). Sizes come in random order, so that a change of other load is scatter and not a
slope. A time is the least of the repetitions.
"""

import argparse
import math
import os
import random
import statistics
from pathlib import Path

import matplotlib
import numpy as np
from common import Fenchel, table, workspace
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

NAMES = {"N": "points", "M": "anchors", "D": "dimension", "K": "outputs"}
BASE = {"N": 2048, "M": 2048, "D": 784, "K": 10}
QUICK = {"N": 256, "M": 256, "D": 64, "K": 4}
OUTPUT = "envelope-cost.svg"


def powers(first, last):
    return [1 << i for i in range(first.bit_length() - 1, last.bit_length()) if first <= 1 << i <= last]


def sizes(quick):
    """The values along each curve; the base is one of them."""
    if quick:
        values = {"N": powers(64, 512), "M": powers(64, 512), "D": powers(16, 128), "K": powers(1, 8)}
    else:
        # 3072: images of 32 x 32 in colour.
        values = {"N": powers(64, 8192), "M": powers(64, 8192), "D": [*powers(16, 2048), 3072], "K": powers(1, 32)}
    base = QUICK if quick else BASE
    return base, {name: sorted({*list_of, base[name]}) for name, list_of in values.items()}


def flops(shape):
    """As `fenchel bench` counts them above eight dimensions, where it takes no differences first."""
    n, m, d, k = (shape[name] for name in NAMES)
    return n * m * (2 * d * (k + 1) + 6 * k)


def spell(shape):
    return ", ".join(f"{name} {shape[name]}" for name in NAMES)


class Curve:
    """Times along one parameter, and the laws fitted to them."""

    def __init__(self, name, base, x, t, floor):
        self.name, self.base, self.floor = name, base, floor
        self.x, self.t = np.array(x, float), np.array(t)
        design = np.stack([1 / self.t, self.x / self.t], 1)
        self.c0, self.c1 = np.linalg.lstsq(design, np.ones(len(x)), rcond=None)[0]
        self.upper = slice(len(x) // 2, None)
        self.p, log_c = np.polyfit(np.log(self.x[self.upper]), np.log(self.t[self.upper]), 1)
        self.c = math.exp(log_c)

    def linear(self, x):
        return self.c0 + self.c1 * x

    def power(self, x):
        return self.c * x**self.p

    def bound(self, x):
        """Seconds at the floor."""
        return flops(self.base | {self.name: x}) / self.floor

    def line(self):
        """The cells of the curve in the table of fits."""
        errors = [
            np.abs(self.linear(self.x) / self.t - 1).max(),
            np.abs(self.power(self.x[self.upper]) / self.t[self.upper] - 1).max(),
        ]
        # The floor is linear in each parameter.
        b0 = self.bound(0)
        b1 = self.bound(1) - b0
        linear, power = [f"{100 * error:.1f} %" for error in errors]
        ends, upper = [f"{x[0]:g}..{x[-1]:g}" for x in (self.x, self.x[self.upper])]
        cells = [f"{self.name}, {NAMES[self.name]}", ends, si(self.c0), si(self.c1), linear, si(b0), si(b1)]
        return [*cells, f"{self.c1 / b1:.2f}", upper, si(self.c), f"{self.p:.3f}", power]

    def draw(self, axes):
        name, x = self.name, np.geomspace(self.x[0], self.x[-1], 200)
        linear = np.where(self.linear(x) > 0, self.linear(x), np.nan)
        upper = x[x >= self.x[self.upper][0] * (1 - 1e-9)]
        sign = "+" if self.c1 >= 0 else "−"
        formula = f"{si(self.c0)} {sign} {si(abs(self.c1))} · {name}"
        axes.plot(x, linear, color="tab:blue", lw=1.6, label=f"t = {formula}")
        law = f"t = {si(self.c)} · {name}^{self.p:.2f}, upper half"
        axes.plot(upper, self.power(upper), color="tab:orange", lw=4, alpha=0.55, zorder=1.5, label=law)
        axes.plot(x, [self.bound(v) for v in x], color="0.35", ls="--", lw=1.2, label="floor: counted operations")
        axes.plot(self.x, self.t, "o", color="black", ms=4.5, label="measured")
        here = self.x == self.base[name]
        axes.plot(self.x[here], self.t[here], "o", mfc="none", mec="tab:red", ms=10, label="base")
        axes.set(xscale="log", yscale="log", xlabel=f"{name}, {NAMES[name]}")
        # Powers of two (of four where there are many of them) as plain numbers.
        ticks = [v for v in self.x if math.log2(v).is_integer()]
        axes.set_xticks(ticks[:: 2 if len(ticks) > 6 else 1])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator())
        axes.grid(color="0.9", lw=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(labelleft=True)


def si(seconds):
    """Three digits and a unit."""
    units = {"s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "ps": 1e-12}
    # What would be rounded up to 1000 belongs to the next unit.
    unit = next((unit for unit, scale in units.items() if abs(seconds) >= 0.9995 * scale), "ps") if seconds else "s"
    number = f"{abs(seconds) / units[unit]:#.3g}".rstrip(".") if seconds else "0"
    return f"{'−' if seconds < 0 else ''}{number} {unit}"


def plot(curves, title, path):
    # Text stays text, and the same numbers give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fenchel", "font.size": 10})
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), sharey=True, layout="constrained")
    for curve, panel in zip(curves, axes.flat):
        curve.draw(panel)
    # Room for legends above the curves.
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low, high * (high / low) ** 0.3)
    for panel in axes.flat:
        panel.set_ylabel("t, seconds")
        panel.legend(loc="upper left", fontsize=9, framealpha=0.9)
    figure.suptitle(title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})


def measure(fenchel, shape, repeats):
    """The row of a shape, and the floor of the device in operations a second."""
    text = ",".join(str(shape[name]) for name in NAMES)
    document = fenchel("bench", "--repeats", repeats, "--shape", text)
    (row,), (floor,) = document["rows"], document["floors"]
    assert (row["kernel"], row["shape"]) == ("envelope", spell(shape)), f"asked for {spell(shape)}, got {row}"
    counted = 1e9 * row["gflops"] * row["seconds"]
    assert math.isclose(counted, flops(shape), rel_tol=1e-3), f"{counted:g} operations at {spell(shape)}"
    return row, floor


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few and small sizes, to try the script")
    parser.add_argument("-o", "--output", type=Path, help=f"the plot: docs/{OUTPUT}, or target/{OUTPUT} if --quick")
    arguments = parser.parse_args()
    path = arguments.output or Path("target" if arguments.quick else "docs", OUTPUT)

    base, values = sizes(arguments.quick)
    shapes = {name: [base | {name: x} for x in along] for name, along in values.items()}
    # The base is on every curve, and measured once.
    order = sorted({spell(shape): shape for along in shapes.values() for shape in along}.items())
    random.Random(1).shuffle(order)
    with workspace() as folder:
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
        found = {text: measure(fenchel, shape, arguments.repeats) for text, shape in order}
        seconds = [] if not arguments.quick else ["--seconds", 0.05]
        affine = fenchel("bench", "--only", "max-affine", "--repeats", arguments.repeats, *seconds)["rows"]
    floors = [1e9 * floor["gflops"] for _, floor in found.values()]
    floor, device = statistics.median(floors), next(iter(found.values()))[1]["device"]

    print(f"Envelope kernel, f32, both halves with pieces; base {spell(base)}")
    print(f"{fenchel.version}; {arguments.threads} threads; least of {arguments.repeats} runs; load average {load}")
    rates = f"{floor / 1e9:.0f} GFLOP/s ({min(floors) / 1e9:.0f}..{max(floors) / 1e9:.0f})"
    print(f"{device}; floor: {rates} in multiply-adds\n")
    curves = []
    for name, along in shapes.items():
        times = [found[spell(shape)][0]["seconds"] for shape in along]
        curves.append(Curve(name, base, values[name], times, floor))
    print("### Fits\n\nt = c0 + c1 x; at the floor t = b0 + b1 x; over the upper half of the sizes t = c x^p.\n")
    head = ["x", "sizes", "c0", "c1", "largest error", "b0", "b1", "c1 / b1", "upper half", "c", "p", "largest error"]
    table(head, [curve.line() for curve in curves])

    print("### Measured\n")
    lines = []
    for curve, along in zip(curves, shapes.values()):
        for x, shape in zip(curve.x, along):
            row = found[spell(shape)][0]
            cells = [f"{row['seconds']:.4g}", f"{row['gflops']:.1f}", f"{100 * row['share_of_floor']:.1f} %"]
            lines.append([curve.name, f"{x:g}", *cells, f"{100 * (curve.linear(x) / row['seconds'] - 1):+.1f} %"])
    table(["", "size", "seconds", "GFLOP/s", "share of floor", "linear fit, error"], lines)

    print("### Maxima of affine pieces, at the sizes that `fenchel bench` chose\n")
    lines = []
    for row in affine:
        cells = [f"{row['seconds']:.4g}", f"{row['gflops']:.1f}", f"{100 * row['share_of_floor']:.1f} %"]
        skipped = f"{100 * row['skipped']:.2f} %" if row.get("skipped") else "-"
        lines.append([row["kernel"], row["shape"], *cells, skipped])
    table(["kernel", "shape", "seconds", "GFLOP/s", "share of floor", "skipped"], lines)

    title = f"Envelope kernel: both halves with pieces, f32, {arguments.threads} threads. Base {spell(base)}"
    plot(curves, f"{title}\n{device}; floor {floor / 1e9:.0f} GFLOP/s", path)
    print(f"Plot: {path}")


if __name__ == "__main__":
    main()
