// An image [H, W] of the largest of planes, at each pixel (s, t) the greatest `p s + q t + r` and the first plane
// (p, q, r) that attains it. Planes that another one beats all over a tile of pixels are skipped there, by more than
// what rounding can do, so that the image is the one that all planes at all pixels give, bit for bit.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // W and H, the pixels.
    width: u32,
    height: u32,
    // M, the planes.
    planes: u32,
    // Pixels along a side of a coarse tile, a multiple of 16. Coarse tiles are numbered row by row.
    edge: u32,
    // First coarse tile of the chunk.
    tile: u32,
    // K, the coarse tiles of the chunk.
    tiles: u32,
    // C, the planes that a coarse tile's list has room for. Where more remain, `fine` goes through all planes.
    capacity: u32,
}

var<immediate> params: Params;

// [W] and [H], the pixels' coordinates, both monotonous.
@group(0) @binding(0) var<storage, read> across: array<f32>;
@group(0) @binding(1) var<storage, read> up: array<f32>;
// [M, 3]
@group(0) @binding(2) var<storage, read> planes: array<f32>;
// `coarse`: [K, C], the planes that remain for each coarse tile, in no order, and [K], how many they are.
@group(0) @binding(3) var<storage, read_write> lists: array<u32>;
@group(0) @binding(4) var<storage, read_write> counts: array<u32>;
// `fine`: the same.
@group(0) @binding(3) var<storage, read> candidates: array<u32>;
@group(0) @binding(4) var<storage, read> candidate_counts: array<u32>;
// [H, W]
@group(0) @binding(5) var<storage, read_write> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> pieces: array<u32>;
// [all coarse tiles, edge / 16, edge / 16, 2], for each fine tile the scores of pixels, and the planes tested.
@group(0) @binding(7) var<storage, read_write> work: array<u32>;
// `exhaustive`: [H, W]
@group(0) @binding(3) var<storage, read_write> exhaustive_values: array<f32>;
@group(0) @binding(4) var<storage, read_write> exhaustive_pieces: array<u32>;

const LOWEST: f32 = -3.4028235e38;
const NONE: u32 = 0xffffffff;

// Pixels along a side of a fine tile, of which an invocation has one.
const FINE: u32 = 16;

// Planes in workgroup memory at a time.
const BLOCK: u32 = 256;

// Points along a side of a tile whose winners are what its planes are tested against, and the invocations that share
// such a point.
const SIDE: u32 = 4;
const LANES: u32 = 16;

// How far a plane must be ahead, relative to the terms of both. With halves of an ulp as the unit, a score is off by at
// most 3 of its terms, fused or not, and the lead of one plane over another, with its differences, by 4 of both's.
const MARGIN: f32 = 1.0 / 2097152.0;

// Added to all sizes, for what devices take for zero.
const TINY: f32 = 1e-30;

// Leads of planes beyond this might overflow. Such planes are never skipped.
const HUGE: f32 = 1e38;

//!include grid

struct Plane {
    coefficients: vec3<f32>,
    number: u32,
}

struct Reference {
    coefficients: vec3<f32>,
    // Sum of its terms' sizes, at most.
    size: f32,
}

// Pixels and the box of their coordinates.
struct Tile {
    origin: vec2<u32>,
    pixels: vec2<u32>,
    low: vec2<f32>,
    high: vec2<f32>,
}

var<workgroup> staged: array<Plane, 256>;
var<workgroup> references: array<Reference, 16>;
var<workgroup> reference_count: atomic<u32>;
var<workgroup> remaining: array<u32, 256>;
var<workgroup> remaining_count: atomic<u32>;
var<workgroup> scores: array<f32, 256>;
var<workgroup> winners: array<u32, 256>;

// An invocation's best plane so far.
var<private> best: f32;
var<private> winner: u32;

fn restart() {
    best = LOWEST;
    winner = NONE;
}

// In any order of planes, the first of equals wins.
fn consider(score: f32, number: u32) {
    if score > best || (score == best && number < winner) {
        best = score;
        winner = number;
    }
}

