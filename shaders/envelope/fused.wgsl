// The envelopes [2, C, K, N] of envelope.wgsl for one family with one slot, over all anchors of the jets and without
// products in memory: each workgroup owns 128 points and a share of the outputs, and goes over tiles of 128 anchors.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // N, the points.
    points: u32,
    // D, the elements of a point.
    dimension: u32,
    // K, the outputs.
    outputs: u32,
    // C, the sets of curvatures.
    variants: u32,
    // M, the anchors of the jets.
    anchors: u32,
    // The number of the jets' first anchor among all.
    number: u32,
    // Outputs of a workgroup: they share the distances.
    share: u32,
}

var<immediate> params: Params;

// Centred points [N, D] and anchors [M, D].
@group(0) @binding(0) var<storage, read> points: array<f32>;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
// For each anchor its offsets [K], squared norm, and values [K].
@group(0) @binding(2) var<storage, read> terms: array<f32>;
// Squared norms of the centred points [N].
@group(0) @binding(3) var<storage, read> norms: array<f32>;
// Jacobians [M, K, D].
@group(0) @binding(4) var<storage, read> jacobians: array<f32>;
// Half the curvatures of either half [C, K].
@group(0) @binding(5) var<storage, read> halves: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;
@group(0) @binding(7) var<storage, read_write> pieces: array<u32>;

const LOWEST: f32 = -3.4028235e38;

// Anchors or points of a tile.
const TILE: u32 = 128;
// Elements of each that lie in workgroup memory at a time.
const DEPTH: u32 = 16;
// Vectors of one element of a tile.
const QUADS: u32 = 32;
// Where the points' half begins.
const HALF: u32 = 512;

// Of a product: [DEPTH, QUADS] of anchors, then of points. Of a fold: [16, QUADS] largest scores of either side.
var<workgroup> tile: array<vec4<f32>, 1024>;

// What an invocation owns: eight anchors, one after the other, times two vectors of points.
struct Block {
    left_0: vec4<f32>,
    right_0: vec4<f32>,
    left_1: vec4<f32>,
    right_1: vec4<f32>,
    left_2: vec4<f32>,
    right_2: vec4<f32>,
    left_3: vec4<f32>,
    right_3: vec4<f32>,
    left_4: vec4<f32>,
    right_4: vec4<f32>,
    left_5: vec4<f32>,
    right_5: vec4<f32>,
    left_6: vec4<f32>,
    right_6: vec4<f32>,
    left_7: vec4<f32>,
    right_7: vec4<f32>,
}

// The largest scores of four points, and which of the eight anchors have them.
struct Best {
    score: vec4<f32>,
    index: vec4<u32>,
}

//!include grid

