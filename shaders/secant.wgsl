// For each output, side and point [K, 2, N] the largest ratio `2 (T_i - g) / d^2` over anchors i of the jets, on the
// second side of `2 (g - T_i) / d^2`, and at least 0. Equal points say nothing.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // N, the points.
    points: u32,
    // D, the elements of a point.
    dimension: u32,
    // K, the outputs.
    outputs: u32,
    // `fold`: m, the block's anchors. `direct`: M.
    anchors: u32,
    // `recompute`: invocations that share a sum, a power of two, at most 64, that follows from D alone.
    lanes: u32,
    // `fold`: the block's first point.
    point: u32,
    // `fold`: the block's points, the width of its products.
    width: u32,
    // `fold`: the block's first anchor within the jets.
    anchor: u32,
}

var<immediate> params: Params;

// `fold`: a block's `J_ik x` [m, K, width] and `x_i x` [m, width], of centred points and anchors.
@group(0) @binding(0) var<storage, read> slopes: array<f32>;
@group(0) @binding(1) var<storage, read> cross: array<f32>;
// For each anchor of the jets its offsets [K], squared norm, and values [K].
@group(0) @binding(2) var<storage, read> terms: array<f32>;
// The points' values [K, N], and the squared norms of the centred points [N].
@group(0) @binding(3) var<storage, read> values: array<f32>;
// Points [N, D], anchors [M, D] and Jacobians [M, K, D], as they came.
@group(0) @binding(4) var<storage, read> points: array<f32>;
@group(0) @binding(5) var<storage, read> anchors: array<f32>;
@group(0) @binding(6) var<storage, read> jacobians: array<f32>;

// Three arrays [K, 2, N]: of the jets' far pairs the largest ratio as rounded, and its anchor; the largest exact
// ratio of all jets. Ratios as their bits.
@group(0) @binding(7) var<storage, read_write> state: array<u32>;

const NONE: u32 = 0xffffffff;

// Pairs closer than this share of `|x|^2 + |x_i|^2` are computed from the difference itself: of the expanded
// distance four digits are left there, and nothing much closer.
const NEAR: f32 = 0.05;

//!include grid
//!include team
//!include difference

@compute @workgroup_size(256)
fn reset(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    let size = 2 * params.outputs * params.points;
    if index < size {
        state[index] = 0;
        state[size + index] = NONE;
        state[2 * size + index] = 0;
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
    let output = workgroup % params.outputs;
    let column = workgroup / params.outputs * 64 + local;
    if column >= params.width {
        return;
    }
    let point = params.point + column;
    let value = values[output * params.points + point];
    let norm = values[params.outputs * params.points + point];
    let size = 2 * params.outputs * params.points;
    let above = 2 * output * params.points + point;
    let below = above + params.points;
    var ratio_above = bitcast<f32>(state[above]);
    var ratio_below = bitcast<f32>(state[below]);
    var anchor_above = state[size + above];
    var anchor_below = state[size + below];
    var near = vec2(bitcast<f32>(state[2 * size + above]), bitcast<f32>(state[2 * size + below]));
    for (var i = 0u; i < params.anchors; i++) {
        let anchor = params.anchor + i;
        let term = anchor * (2 * params.outputs + 1);
        let norms = norm + terms[term + params.outputs];
        let squared = max(norms - 2.0 * cross[i * params.width + column], 0.0);
        if squared > NEAR * norms {
            let slope = slopes[(i * params.outputs + output) * params.width + column];
            let ratio = 2.0 * (slope + (terms[term + output] - value)) / squared;
            if ratio > ratio_above {
                ratio_above = ratio;
                anchor_above = anchor;
            }
            if -ratio > ratio_below {
                ratio_below = -ratio;
                anchor_below = anchor;
            }
        } else {
            let ratio = exact(lane_difference(point, anchor, output, 0, 1), anchor, output, value);
            near = max(near, vec2(ratio, -ratio));
        }
    }
    state[above] = bitcast<u32>(ratio_above);
    state[below] = bitcast<u32>(ratio_below);
    state[size + above] = anchor_above;
    state[size + below] = anchor_below;
    state[2 * size + above] = bitcast<u32>(near.x);
    state[2 * size + below] = bitcast<u32>(near.y);
}

// The exact ratios of the far pairs that came out on top; then the next jets may come.
@compute @workgroup_size(256)
fn recompute(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = team_number(workgroup_number(group, groups), local);
    let lane = local % params.lanes;
    let row = index / params.points;
    let point = index % params.points;
    let output = row / 2;
    let size = 2 * params.outputs * params.points;
    var anchor = NONE;
    if index < size {
        anchor = state[size + index];
    }
    var sums = vec2(0.0);
    if anchor != NONE {
        sums = lane_difference(point, anchor, output, lane, params.lanes);
    }
    sums = team_sum(sums, local);
    if anchor != NONE && lane == 0 {
        let ratio = exact(sums, anchor, output, values[output * params.points + point]);
        let largest = bitcast<f32>(state[2 * size + index]);
        state[index] = 0;
        state[size + index] = NONE;
        state[2 * size + index] = bitcast<u32>(max(largest, select(ratio, -ratio, row % 2 == 1)));
    }
}

// All pairs from the difference itself, without products: for points of few elements.
@compute @workgroup_size(64)
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_number(group, groups);
    let output = workgroup % params.outputs;
    let point = workgroup / params.outputs * 64 + local;
    if point >= params.points {
        return;
    }
    let value = values[output * params.points + point];
    let above = 2 * (2 * params.outputs + output) * params.points + point;
    let below = above + params.points;
    var largest = vec2(bitcast<f32>(state[above]), bitcast<f32>(state[below]));
    for (var i = 0u; i < params.anchors; i++) {
        let ratio = exact(lane_difference(point, i, output, 0, 1), i, output, value);
        largest = max(largest, vec2(ratio, -ratio));
    }
    state[above] = bitcast<u32>(largest.x);
    state[below] = bitcast<u32>(largest.y);
}

// The ratio of a pair with this rise and squared distance, 0 for equal points.
fn exact(difference: vec2<f32>, anchor: u32, output: u32, value: f32) -> f32 {
    let of_anchor = terms[anchor * (2 * params.outputs + 1) + params.outputs + 1 + output];
    if difference.y > 0.0 {
        return 2.0 * ((of_anchor - value) + difference.x) / difference.y;
    }
    return 0.0;
}