fn coefficients(number: u32) -> vec3<f32> {
    return vec3(planes[number * 3], planes[number * 3 + 1], planes[number * 3 + 2]);
}

fn score(plane: vec3<f32>, s: f32, t: f32) -> f32 {
    return fma(plane.x, s, fma(plane.y, t, plane.z));
}

fn tile_at(origin: vec2<u32>, edge: u32) -> Tile {
    let pixels = min(vec2(edge), vec2(params.width, params.height) - origin);
    let last = origin + pixels - 1;
    let a = vec2(across[origin.x], up[origin.y]);
    let b = vec2(across[last.x], up[last.y]);
    return Tile(origin, pixels, min(a, b), max(a, b));
}

// What a plane's terms in a tile amount to, at most.
fn size(plane: vec3<f32>, tile: Tile) -> f32 {
    let far = max(abs(tile.low), abs(tile.high)) + TINY;
    let sizes = abs(plane) + TINY;
    return fma(sizes.x, far.x, fma(sizes.y, far.y, sizes.z));
}

// One of the 16 points of a tile, spread from corner to corner.
fn point(tile: Tile, number: u32) -> vec2<f32> {
    let at = tile.origin + vec2(number % SIDE, number / SIDE) * (tile.pixels - 1) / (SIDE - 1);
    return vec2(across[at.x], up[at.y]);
}

// Takes an invocation's share of the staged planes into account at its point.
fn contest(count: u32, place: vec2<f32>, local: u32) {
    for (var i = local % LANES; i < count; i += LANES) {
        consider(score(staged[i].coefficients, place.x, place.y), staged[i].number);
    }
}

// Makes the points' winners the references, and starts with nothing that remains. All invocations of a workgroup must
// call this.
fn elect(tile: Tile, local: u32) {
    let lane = local % LANES;
    scores[local] = best;
    winners[local] = winner;
    if local == 0 {
        atomicStore(&reference_count, 0u);
        atomicStore(&remaining_count, 0u);
    }
    for (var stride = LANES / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if lane < stride {
            consider(scores[local + stride], winners[local + stride]);
            scores[local] = best;
            winners[local] = winner;
        }
    }
    workgroupBarrier();
    if lane == 0 && winner != NONE {
        var known = false;
        for (var i = 0u; i < local; i += LANES) {
            known = known || winners[i] == winner;
        }
        if !known {
            let plane = coefficients(winner);
            references[atomicAdd(&reference_count, 1u)] = Reference(plane, size(plane, tile));
        }
    }
    workgroupBarrier();
}

// Whether a reference is ahead of a plane at every pixel of a tile. Their difference is least at a corner.
fn beaten(plane: vec3<f32>, tile: Tile, reference_total: u32) -> bool {
    let own = size(plane, tile);
    for (var i = 0u; i < reference_total; i++) {
        let lead = references[i].coefficients - plane;
        let worst = select(tile.high, tile.low, lead.xy > vec2(0.0));
        let sizes = references[i].size + own;
        if score(lead, worst.x, worst.y) > MARGIN * sizes && sizes < HUGE {
            return true;
        }
    }
    return false;
}

// Lists the planes that can win in a coarse tile. A workgroup for each.
@compute @workgroup_size(256)
fn coarse(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    if number >= params.tiles {
        return;
    }
    let columns = (params.width + params.edge - 1) / params.edge;
    let row = (params.tile + number) / columns;
    let column = params.tile + number - row * columns;
    let tile = tile_at(vec2(column, row) * params.edge, params.edge);

    let place = point(tile, local / LANES);
    restart();
    for (var start = 0u; start < params.planes; start += BLOCK) {
        let count = min(BLOCK, params.planes - start);
        workgroupBarrier();
        if local < count {
            staged[local] = Plane(coefficients(start + local), start + local);
        }
        workgroupBarrier();
        contest(count, place, local);
    }
    elect(tile, local);

    let reference_total = atomicLoad(&reference_count);
    for (var plane = local; plane < params.planes; plane += 256) {
        if !beaten(coefficients(plane), tile, reference_total) {
            let slot = atomicAdd(&remaining_count, 1u);
            if slot < params.capacity {
                lists[number * params.capacity + slot] = plane;
            }
        }
    }
    workgroupBarrier();
    if local == 0 {
        counts[number] = atomicLoad(&remaining_count);
    }
}

