"""Envelope kernels of the CPU beside PyTorch, faiss and KeOps: the same envelopes, f32, one run, interleaved.

Run from the project's root, on a machine with little else to do:

    python benches/peers/envelope.py [--only plane] [--repeats 5] [--quick]

one family   max_i p_i.x + c_i and its index, N points, M planes, D = 784
both halves  the halves of K = 10 outputs with indices. Published: planes of slope J_i + c x_i and J_i - c x_i for each
             output (slopes and offsets known before the clock starts), 2 K products. Shared, as Fenchel does: a product
             for distances and one for each output, K + 1.
plane        the first at D = 2 for a million points, with indices and values only; Fenchel also with exact skipping,
             where peers have nothing but brute force
slice        a large image of many planes: Fenchel with exact skipping, the peers' brute force on a part

A peer has ways to do its work: sizes of chunks, `torch.compile`, settings. All are tried on little at the start, and
the fastest is measured and named. In a repetition Fenchel runs first (`fenchel bench`: a run that counts after one that
does not), then each peer once, after a warm-up. A peer that would take longer than LIMIT does a part of the points, and
its time is multiplied: the column "points" says so. Fenchel always does all of them. Peers must agree with each other.
"""

import argparse
import contextlib
import math
import os
import statistics
import sys
import time
from pathlib import Path

import faiss
import torch
from common import Clock, Fenchel, conditions, table, workspace

# Seconds that a peer may take before it does only a part of the points; of its trials and warm-ups.
LIMIT, TRIAL, WARM = 10.0, 0.2, 0.5
# As faiss sets them at first: from how much work on it uses a BLAS, and the points and planes of a product of that.
FAISS = (
    faiss.cvar.distance_compute_blas_threshold,
    faiss.cvar.distance_compute_blas_query_bs,
    faiss.cvar.distance_compute_blas_database_bs,
)
# Points of which peers are compared.
COMMON = 256


class Peer:
    """A program and its ways: a name each, with a job on the first so many points, and the points it does at once."""

    def __init__(self, name, ways, index=True, products=1):
        self.name, self.ways, self.index, self.products = name, ways, index, products
        self.way, self.reason = "-", None

    def choose(self, points):
        """Finds the fastest way, and how many of the points it does; ways that do not work are left out."""
        rates, sizes = {}, {}
        for way, (grain, job) in self.ways.items():
            try:
                n = min(grain, points)
                with contextlib.redirect_stdout(sys.stderr):  # KeOps reports what it compiles.
                    job(n)
                while (seconds := least(job, n)) < TRIAL and n < points:
                    n = min(4 * n, points)
                rates[way], sizes[way] = n / seconds, n
            except (RuntimeError, ImportError, OSError, TypeError, ValueError) as error:
                self.reason = f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[0][:120]
                print(f"{self.name}, {way}: left out, {self.reason}", file=sys.stderr)
        # Once more, since other load may have hit one of them.
        for way in [way for way, rate in rates.items() if rate > max(rates.values()) / 3]:
            rates[way] = max(rates[way], sizes[way] / least(self.ways[way][1], sizes[way]))
        if rates:
            self.way = max(rates, key=rates.get)
            grain, self.job = self.ways[self.way]
            rate = rates[self.way]
            self.points = points if points <= LIMIT * rate else floor(LIMIT / 3 * rate, grain, points)
            self.warm = floor(WARM * rate, grain, self.points)
            self.tried = "; ".join(f"{way}: {r / rate:.2f}" for way, r in rates.items())
        return bool(rates)

    def measure(self, clock, points):
        """A run that counts, as of all points, after one that does not."""
        self.job(self.warm)
        once = Clock()
        result = once.measure("", lambda: self.job(self.points))
        factor = points / self.points
        clock.add(self.name, factor * once.wall[""][0], factor * once.cpu[""][0])
        return result