@compute @workgroup_size(256)
fn fused(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let shares = (params.outputs + params.share - 1) / params.share;
    let workgroup = workgroup_number(group, groups);
    let point = workgroup / shares * TILE;
    if point >= params.points {
        return;
    }
    let begin = workgroup % shares * params.share;
    let end = min(begin + params.share, params.outputs);
    let column = local % 16;
    let row = local / 16;
    let left = point + column * 4;
    let right = left + 64;
    let own_left = quad_norms(left);
    let own_right = quad_norms(right);
    for (var anchor = 0u; anchor < params.anchors; anchor += TILE) {
        var squared = product(anchor, point, params.outputs, local);
        let mine = anchor + row * 8;
        squared.left_0 = distances(squared.left_0, own_left + norm(mine + 0));
        squared.right_0 = distances(squared.right_0, own_right + norm(mine + 0));
        squared.left_1 = distances(squared.left_1, own_left + norm(mine + 1));
        squared.right_1 = distances(squared.right_1, own_right + norm(mine + 1));
        squared.left_2 = distances(squared.left_2, own_left + norm(mine + 2));
        squared.right_2 = distances(squared.right_2, own_right + norm(mine + 2));
        squared.left_3 = distances(squared.left_3, own_left + norm(mine + 3));
        squared.right_3 = distances(squared.right_3, own_right + norm(mine + 3));
        squared.left_4 = distances(squared.left_4, own_left + norm(mine + 4));
        squared.right_4 = distances(squared.right_4, own_right + norm(mine + 4));
        squared.left_5 = distances(squared.left_5, own_left + norm(mine + 5));
        squared.right_5 = distances(squared.right_5, own_right + norm(mine + 5));
        squared.left_6 = distances(squared.left_6, own_left + norm(mine + 6));
        squared.right_6 = distances(squared.right_6, own_right + norm(mine + 6));
        squared.left_7 = distances(squared.left_7, own_left + norm(mine + 7));
        squared.right_7 = distances(squared.right_7, own_right + norm(mine + 7));
        for (var output = begin; output < end; output++) {
            let slope = product(anchor, point, output, local);
            for (var variant = 0u; variant < params.variants; variant++) {
                let half = halves[variant * params.outputs + output];
                var lower_left = Best(vec4(LOWEST), vec4(0));
                var lower_right = lower_left;
                var upper_left = lower_left;
                var upper_right = lower_left;
                let offset_0 = offset(mine + 0, output);
                lower_left = better(lower_left, slope.left_0 + (offset_0 - half.x * squared.left_0), 0);
                lower_right = better(lower_right, slope.right_0 + (offset_0 - half.x * squared.right_0), 0);
                upper_left = better(upper_left, -slope.left_0 - (offset_0 + half.y * squared.left_0), 0);
                upper_right = better(upper_right, -slope.right_0 - (offset_0 + half.y * squared.right_0), 0);
                let offset_1 = offset(mine + 1, output);
                lower_left = better(lower_left, slope.left_1 + (offset_1 - half.x * squared.left_1), 1);
                lower_right = better(lower_right, slope.right_1 + (offset_1 - half.x * squared.right_1), 1);
                upper_left = better(upper_left, -slope.left_1 - (offset_1 + half.y * squared.left_1), 1);
                upper_right = better(upper_right, -slope.right_1 - (offset_1 + half.y * squared.right_1), 1);
                let offset_2 = offset(mine + 2, output);
                lower_left = better(lower_left, slope.left_2 + (offset_2 - half.x * squared.left_2), 2);
                lower_right = better(lower_right, slope.right_2 + (offset_2 - half.x * squared.right_2), 2);
                upper_left = better(upper_left, -slope.left_2 - (offset_2 + half.y * squared.left_2), 2);
                upper_right = better(upper_right, -slope.right_2 - (offset_2 + half.y * squared.right_2), 2);
                let offset_3 = offset(mine + 3, output);
                lower_left = better(lower_left, slope.left_3 + (offset_3 - half.x * squared.left_3), 3);
                lower_right = better(lower_right, slope.right_3 + (offset_3 - half.x * squared.right_3), 3);
                upper_left = better(upper_left, -slope.left_3 - (offset_3 + half.y * squared.left_3), 3);
                upper_right = better(upper_right, -slope.right_3 - (offset_3 + half.y * squared.right_3), 3);
                let offset_4 = offset(mine + 4, output);
                lower_left = better(lower_left, slope.left_4 + (offset_4 - half.x * squared.left_4), 4);
                lower_right = better(lower_right, slope.right_4 + (offset_4 - half.x * squared.right_4), 4);
                upper_left = better(upper_left, -slope.left_4 - (offset_4 + half.y * squared.left_4), 4);
                upper_right = better(upper_right, -slope.right_4 - (offset_4 + half.y * squared.right_4), 4);
                let offset_5 = offset(mine + 5, output);
                lower_left = better(lower_left, slope.left_5 + (offset_5 - half.x * squared.left_5), 5);
                lower_right = better(lower_right, slope.right_5 + (offset_5 - half.x * squared.right_5), 5);
                upper_left = better(upper_left, -slope.left_5 - (offset_5 + half.y * squared.left_5), 5);
                upper_right = better(upper_right, -slope.right_5 - (offset_5 + half.y * squared.right_5), 5);
                let offset_6 = offset(mine + 6, output);
                lower_left = better(lower_left, slope.left_6 + (offset_6 - half.x * squared.left_6), 6);
                lower_right = better(lower_right, slope.right_6 + (offset_6 - half.x * squared.right_6), 6);
                upper_left = better(upper_left, -slope.left_6 - (offset_6 + half.y * squared.left_6), 6);
                upper_right = better(upper_right, -slope.right_6 - (offset_6 + half.y * squared.right_6), 6);
                let offset_7 = offset(mine + 7, output);
                lower_left = better(lower_left, slope.left_7 + (offset_7 - half.x * squared.left_7), 7);
                lower_right = better(lower_right, slope.right_7 + (offset_7 - half.x * squared.right_7), 7);
                upper_left = better(upper_left, -slope.left_7 - (offset_7 + half.y * squared.left_7), 7);
                upper_right = better(upper_right, -slope.right_7 - (offset_7 + half.y * squared.right_7), 7);
                // Across the tile: each invocation of these takes the largest of a vector of points.
                workgroupBarrier();
                tile[row * QUADS + column] = lower_left.score;
                tile[row * QUADS + 16 + column] = lower_right.score;
                tile[HALF + row * QUADS + column] = upper_left.score;
                tile[HALF + row * QUADS + 16 + column] = upper_right.score;
                workgroupBarrier();
                let envelope = variant * params.outputs + output;
                if local < 2 * QUADS {
                    let side = local / QUADS;
                    let start = state(side, envelope);
                    tile[side * HALF + local % QUADS] = take(start, point, side, local % QUADS);
                }
                workgroupBarrier();
                keep(lower_left, row, tile[column], state(0, envelope), left, mine);
                keep(lower_right, row, tile[16 + column], state(0, envelope), right, mine);
                keep(upper_left, row, tile[HALF + column], state(1, envelope), left, mine);
                keep(upper_right, row, tile[HALF + 16 + column], state(1, envelope), right, mine);
            }
        }
    }
}