// Candidate of a coarse tile.
fn stage(tile: u32, index: u32, listed: bool, local: u32) {
    var number = index;
    if listed {
        number = candidates[tile * params.capacity + index];
    }
    staged[local] = Plane(coefficients(number), number);
}

// The pixels, a workgroup for each fine tile.
@compute @workgroup_size(256)
fn fine(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let side = params.edge / FINE;
    let outer = number / (side * side);
    if outer >= params.tiles {
        return;
    }
    let inner = number - outer * side * side;
    let columns = (params.width + params.edge - 1) / params.edge;
    let row = (params.tile + outer) / columns;
    let column = params.tile + outer - row * columns;
    let origin = vec2(column, row) * params.edge + vec2(inner % side, inner / side) * FINE;
    let report = (params.tile * side * side + number) * 2;
    if origin.x >= params.width || origin.y >= params.height {
        if local == 0 {
            work[report] = 0u;
            work[report + 1] = 0u;
        }
        return;
    }
    let tile = tile_at(origin, FINE);
    let listed = candidate_counts[outer] <= params.capacity;
    let total = select(params.planes, candidate_counts[outer], listed);

    let place = point(tile, local / LANES);
    restart();
    for (var start = 0u; start < total; start += BLOCK) {
        let count = min(BLOCK, total - start);
        workgroupBarrier();
        if local < count {
            stage(outer, start + local, listed, local);
        }
        workgroupBarrier();
        contest(count, place, local);
    }
    elect(tile, local);

    let at = vec2(local % FINE, local / FINE);
    let inside = all(at < tile.pixels);
    // What lies past the last pixel computes what the last does, and keeps it to itself.
    let pixel = origin + min(at, tile.pixels - 1);
    let s = across[pixel.x];
    let t = up[pixel.y];
    let reference_total = atomicLoad(&reference_count);
    var evaluated = 0u;
    restart();
    for (var start = 0u; start < total; start += BLOCK) {
        let count = min(BLOCK, total - start);
        // A single block is still there.
        if total > BLOCK && local < count {
            stage(outer, start + local, listed, local);
        }
        if local == 0 {
            atomicStore(&remaining_count, 0u);
        }
        workgroupBarrier();
        if local < count && !beaten(staged[local].coefficients, tile, reference_total) {
            remaining[atomicAdd(&remaining_count, 1u)] = local;
        }
        workgroupBarrier();
        let remain = atomicLoad(&remaining_count);
        for (var i = 0u; i < remain; i++) {
            let slot = remaining[i];
            consider(score(staged[slot].coefficients, s, t), staged[slot].number);
        }
        evaluated += remain;
        workgroupBarrier();
    }
    if inside {
        values[pixel.y * params.width + pixel.x] = best;
        pieces[pixel.y * params.width + pixel.x] = winner;
    }
    if local == 0 {
        work[report] = evaluated * tile.pixels.x * tile.pixels.y;
        work[report + 1] = total;
    }
}

// The pixels, by all planes at each of them.
@compute @workgroup_size(256)
fn exhaustive(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pixel = workgroup_number(group, groups) * 256 + local;
    if pixel >= params.width * params.height {
        return;
    }
    let s = across[pixel % params.width];
    let t = up[pixel / params.width];
    restart();
    for (var plane = 0u; plane < params.planes; plane++) {
        consider(score(coefficients(plane), s, t), plane);
    }
    exhaustive_values[pixel] = best;
    exhaustive_pieces[pixel] = winner;
}