def least(job, n):
    """The shortest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        job(n)
        times.append(time.perf_counter() - start)
    return min(times)


def floor(n, grain, most):
    """A power of two of grains, at least one, within `n` where that can be, and no more than there are."""
    return min(most, grain * 2 ** max(0, math.floor(math.log2(max(n, 1) / grain))))


def chunked(x, chunk, block):
    """A job that does `block`, giving tensors of a value or an index for each point, chunk by chunk."""

    def job(n):
        found = None
        for start in range(0, n, chunk):
            parts = block(x[start : min(start + chunk, n)])
            found = found or [part.new_empty(*part.shape[:-1], n) for part in parts]
            for whole, part in zip(found, parts):
                whole[..., start : start + part.shape[-1]] = part
        return found

    return chunk, job


class Family:
    """One family of planes: points [N, D], slopes [M, D], offsets [M]."""

    def __init__(self, x, slopes, offsets):
        self.x, self.slopes, self.offsets = x, slopes, offsets

    def eager(self, chunks, reduction):
        """PyTorch: a product into a buffer, and a reduction of its rows."""

        def way(chunk):
            scores = torch.empty(chunk, len(self.slopes))

            def block(x):
                product = torch.addmm(self.offsets, x, self.slopes.T, out=scores[: len(x)])
                return reduction(product)

            return chunked(self.x, chunk, block)

        return {f"chunks of {chunk}": way(chunk) for chunk in chunks}

    def compiled(self, chunks, formulas):
        """PyTorch: one compiled function for scores and reduction. The slopes come by row and by column."""
        columns = self.slopes.T.contiguous()

        def way(formula, chunk):
            function = torch.compile(formula, dynamic=False)
            return chunked(self.x, chunk, lambda x: function(x, self.slopes, columns, self.offsets))

        return {f"{name}, chunks of {chunk}": way(f, chunk) for name, f in formulas.items() for chunk in chunks}

    def faiss(self):
        """`IndexFlatIP` of (slope, offset), asked for (x, 1); sizes of its blocks, or its loop without a BLAS."""
        index = faiss.IndexFlatIP(self.slopes.shape[1] + 1)
        index.add(torch.cat([self.slopes, self.offsets[:, None]], 1).numpy())
        queries = torch.cat([self.x, torch.ones(len(self.x), 1)], 1).numpy()
        settings = {"as it comes": FAISS, "blocks 256 x 1024": (1, 256, 1024), "blocks 512 x 4096": (1, 512, 4096)}
        if self.slopes.shape[1] <= 8:
            settings["no BLAS"] = 2**31 - 1, *FAISS[1:]

        def way(threshold, points, planes):
            def job(n):
                faiss.cvar.distance_compute_blas_threshold = threshold
                faiss.cvar.distance_compute_blas_query_bs = points
                faiss.cvar.distance_compute_blas_database_bs = planes
                return [torch.from_numpy(found[:, 0]) for found in index.search(queries[:n], 1)]

            return min(4096, len(self.x)), job

        return {name: way(*setting) for name, setting in settings.items()}

    def keops(self, index):
        """KeOps: a symbolic matrix of scores, reduced."""

        def job(n):
            from pykeops.torch import LazyTensor  # Says no where there is no compiler.

            product = LazyTensor(self.x[:n, None]) | LazyTensor(self.slopes[None])
            scores = product + LazyTensor(self.offsets[None, :, None])
            found = scores.max_argmax(dim=1) if index else [scores.max(dim=1)]
            return [part[:, 0] for part in found]

        return {"LazyTensor, `max_argmax`" if index else "LazyTensor, `max`": (min(4096, len(self.x)), job)}

    def check(self, n, found):
        """That values are those of the indices; in f64 over the common points."""
        if len(found) > 1:
            values, places = found[0][:n].double(), found[1][:n].long()
            exact = (self.x[:n].double() * self.slopes[places].double()).sum(1) + self.offsets[places]
            assert torch.allclose(values, exact, rtol=1e-4, atol=1e-4 * float(values.abs().max()))


# Scores and reduction in one function, in several writings: the compiler makes different loops of them.


def by_columns(x, slopes, columns, offsets):
    return (x[:, :1] * columns[0] + x[:, 1:] * columns[1] + offsets).max(1)


def by_rows(x, slopes, columns, offsets):
    return (x[:, :1] * slopes[:, 0] + x[:, 1:] * slopes[:, 1] + offsets).max(1)


def by_sum(x, slopes, columns, offsets):
    return ((x[:, None, :] * slopes).sum(-1) + offsets).max(1)


def by_columns_value_first(x, slopes, columns, offsets):
    """The value, then its first place: two passes that can be vectorised."""
    scores = x[:, :1] * columns[0] + x[:, 1:] * columns[1] + offsets
    return first_place(scores, scores.amax(1))


def values_by_columns(x, slopes, columns, offsets):
    return [(x[:, :1] * columns[0] + x[:, 1:] * columns[1] + offsets).amax(1)]


def values_by_sum(x, slopes, columns, offsets):
    return [((x[:, None, :] * slopes).sum(-1) + offsets).amax(1)]


def by_product(x, slopes, columns, offsets):
    return torch.addmm(offsets, x, slopes.T).max(1)


def by_product_and_sum(x, slopes, columns, offsets):
    return (x @ slopes.T + offsets).max(1)


def by_max(scores):
    return scores.max(1)


def by_amax(scores):
    return [scores.amax(1)]


def first_place(scores, best):
    m = scores.shape[1]
    places = torch.arange(m, dtype=torch.int32)
    return best, torch.where(scores == best[:, None], places, m).amin(1)


INDEXED = {"columns": by_columns, "rows": by_rows, "sum": by_sum, "value first": by_columns_value_first}
VALUES = {"columns": values_by_columns, "sum": values_by_sum}


class Halves:
    """Both halves of K outputs: points, anchors [., D], values [M, K], Jacobians [K, M, D], a curvature."""

    def __init__(self, n, m, d, k, curvature=0.05):
        self.x, self.anchors, self.curvature = torch.randn(n, d), torch.randn(m, d), curvature
        values, self.jacobians = torch.randn(m, k), torch.randn(k, m, d)
        self.norms = (self.anchors * self.anchors).sum(1) / -2
        self.offsets = [values[:, i] - (self.jacobians[i] * self.anchors).sum(1) for i in range(k)]

    def published(self, chunks):
        """A product and a reduction for each output and half, planes known."""
        planes = []
        for jacobian, offset in zip(self.jacobians, self.offsets):
            for sign in (self.curvature, -self.curvature):
                planes.append((jacobian + sign * self.anchors, offset + sign * self.norms))

        def way(chunk):
            scores = torch.empty(chunk, len(self.anchors))

            def job(n):
                values, places = torch.empty(len(planes), n), torch.empty(len(planes), n, dtype=torch.int64)
                for i, (slopes, offsets) in enumerate(planes):
                    for start in range(0, n, chunk):
                        part = slice(start, min(start + chunk, n))
                        product = torch.addmm(offsets, self.x[part], slopes.T, out=scores[: part.stop - start])
                        values[i, part], places[i, part] = product.min(1) if i % 2 else product.max(1)
                return values, places

            return chunk, job

        return {f"chunks of {chunk}": way(chunk) for chunk in chunks}

    def shared(self, chunks, reductions):
        """A product for distances and one for each output; scores of both halves and their reduction by a function."""

        def way(reduce, chunk):
            distances, tangents = torch.empty(2, chunk, len(self.anchors))

            def block(x):
                distance = torch.addmm(self.norms, x, self.anchors.T, out=distances[: len(x)])
                found = []
                for jacobian, offset in zip(self.jacobians, self.offsets):
                    tangent = torch.addmm(offset, x, jacobian.T, out=tangents[: len(x)])
                    found.append(reduce(tangent, distance, self.curvature))
                values = [half for lower, _, upper, _ in found for half in (lower, upper)]
                places = [half for _, lower, _, upper in found for half in (lower, upper)]
                return torch.stack(values), torch.stack(places)

            return chunked(self.x, chunk, block)

        return {f"{name}, chunks of {chunk}": way(f, chunk) for name, f in reductions.items() for chunk in chunks}

    def check(self, n, found):
        pass  # Published and shared are compared: they have no step in common.


def halves_eager(tangent, distance, c):
    scores = torch.add(tangent, distance, alpha=c)
    return *scores.max(1), *torch.sub(tangent, distance, alpha=c, out=scores).min(1)


def halves_fused(tangent, distance, c):
    return *(tangent + c * distance).max(1), *(tangent - c * distance).min(1)


def halves_value_first(tangent, distance, c):
    lower, upper = tangent + c * distance, tangent - c * distance
    return *first_place(lower, lower.amax(1)), *first_place(upper, upper.amin(1))


class Case:
    """A table: rows of Fenchel (kernel, with an index or not) at a shape, the text and seconds that `bench` is given,
    and peers. `flop` (1e9 for one product) gives rates in GFLOP/s, otherwise they are in 1e9 pairs/s.
    """

    def __init__(self, title, kernels, shape, points, planes, peers, data, only, seconds=1000, flop=0, products=1):
        self.title, self.kernels, self.shape, self.only, self.seconds = title, kernels, shape, only, seconds
        self.points, self.pairs, self.peers, self.data = points, 1e-9 * points * planes, peers, data
        self.flop, self.products = flop, products

    def run(self, fenchel, arguments):
        print(f"### {self.title}: {self.shape}\n", flush=True)
        start = time.perf_counter()
        peers = [peer for peer in self.peers if peer.choose(self.points)]
        trials, clock, skipped = time.perf_counter() - start, Clock(), {}
        for _ in range(arguments.repeats):
            rows = fenchel("bench", "--only", self.only, "--seconds", self.seconds, "--repeats", 1)["rows"]
            for row in rows:
                if row["kernel"] in self.kernels and row["shape"] == self.shape:
                    clock.add(row["kernel"], row["seconds"], math.nan)
                    skipped[row["kernel"]] = row.get("skipped")
            found = {peer: peer.measure(clock, self.points) for peer in peers}
        self.agree(found)
        unit = "GFLOP/s" if self.flop else "1e9 pairs/s"
        head = ["", "best way", "points", "wall s, median", "range", unit, "cores", "skipped"]
        lines = []
        for kernel, index in self.kernels.items():
            share = skipped.get(kernel)
            lines.append(self.line(f"Fenchel, {kernel}", kernel, clock, self.products, index, "", "all"))
            lines[-1][7] = "-" if share is None else f"{100 * share:.2f} %"
        for peer in self.peers:
            part = "-"
            if peer in peers:
                scale = self.points // peer.points
                part = "all" if peer.points == self.points else f"{peer.points}, time x {scale}"
            way = peer.way if peer in peers else f"none: {peer.reason}"
            lines.append(self.line(peer.name, peer.name, clock, peer.products, peer.index, way, part))
        table(head + [f"wall / {kernel}" for kernel in self.kernels], lines)
        print("Ways tried, speed over the best's:\n")
        for peer in peers:
            if len(peer.ways) > 1:
                print(f"- {peer.name}: {peer.tried}")
        print(f"\n({trials:.0f} s of trials)\n", flush=True)

    def line(self, label, name, clock, products, index, way, part):
        ratios = []
        for kernel, kernel_index in self.kernels.items():
            known = name in clock.wall and kernel in clock.wall and name != kernel
            # With an index against values only would not be the same work.
            if known and (kernel_index or not index):
                each = [a / b for a, b in zip(clock.wall[name], clock.wall[kernel])]
                ratios.append(f"{statistics.median(each):.2f} ({min(each):.2f}..{max(each):.2f})")
            else:
                ratios.append("-")
        if name not in clock.wall:
            return [label, way, "-", "-", "-", "-", "-", "", *ratios]
        wall, median = clock.wall[name], clock.median(name)
        work = self.flop * products if self.flop else self.pairs
        cores = statistics.median(c / w for c, w in zip(clock.cpu[name], wall))
        spread = f"{min(wall):.3g}..{max(wall):.3g}"
        cores = "-" if math.isnan(cores) else f"{cores:.1f}"
        return [label, way, part, f"{median:.3g}", spread, f"{work / median:.4g}", cores, "", *ratios]

    def agree(self, found):
        """Peers give the same values on the first points, and mostly the same indices."""
        found = [(peer.name, result) for peer, result in found.items() if result]
        for name, result in found:
            first, one = found[0][1], result
            n = min(COMMON, first[0].shape[-1], one[0].shape[-1])
            a, b = first[0][..., :n], one[0][..., :n]
            error = float((a - b).abs().max() / a.abs().max())
            assert error < 1e-4, f"{name} and {found[0][0]} differ by {error:.1e} of the largest value"
            self.data.check(n, one)
            if len(one) > 1 and len(first) > 1:
                same = float((first[1][..., :n].long() == one[1][..., :n].long()).float().mean())
                assert same > 0.9, f"{name} and {found[0][0]} agree on {100 * same:.1f} % of the indices only"


def chunks_within(n):
    return [chunk for chunk in (128, 256, 512, 2048) if chunk <= n]


def one_family(quick):
    n, m, d = (512, 1024, 784) if quick else (2048, 8192, 784)
    family, chunks = Family(torch.randn(n, d), torch.randn(m, d), torch.randn(m)), chunks_within(n)
    product = torch.empty(n, m)

    def bare(count):
        torch.mm(family.x[:count], family.slopes.T, out=product[:count])

    formulas = {"addmm": by_product, "product and sum": by_product_and_sum}
    second_pass = torch.compile(lambda scores: first_place(scores, scores.amax(1)), dynamic=False)
    ways = {f"eager, {way}": job for way, job in family.eager(chunks, by_max).items()}
    ways |= {f"compiled value first, {way}": job for way, job in family.eager(chunks[1:], second_pass).items()}
    ways |= {f"compiled, {way}": job for way, job in family.compiled(chunks[1:], formulas).items()}
    peers = [
        Peer("PyTorch, `addmm` and `max`", ways),
        Peer("PyTorch, bare product", {"`mm(out=)`": (n, bare)}, index=False),
        Peer("faiss, `IndexFlatIP`", family.faiss()),
    ]
    shape = f"N {n}, M {m}, D {d}"
    kernels, flop = {"max-affine": True}, 2e-9 * n * m * d
    return Case("One family", kernels, shape, n, m, peers, family, f"max-affine, {shape}", flop=flop)


def both_halves(quick):
    n, m, d, k = (512, 512, 784, 3) if quick else (2048, 8192, 784, 10)
    halves, chunks = Halves(n, m, d, k), chunks_within(n)
    compiled = {"fused": halves_fused, "value first": halves_value_first}
    reductions = {"eager": halves_eager}
    reductions |= {f"compiled {name}": torch.compile(f, dynamic=False) for name, f in compiled.items()}
    peers = [
        Peer("PyTorch, published formula", halves.published(chunks), products=2 * k),
        Peer("PyTorch, shared distances", halves.shared(chunks, reductions), products=k + 1),
    ]
    shape, flop = f"N {n}, M {m}, D {d}, K {k}", 2e-9 * n * m * d
    only = f"envelope, {shape}"
    return Case("Both halves", {"envelope": True}, shape, n, m, peers, halves, only, flop=flop, products=k + 1)


def in_the_plane(family, chunks, small):
    """Peers at D = 2."""
    return [
        Peer("PyTorch compiled, index", family.compiled(chunks, INDEXED)),
        Peer("PyTorch eager, index", family.eager(small, by_max)),
        Peer("faiss, `IndexFlatIP`, index", family.faiss()),
        Peer("KeOps, index", family.keops(True)),
        Peer("PyTorch compiled, values", family.compiled(chunks, VALUES), index=False),
        Peer("PyTorch eager, values", family.eager(small, by_amax), index=False),
        Peer("KeOps, values", family.keops(False), index=False),
    ]


def plane(quick):
    n, m = (1 << 14, 1024) if quick else (1 << 20, 8192)
    family = Family(torch.randn(n, 2), torch.randn(m, 2), torch.randn(m))
    peers = in_the_plane(family, [1 << 12] if quick else [1 << 12, 1 << 14, 1 << 16], [64, 256, 1024])
    kernels = {"max-affine": True, "max-affine, values": False, "max-affine, pruned": True}
    shape, seconds = f"N {n}, M {m}, D 2", 0.1 if quick else 1000
    return Case("Plane", kernels, shape, n, m, peers, family, shape, seconds)


def image(quick):
    size, m = (256, 2000) if quick else (4096, 60000)
    # Tangents of a paraboloid over the square [-1, 1]^2, lowered a little.
    places = 2 * torch.rand(m, 2) - 1
    offsets = -(places * places).sum(1) / 2 - 1e-3 * torch.rand(m)
    axis = torch.linspace(-1, 1, size)
    x = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), 2).reshape(-1, 2)
    # Rows in random order: a part of the points is then one of the whole image.
    x = x.reshape(size, size, 2)[torch.randperm(size)].reshape(-1, 2)
    family = Family(x, places, offsets)
    peers = [peer for peer in in_the_plane(family, [1 << 12] if quick else [1 << 13], [64, 256]) if peer.index]
    shape = f"{size} x {size}, M {m}"
    return Case("Slice", {"slice": True}, shape, size * size, m, peers, family, "slice", 0.1 if quick else 1000)


CASES = {"one family": one_family, "both halves": both_halves, "plane": plane, "slice": image}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fenchel", type=Path, default=Path("target/release/fenchel"), help="the binary")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help=f"cases whose name contains this: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script: Fenchel has no such rows")
    arguments = parser.parse_args()
    # Read once by each of the OpenMP runtimes that come with the peers, when they are loaded: hence from the start.
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    wanted = dict.fromkeys(names, str(arguments.threads)) | {"PYKEOPS_VERBOSE": "0"}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)
    torch.set_num_threads(arguments.threads)
    faiss.omp_set_num_threads(arguments.threads)
    torch._dynamo.config.recompile_limit = 64
    torch.manual_seed(1)
    with workspace() as folder, torch.no_grad():
        fenchel = Fenchel(arguments.fenchel, arguments.threads, folder)
        versions = f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, faiss {faiss.__version__}"
        print(f"Envelope kernels, f32, {arguments.repeats} repetitions")
        print(conditions(fenchel, versions) + "\n")
        for name, make in CASES.items():
            if arguments.only in name:
                make(arguments.quick).run(fenchel, arguments)
    print("Load average at the end: " + ", ".join(f"{x:.1f}" for x in os.getloadavg()))


if __name__ == "__main__":
    main()
