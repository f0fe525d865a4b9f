// Soft envelopes [rows, N] of affine pieces, in one pass over the anchors: of scores `s = sign T - half d^2` the sums of
// exp((s - largest) / temperature), and of tangents T so weighted. A row is one of [T + 2 C, K]: the means of
// tangents (sign 0), the lower halves (sign 1) and the upper ones (sign -1).

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // N, the points.
    points: u32,
    // D, the elements of a point.
    dimension: u32,
    // K, the outputs.
    outputs: u32,
    // (T + 2 C) K, the soft envelopes of a point.
    rows: u32,
    // `fold`: m, the block's anchors. `direct`: M.
    anchors: u32,
    // `fold`: the block's first point.
    point: u32,
    // `fold`: the block's points, the width of its products.
    width: u32,
    // `fold`: the block's first anchor within the jets.
    anchor: u32,
}

var<immediate> params: Params;

// `fold`: a block's `J_ik x` [m, K, width] of centred points, and `|x - x_i|^2` [m, width].
@group(0) @binding(0) var<storage, read> slopes: array<f32>;
@group(0) @binding(1) var<storage, read> distances: array<f32>;
// `fold`: for each anchor of the jets its offsets [K], squared norm, and values [K].
@group(0) @binding(2) var<storage, read> terms: array<f32>;

// `direct`: points [N, D] and jets [M, D], [M, K], [M, K, D], as they came.
@group(0) @binding(0) var<storage, read> points: array<f32>;
@group(0) @binding(1) var<storage, read> anchors: array<f32>;
@group(0) @binding(2) var<storage, read> outputs: array<f32>;
@group(0) @binding(3) var<storage, read> jacobians: array<f32>;

struct Softness {
    sign: f32,
    half: f32,
    // 1 / temperature.
    inverse: f32,
    // Scores farther below the largest count as so far below it, where they weigh nothing.
    reach: f32,
}

// [rows]
@group(0) @binding(4) var<storage, read> softness: array<Softness>;

// The largest score of each row and point; after `finish` the results.
@group(0) @binding(5) var<storage, read_write> largest: array<f32>;
// Sums of the exponentials, and of the same times tangents.
@group(0) @binding(6) var<storage, read_write> weights: array<f32>;
@group(0) @binding(7) var<storage, read_write> tangents: array<f32>;

const LOWEST: f32 = -3.4028235e38;

// So many anchors are added up before their sums join the rest: errors then grow with the groups, not with the anchors.
const TOGETHER: u32 = 16;

//!include grid
//!include elementary

struct Sums {
    largest: f32,
    weight: f32,
    tangent: f32,
    // Of the present group of anchors.
    own_weight: f32,
    own_tangent: f32,
}

// Takes one anchor into account.
fn taken(sums: Sums, soft: Softness, tangent: f32, squared: f32) -> Sums {
    let score = fma(squared, -soft.half, soft.sign * tangent);
    let rise = score - sums.largest;
    // Of this score and the largest, what the lower one weighs beside the other.
    let factor = exponential(max(-abs(rise), -soft.reach) * soft.inverse);
    let scale = select(1.0, factor, rise > 0.0);
    let weight = select(factor, 1.0, rise > 0.0);
    return Sums(
        max(score, sums.largest),
        sums.weight * scale,
        sums.tangent * scale,
        fma(sums.own_weight, scale, weight),
        fma(sums.own_tangent, scale, weight * tangent),
    );
}

// Closes a group of anchors.
fn joined(sums: Sums) -> Sums {
    return Sums(sums.largest, sums.weight + sums.own_weight, sums.tangent + sums.own_tangent, 0.0, 0.0);
}

@compute @workgroup_size(256)
fn reset(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    if index < params.rows * params.points {
        largest[index] = LOWEST;
        weights[index] = 0.0;
        tangents[index] = 0.0;
    }
}

