"""Fine-tunes the last layer of a network of the assets with the orthogonality penalty, and without, over seeds.

Run from the project's root:

    python benches/peers/orthogonality.py [--model assets/digits_relu.onnx] [--seeds 20]

Last-layer form of Balestriero & Baraniuk (2018): `sum_{c != c'} <w_c, w_c'>^2` of the rows of the last layer's weights,
times a factor, beside the cross-entropy. What is below stays as it is. Each seed draws a last layer to start from, the order
of the batches, and which 1,200 of the 1,400 training digits are trained on. Accuracy is that of the 397 test digits; spread
is the standard deviation over seeds. Differences are taken within seeds.
"""

import argparse
import statistics

import numpy as np
import torch
import torch.nn.functional as F
from common import Network, table

FACTORS = [0.0, 1e-4, 1e-3, 1e-2, 1e-1]


def features(network, x):
    """What the last layer takes."""
    graph = network.graph
    last = [node for node in graph.node if node.op_type == "Gemm"][-1]
    names = [node.output[0] for node in graph.node]
    del graph.node[names.index(last.input[0]) + 1 :]
    graph.output[0].name = last.input[0]
    return network(x)


def tune(taken, labels, test, expected, factor, seed, epochs):
    generator = torch.Generator().manual_seed(seed)
    width = taken.shape[1]
    weights = (torch.randn(10, width, generator=generator) / width**0.5).requires_grad_()
    bias = torch.zeros(10, requires_grad=True)
    rows = torch.randperm(len(taken), generator=generator)[:1200]
    optimizer = torch.optim.Adam([weights, bias], 1e-2)
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows), generator=generator)].split(128):
            gram = weights @ weights.T
            penalty = (gram**2).sum() - (gram.diagonal() ** 2).sum()
            loss = F.cross_entropy(taken[batch] @ weights.T + bias, labels[batch]) + factor * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        gram = weights @ weights.T
        right = ((test @ weights.T + bias).argmax(1) == expected).float().mean().item()
        return right, ((gram**2).sum() - (gram.diagonal() ** 2).sum()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="assets/digits_relu.onnx")
    parser.add_argument("--data", default="assets/digits.npz")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    digits = np.load(arguments.data)
    x, y = torch.tensor(digits["x"] / 16, dtype=torch.float32), torch.tensor(digits["y"].astype(np.int64))
    with torch.no_grad():
        taken = features(Network(arguments.model), x)
    run = lambda factor, seed: tune(taken[:1400], y[:1400], taken[1400:], y[1400:], factor, seed, arguments.epochs)
    found = {factor: [run(factor, seed) for seed in range(arguments.seeds)] for factor in FACTORS}
    lines = []
    for factor, results in found.items():
        right, penalty = zip(*results)
        gains = [100 * (a - b[0]) for a, b in zip(right, found[0.0])]
        spread = lambda values: f"{statistics.mean(values):.2f} ({statistics.stdev(values):.2f})"
        lines.append([factor, spread([100 * r for r in right]), spread(gains), f"{statistics.mean(penalty):.3g}"])
    table(["factor", "accuracy %, mean (spread)", "less that without", "penalty"], lines)


if __name__ == "__main__":
    main()