// Where the envelope of a side begins.
fn state(side: u32, envelope: u32) -> u32 {
    return (side * params.variants * params.outputs + envelope) * params.points;
}

fn quad_norms(point: u32) -> vec4<f32> {
    let p = min(point + vec4(0u, 1u, 2u, 3u), vec4(params.points - 1));
    return vec4(norms[p.x], norms[p.y], norms[p.z], norms[p.w]);
}

// Squared norm of an anchor; past the last, of the last.
fn norm(anchor: u32) -> f32 {
    return terms[min(anchor, params.anchors - 1) * (2 * params.outputs + 1) + params.outputs];
}

fn offset(anchor: u32, output: u32) -> f32 {
    return terms[min(anchor, params.anchors - 1) * (2 * params.outputs + 1) + output];
}

fn distances(cross: vec4<f32>, norms: vec4<f32>) -> vec4<f32> {
    return max(norms - 2.0 * cross, vec4(0.0));
}

// Takes another anchor's scores; the first of equal ones stays.
fn better(best: Best, score: vec4<f32>, index: u32) -> Best {
    let wins = score > best.score;
    return Best(select(best.score, score, wins), select(best.index, vec4(index), wins));
}

// Takes the tile's largest scores of a vector of points into the state. Returns which row of invocations has the
// score that now stands there, or a number past them.
fn take(start: u32, point: u32, side: u32, quad: u32) -> vec4<f32> {
    var best = tile[side * HALF + quad];
    var winner = vec4(0.0);
    for (var y = 1u; y < 16; y++) {
        let score = tile[side * HALF + y * QUADS + quad];
        let wins = score > best;
        best = select(best, score, wins);
        winner = select(winner, vec4(f32(y)), wins);
    }
    for (var q = 0u; q < 4; q++) {
        let p = point + quad * 4 + q;
        if p < params.points && best[q] > values[start + p] {
            values[start + p] = best[q];
        } else {
            winner[q] = 16.0;
        }
    }
    return winner;
}

// Keeps the pieces of those points whose largest score is this invocation's.
fn keep(best: Best, row: u32, winner: vec4<f32>, start: u32, point: u32, anchor: u32) {
    let mine = winner == vec4(f32(row));
    if any(mine) {
        for (var q = 0u; q < 4; q++) {
            if mine[q] {
                pieces[start + point + q] = params.number + anchor + best.index[q];
            }
        }
    }
}

