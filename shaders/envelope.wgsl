// Lower and upper envelopes [2, rows, T, N] of affine pieces, with the active piece of each and the next best behind.
// A row is one of [families, C, slots, K]; the upper half is kept negated, so that both take maxima of
// `sign T - half d^2`.

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
    // Slots of each family.
    slots: u32,
    // families C slots K, the envelopes of a half.
    rows: u32,
    // T, how many of the best pieces a row has; 1 but for `reset`, `fold_top` and `refine`.
    top: u32,
    // M, the anchors of the jets.
    anchors: u32,
    // The number of the jets' first anchor among all.
    number: u32,
    // `refine`: invocations that share a sum, a power of two, at most 64, that follows from D alone.
    lanes: u32,
    // `fold`, `fold_top`: the block's first point.
    point: u32,
    // `fold`, `fold_top`: the block's points, the width of its products.
    width: u32,
    // `fold`, `fold_top`: the block's first anchor within the jets.
    anchor: u32,
    // `fold`, `fold_top`: where the block's lists begin in `lists`.
    list: u32,
}

var<immediate> params: Params;

// `fold`, `fold_top`: a block's `J_ik x` [m, K, width] and `x_i x` [m, width], of centred points and anchors.
@group(0) @binding(0) var<storage, read> slopes: array<f32>;
@group(0) @binding(1) var<storage, read> cross: array<f32>;
// `fold`, `fold_top`: for each anchor of the jets its offsets [K], squared norm, and values [K].
@group(0) @binding(2) var<storage, read> terms: array<f32>;
// `fold`, `fold_top`: squared norms of the centred points [N].
@group(0) @binding(3) var<storage, read> norms: array<f32>;

// `refine`, `direct`: points [N, D] and jets [M, D], [M, K], [M, K, D], as they came.
@group(0) @binding(0) var<storage, read> points: array<f32>;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> outputs: array<f32>;
@group(0) @binding(3) var<storage, read> jacobians: array<f32>;

// Half the curvatures of either half [C, K].
@group(0) @binding(4) var<storage, read> halves: array<vec2<f32>>;
// `fold`, `fold_top`: for each block [families slots + 1] places in this array, from each of which to the next lie
// the anchors, ascending and counted from the block's first, that feed a slot.
@group(0) @binding(5) var<storage, read> lists: array<u32>;

@group(0) @binding(6) var<storage, read_write> values: array<f32>;
@group(0) @binding(7) var<storage, read_write> pieces: array<u32>;

const LOWEST: f32 = -3.4028235e38;
const NONE: u32 = 0xffffffff;

//!include grid
//!include insert
//!include team
//!include difference

@compute @workgroup_size(256)
fn reset(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    if index < 2 * params.rows * params.top * params.points {
        values[index] = LOWEST;
        pieces[index] = NONE;
    }
}

// Takes a block of products into the envelopes of its points, where only active pieces are wanted.
@compute @workgroup_size(64)
fn fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Workgroups of the same points lie side by side, since they read the same distances.
    let workgroup = workgroup_number(group, groups);
    let row = workgroup % params.rows;
    let column = workgroup / params.rows * 64 + local;
    if column >= params.width {
        return;
    }
    let pairs = folded(row, column);
    let lower_index = row * params.points + params.point + column;
    let upper_index = lower_index + params.rows * params.points;
    var lower = values[lower_index];
    var upper = values[upper_index];
    var lower_piece = pieces[lower_index];
    var upper_piece = pieces[upper_index];
    for (var at = pairs.start; at < pairs.end; at++) {
        let anchor = lists[at];
        let scores = folded_scores(pairs, anchor);
        let piece = params.number + params.anchor + anchor;
        if scores.x > lower {
            lower = scores.x;
            lower_piece = piece;
        }
        if scores.y > upper {
            upper = scores.y;
            upper_piece = piece;
        }
    }
    values[lower_index] = lower;
    values[upper_index] = upper;
    pieces[lower_index] = lower_piece;
    pieces[upper_index] = upper_piece;
}

// The same, where more are wanted. Few scores exceed the last of the best: lists stay in global memory.
@compute @workgroup_size(64)
fn fold_top(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_number(group, groups);
    let row = workgroup % params.rows;
    let column = workgroup / params.rows * 64 + local;
    if column >= params.width {
        return;
    }
    let pairs = folded(row, column);
    let lower_last = ((row + 1) * params.top - 1) * params.points + params.point + column;
    let upper_last = lower_last + params.rows * params.top * params.points;
    var least = vec2(values[lower_last], values[upper_last]);
    for (var at = pairs.start; at < pairs.end; at++) {
        let anchor = lists[at];
        let scores = folded_scores(pairs, anchor);
        let piece = params.number + params.anchor + anchor;
        if scores.x > least.x {
            insert(lower_last, scores.x, piece);
            least.x = values[lower_last];
        }
        if scores.y > least.y {
            insert(upper_last, scores.y, piece);
            least.y = values[upper_last];
        }
    }
}

