// What the kernels over pairs of points and anchors start from: centred rows [R, D], squared norms [R], and each
// anchor's constant terms [M, 2 K + 1].

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // R, the points or anchors.
    rows: u32,
    // D, the elements of a row.
    dimension: u32,
    // K, the outputs; 0 for `norms` of rows without values.
    outputs: u32,
    // Invocations that share a sum: a power of two, at most 64, that follows from D alone.
    lanes: u32,
}

var<immediate> params: Params;

// `center`: the rows [R, D]. `norms` and `offsets`: the centred rows [R, D].
@group(0) @binding(0) var<storage, read> x: array<f32>;
// `center`: the high part of the center [D]. `norms`: values [R, K]. `offsets`: Jacobians [R, K, D].
@group(0) @binding(1) var<storage, read> y: array<f32>;
// `center`: its low part [D]. `offsets`: values [R, K].
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

//!include grid
//!include team

// Rows less the center [R, D].
@compute @workgroup_size(256)
fn center(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    if index < params.rows * params.dimension {
        let column = index % params.dimension;
        result[index] = (x[index] - y[column]) - z[column];
    }
}

// The transposed values and the squared norms below them [K + 1, R].
@compute @workgroup_size(256)
fn norms(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = team_number(workgroup_number(group, groups), local);
    let lane = local % params.lanes;
    var sum = 0.0;
    if row < params.rows {
        sum = lane_square(row, lane);
        for (var k = lane; k < params.outputs; k += params.lanes) {
            result[k * params.rows + row] = y[row * params.outputs + k];
        }
    }
    sum = team_sum(vec2(sum, 0.0), local).x;
    if row < params.rows && lane == 0 {
        result[params.outputs * params.rows + row] = sum;
    }
}

// For each anchor its offsets `v - J x` [K], its squared norm, and its values again [K].
@compute @workgroup_size(256)
fn offsets(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = team_number(workgroup_number(group, groups), local);
    let lane = local % params.lanes;
    let terms = 2 * params.outputs + 1;
    let row = index / terms;
    let term = index % terms;
    var sum = 0.0;
    if row < params.rows {
        if term < params.outputs {
            sum = lane_slope(row, term, lane);
        } else if term == params.outputs {
            sum = lane_square(row, lane);
        }
    }
    sum = team_sum(vec2(sum, 0.0), local).x;
    if row < params.rows && lane == 0 {
        if term < params.outputs {
            sum = z[row * params.outputs + term] - sum;
        } else if term > params.outputs {
            sum = z[row * params.outputs + term - params.outputs - 1];
        }
        result[index] = sum;
    }
}

// One lane's share of `|x|^2`.
fn lane_square(row: u32, lane: u32) -> f32 {
    let start = row * params.dimension;
    var sum = 0.0;
    var j = lane;
    while j < params.dimension {
        let end = min(j + BLOCK * params.lanes, params.dimension);
        var part = 0.0;
        for (; j < end; j += params.lanes) {
            let element = x[start + j];
            part = fma(element, element, part);
        }
        sum += part;
    }
    return sum;
}

// One lane's share of `J_k x`.
fn lane_slope(row: u32, output: u32, lane: u32) -> f32 {
    let start = row * params.dimension;
    let slope = (row * params.outputs + output) * params.dimension;
    var sum = 0.0;
    var j = lane;
    while j < params.dimension {
        let end = min(j + BLOCK * params.lanes, params.dimension);
        var part = 0.0;
        for (; j < end; j += params.lanes) {
            part = fma(y[slope + j], x[start + j], part);
        }
        sum += part;
    }
    return sum;
}