// An element of four rows of the anchors' side: of the Jacobian of an output, or with `output == K` of the anchor
// itself. Rows past the last repeat it, so that they win nothing.
fn anchor_quad(anchor: u32, output: u32, element: u32) -> vec4<f32> {
    if element >= params.dimension {
        return vec4(0.0);
    }
    let i = min(anchor + vec4(0u, 1u, 2u, 3u), vec4(params.anchors - 1));
    if output == params.outputs {
        let at = i * params.dimension + element;
        return vec4(anchors[at.x], anchors[at.y], anchors[at.z], anchors[at.w]);
    }
    let at = (i * params.outputs + output) * params.dimension + element;
    return vec4(jacobians[at.x], jacobians[at.y], jacobians[at.z], jacobians[at.w]);
}

fn point_quad(point: u32, element: u32) -> vec4<f32> {
    if element >= params.dimension {
        return vec4(0.0);
    }
    let at = min(point + vec4(0u, 1u, 2u, 3u), vec4(params.points - 1)) * params.dimension + element;
    return vec4(points[at.x], points[at.y], points[at.z], points[at.w]);
}

// This invocation's part of the products of a tile.
fn product(anchor: u32, point: u32, output: u32, local: u32) -> Block {
    var sum = Block();
    // Each invocation brings one element of two quads of rows on either side.
    let column = local % 16;
    let row = local / 16;
    let near = anchor + row * 4;
    let left = point + row * 4;
    // The quads of one element lie permuted: written as they are, eight lanes would meet in one bank.
    let slot = column * QUADS + (row ^ (column % 8));
    var a = anchor_quad(near, output, column);
    var b = anchor_quad(near + 64, output, column);
    var x = point_quad(left, column);
    var y = point_quad(left + 64, column);
    for (var depth = 0u; depth < params.dimension; depth += DEPTH) {
        workgroupBarrier();
        tile[slot] = a;
        tile[slot + 16] = b;
        tile[HALF + slot] = x;
        tile[HALF + slot + 16] = y;
        workgroupBarrier();
        // On their way while this slab is multiplied.
        let element = depth + DEPTH + column;
        a = anchor_quad(near, output, element);
        b = anchor_quad(near + 64, output, element);
        x = point_quad(left, element);
        y = point_quad(left + 64, element);
        for (var j = 0u; j < DEPTH; j++) {
            let swap = j % 8;
            let upper = tile[j * QUADS + ((row * 2) ^ swap)];
            let lower = tile[j * QUADS + ((row * 2 + 1) ^ swap)];
            let first = tile[HALF + j * QUADS + (column ^ swap)];
            let second = tile[HALF + j * QUADS + 16 + (column ^ swap)];
            sum.left_0 = fma(vec4(upper.x), first, sum.left_0);
            sum.right_0 = fma(vec4(upper.x), second, sum.right_0);
            sum.left_1 = fma(vec4(upper.y), first, sum.left_1);
            sum.right_1 = fma(vec4(upper.y), second, sum.right_1);
            sum.left_2 = fma(vec4(upper.z), first, sum.left_2);
            sum.right_2 = fma(vec4(upper.z), second, sum.right_2);
            sum.left_3 = fma(vec4(upper.w), first, sum.left_3);
            sum.right_3 = fma(vec4(upper.w), second, sum.right_3);
            sum.left_4 = fma(vec4(lower.x), first, sum.left_4);
            sum.right_4 = fma(vec4(lower.x), second, sum.right_4);
            sum.left_5 = fma(vec4(lower.y), first, sum.left_5);
            sum.right_5 = fma(vec4(lower.y), second, sum.right_5);
            sum.left_6 = fma(vec4(lower.z), first, sum.left_6);
            sum.right_6 = fma(vec4(lower.z), second, sum.right_6);
            sum.left_7 = fma(vec4(lower.w), first, sum.left_7);
            sum.right_7 = fma(vec4(lower.w), second, sum.right_7);
        }
    }
    return sum;
}