// What an invocation folds: one point of the block and one row.
struct Folded {
    column: u32,
    output: u32,
    half: vec2<f32>,
    // Squared norm of the point.
    norm: f32,
    // Its anchors' places in `lists`.
    start: u32,
    end: u32,
}

fn folded(row: u32, column: u32) -> Folded {
    let output = row % params.outputs;
    let variant = row / (params.outputs * params.slots) % params.variants;
    let family = row / (params.outputs * params.slots * params.variants);
    let list = params.list + family * params.slots + row / params.outputs % params.slots;
    let half = halves[variant * params.outputs + output];
    return Folded(column, output, half, norms[params.point + column], lists[list], lists[list + 1]);
}

// The lower and the upper score of an anchor, counted from the block's first.
fn folded_scores(pairs: Folded, anchor: u32) -> vec2<f32> {
    let term = (params.anchor + anchor) * (2 * params.outputs + 1);
    let slope = slopes[(anchor * params.outputs + pairs.output) * params.width + pairs.column];
    let product = cross[anchor * params.width + pairs.column];
    let squared = max(pairs.norm + terms[term + params.outputs] - 2.0 * product, 0.0);
    let offset = terms[term + pairs.output];
    return vec2(slope + (offset - pairs.half.x * squared), -slope - (offset + pairs.half.y * squared));
}

// Recomputes the values of those of the best pieces that are among the jets, from the difference itself.
@compute @workgroup_size(256)
fn refine(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = team_number(workgroup_number(group, groups), local);
    let lane = local % params.lanes;
    let row = index / (params.top * params.points) % params.rows;
    let output = row % params.outputs;
    var anchor = NONE;
    if index < 2 * params.rows * params.top * params.points {
        anchor = pieces[index] - params.number;
    }
    var sums = vec2(0.0);
    if anchor < params.anchors {
        sums = lane_difference(index % params.points, anchor, output, lane, params.lanes);
    }
    sums = team_sum(sums, local);
    if anchor < params.anchors && lane == 0 {
        let tangent = outputs[anchor * params.outputs + output] + sums.x;
        let variant = row / (params.outputs * params.slots) % params.variants;
        let half = halves[variant * params.outputs + output];
        if index < params.rows * params.top * params.points {
            values[index] = tangent - half.x * sums.y;
        } else {
            values[index] = -tangent - half.y * sums.y;
        }
    }
}

// `direct` takes the largest score of so many anchors before it asks which of them has it: a maximum is one
// instruction, a comparison that keeps its index three.
const TOGETHER: u32 = 8;
// Anchors in workgroup memory at a time.
const TILE: u32 = 64;

// The coordinates of an invocation's four points, and 0 past the last.
var<private> own: array<vec4<f32>, 8>;
// Coordinates 2 q and 2 q + 1 of each anchor, and the slopes along them, at q TILE.
var<workgroup> steps: array<vec4<f32>, 256>;
var<workgroup> bases: array<f32, 64>;

// Of four points and one anchor.
struct Pairs {
    tangent: vec4<f32>,
    squared: vec4<f32>,
}

// Of four points.
struct Scores {
    lower: vec4<f32>,
    upper: vec4<f32>,
}

// Envelopes of points of at most 8 elements over all anchors of the jets, which feed the only slot of the only
// family: four points for each invocation, everything from the difference itself.
@compute @workgroup_size(64)
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_number(group, groups);
    let row = workgroup % params.rows;
    let start = workgroup / params.rows * 256;
    if start >= params.points {
        return;
    }
    let output = row % params.outputs;
    let half = halves[row];
    let mine = start + local + vec4(0u, 64u, 128u, 192u);
    // What lies past the last point computes what the last does, and keeps it to itself.
    let present = min(mine, vec4(params.points - 1));
    for (var j = 0u; j < 8; j++) {
        own[j] = vec4(0.0);
        if j < params.dimension {
            let x = present * params.dimension + j;
            own[j] = vec4(points[x.x], points[x.y], points[x.z], points[x.w]);
        }
    }
    let lower_index = row * params.points + present;
    let upper_index = lower_index + params.rows * params.points;
    var best = Scores(state(lower_index), state(upper_index));
    var lower_start = vec4(NONE);
    var upper_start = vec4(NONE);
    for (var tile = 0u; tile < params.anchors; tile += TILE) {
        workgroupBarrier();
        // The last anchor fills its tile: again it wins nothing.
        stage(min(tile + local, params.anchors - 1), output, local);
        workgroupBarrier();
        let end = min(TILE, params.anchors - tile);
        for (var i = 0u; i < end; i += TOGETHER) {
            let scores = largest(i, half);
            let lower_better = scores.lower > best.lower;
            best.lower = select(best.lower, scores.lower, lower_better);
            lower_start = select(lower_start, vec4(tile + i), lower_better);
            let upper_better = scores.upper > best.upper;
            best.upper = select(best.upper, scores.upper, upper_better);
            upper_start = select(upper_start, vec4(tile + i), upper_better);
        }
    }
    for (var q = 0u; q < 4 && mine[q] < params.points; q++) {
        settle(lower_index[q], mine[q], lower_start[q], output, 1.0, half.x);
        settle(upper_index[q], mine[q], upper_start[q], output, -1.0, half.y);
    }
}