// Takes a block of products into account.
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
    let output = row % params.outputs;
    let soft = softness[row];
    let index = row * params.points + params.point + column;
    var sums = Sums(largest[index], weights[index], tangents[index], 0.0, 0.0);
    for (var start = 0u; start < params.anchors; start += TOGETHER) {
        for (var i = start; i < min(start + TOGETHER, params.anchors); i++) {
            let offset = terms[(params.anchor + i) * (2 * params.outputs + 1) + output];
            let tangent = slopes[(i * params.outputs + output) * params.width + column] + offset;
            sums = taken(sums, soft, tangent, distances[i * params.width + column]);
        }
        sums = joined(sums);
    }
    largest[index] = sums.largest;
    weights[index] = sums.weight;
    tangents[index] = sums.tangent;
}

// Anchors in workgroup memory at a time.
const TILE: u32 = 64;

// The first and the last four coordinates of each anchor and the slopes along them, and 0 past the last.
var<workgroup> centers: array<array<vec4<f32>, 2>, 64>;
var<workgroup> steps: array<array<vec4<f32>, 2>, 64>;
var<workgroup> bases: array<f32, 64>;

// All anchors of the jets, for points of at most 8 elements: everything from the difference itself.
@compute @workgroup_size(64)
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_number(group, groups);
    let row = workgroup % params.rows;
    let start = workgroup / params.rows * 64;
    if start >= params.points {
        return;
    }
    let output = row % params.outputs;
    let soft = softness[row];
    // Past the last point computes what the last does, and keeps it to itself.
    let point = min(start + local, params.points - 1);
    let index = row * params.points + point;
    var low = vec4(0.0);
    var high = vec4(0.0);
    for (var j = 0u; j < params.dimension; j++) {
        if j < 4 {
            low[j] = points[point * params.dimension + j];
        } else {
            high[j - 4] = points[point * params.dimension + j];
        }
    }
    var sums = Sums(largest[index], weights[index], tangents[index], 0.0, 0.0);
    for (var tile = 0u; tile < params.anchors; tile += TILE) {
        workgroupBarrier();
        stage(min(tile + local, params.anchors - 1), output, local);
        workgroupBarrier();
        let end = min(TILE, params.anchors - tile);
        for (var group_start = 0u; group_start < end; group_start += TOGETHER) {
            for (var i = group_start; i < min(group_start + TOGETHER, end); i++) {
                let near = low - centers[i][0];
                var tangent = bases[i] + dot(near, steps[i][0]);
                var squared = dot(near, near);
                if params.dimension > 4 {
                    let far = high - centers[i][1];
                    tangent += dot(far, steps[i][1]);
                    squared += dot(far, far);
                }
                sums = taken(sums, soft, tangent, squared);
            }
            sums = joined(sums);
        }
    }
    if start + local < params.points {
        largest[index] = sums.largest;
        weights[index] = sums.weight;
        tangents[index] = sums.tangent;
    }
}

fn stage(anchor: u32, output: u32, local: u32) {
    let at = anchor * params.dimension;
    let slope = (anchor * params.outputs + output) * params.dimension;
    bases[local] = outputs[anchor * params.outputs + output];
    for (var part = 0u; part < 2 && 4 * part < params.dimension; part++) {
        var center = vec4(0.0);
        var step = vec4(0.0);
        for (var j = 0u; j < min(4u, params.dimension - 4 * part); j++) {
            center[j] = anchors[at + 4 * part + j];
            step[j] = jacobians[slope + 4 * part + j];
        }
        centers[local][part] = center;
        steps[local][part] = step;
    }
}

// The results of all rows, in place of the largest scores.
@compute @workgroup_size(256)
fn finish(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    if index >= params.rows * params.points {
        return;
    }
    let soft = softness[index / params.points];
    let weight = weights[index];
    var result = select(soft.sign * LOWEST, -LOWEST, soft.sign == 0.0);
    if weight > 0.0 && soft.sign == 0.0 {
        result = tangents[index] / weight;
    } else if weight > 0.0 {
        result = soft.sign * (largest[index] + logarithm(weight) / soft.inverse);
    }
    largest[index] = result;
}