fn state(index: vec4<u32>) -> vec4<f32> {
    return vec4(values[index.x], values[index.y], values[index.z], values[index.w]);
}

fn stage(anchor: u32, output: u32, local: u32) {
    let center = anchor * params.dimension;
    let slope = (anchor * params.outputs + output) * params.dimension;
    bases[local] = outputs[anchor * params.outputs + output];
    for (var j = 0u; j < params.dimension; j += 2) {
        var step = vec4(anchors[center + j], 0.0, jacobians[slope + j], 0.0);
        if j + 1 < params.dimension {
            step.y = anchors[center + j + 1];
            step.w = jacobians[slope + j + 1];
        }
        steps[j / 2 * TILE + local] = step;
    }
}

// The largest scores over `TOGETHER` staged anchors.
fn largest(start: u32, half: vec2<f32>) -> Scores {
    var best = Scores(vec4(LOWEST), vec4(LOWEST));
    if params.dimension <= 2 {
        for (var i = start; i < start + TOGETHER; i++) {
            best = better(best, two(base(i), own[0], own[1], steps[i]), half);
        }
    } else if params.dimension <= 4 {
        for (var i = start; i < start + TOGETHER; i++) {
            let pairs = two(base(i), own[0], own[1], steps[i]);
            best = better(best, two(pairs, own[2], own[3], steps[TILE + i]), half);
        }
    } else {
        for (var i = start; i < start + TOGETHER; i++) {
            var pairs = two(base(i), own[0], own[1], steps[i]);
            pairs = two(pairs, own[2], own[3], steps[TILE + i]);
            pairs = two(pairs, own[4], own[5], steps[2 * TILE + i]);
            if params.dimension > 6 {
                pairs = two(pairs, own[6], own[7], steps[3 * TILE + i]);
            }
            best = better(best, pairs, half);
        }
    }
    return best;
}

fn base(i: u32) -> Pairs {
    return Pairs(vec4(bases[i]), vec4(0.0));
}

// Goes along two coordinates.
fn two(pairs: Pairs, x: vec4<f32>, y: vec4<f32>, step: vec4<f32>) -> Pairs {
    let dx = x - step.x;
    let dy = y - step.y;
    let tangent = fma(dy, vec4(step.w), fma(dx, vec4(step.z), pairs.tangent));
    return Pairs(tangent, fma(dy, dy, fma(dx, dx, pairs.squared)));
}

fn better(best: Scores, pairs: Pairs, half: vec2<f32>) -> Scores {
    let lower = fma(pairs.squared, vec4(-half.x), pairs.tangent);
    let upper = fma(pairs.squared, vec4(-half.y), -pairs.tangent);
    return Scores(max(best.lower, lower), max(best.upper, upper));
}

// Finds the first of the largest among `TOGETHER` anchors; the order of operations is that of `two`.
fn settle(index: u32, point: u32, start: u32, output: u32, sign: f32, half: f32) {
    if start == NONE {
        return;
    }
    let x = point * params.dimension;
    var value = LOWEST;
    var piece = NONE;
    for (var i = start; i < min(start + TOGETHER, params.anchors); i++) {
        let center = i * params.dimension;
        let slope = (i * params.outputs + output) * params.dimension;
        var tangent = outputs[i * params.outputs + output];
        var squared = 0.0;
        for (var j = 0u; j < params.dimension; j++) {
            let difference = points[x + j] - anchors[center + j];
            tangent = fma(difference, jacobians[slope + j], tangent);
            squared = fma(difference, difference, squared);
        }
        let score = fma(squared, -half, sign * tangent);
        if score > value {
            value = score;
            piece = params.number + i;
        }
    }
    values[index] = value;
    pieces[index] = piece;
}
