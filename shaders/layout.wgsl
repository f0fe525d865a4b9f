// Moves elements: permutes, pads and cuts at most 8 axes, transposes matrices [batch, rows, columns], joins parts.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of the result; copy: of the part.
    count: u32,
    // Permute, pad: axes, at least 1. Axis 0 below is the last of the result, which is the fastest.
    rank: u32,
    // Pad: what is put at the ends.
    value: f32,
    // Transpose: rows of a matrix.
    rows: u32,
    // Transpose: columns of a matrix. Copy: elements of a row of the part.
    columns: u32,
    // Copy: elements of a row of the whole.
    total: u32,
    // Copy: where the part begins in a row of the whole.
    offset: u32,
    // Permute, pad: lengths of the axes of the result, 0 to 3 and 4 to 7.
    lengths_low: vec4<u32>,
    lengths_high: vec4<u32>,
    // Permute: strides of x along the axes of the result. Pad: lengths of the axes of x.
    source_low: vec4<u32>,
    source_high: vec4<u32>,
    // Pad: elements put before, as i32; negative ones are cut.
    before_low: vec4<u32>,
    before_high: vec4<u32>,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> params: Params;

//!include grid

const TILE: u32 = 32u;

// One column more than a tile has, so that neither rows nor columns share a bank of memory.
var<workgroup> tile: array<f32, 1056>;

fn of_axis(low: vec4<u32>, high: vec4<u32>, axis: u32) -> u32 {
    return select(low[axis & 3u], high[axis & 3u], axis > 3u);
}

// Axis `axis` of the result walks x with its own stride.
@compute @workgroup_size(256)
fn permute(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    // The slowest axis comes last and takes what is left.
    let slowest = params.rank - 1u;
    var rest = index;
    var at = 0u;
    for (var axis = 0u; axis < slowest; axis++) {
        let length = of_axis(params.lengths_low, params.lengths_high, axis);
        let outer = rest / length;
        at += (rest - outer * length) * of_axis(params.source_low, params.source_high, axis);
        rest = outer;
    }
    at += rest * of_axis(params.source_low, params.source_high, slowest);
    y[index] = x[at];
}

@compute @workgroup_size(256)
fn pad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let slowest = params.rank - 1u;
    var rest = index;
    var at = 0u;
    var stride = 1u;
    var inside = true;
    for (var axis = 0u; axis <= slowest; axis++) {
        var position = rest;
        if axis < slowest {
            let length = of_axis(params.lengths_low, params.lengths_high, axis);
            rest /= length;
            position -= rest * length;
        }
        // Before the beginning this wraps around, past any length.
        position -= of_axis(params.before_low, params.before_high, axis);
        let length = of_axis(params.source_low, params.source_high, axis);
        inside &= position < length;
        at += position * stride;
        stride *= length;
    }
    var value = params.value;
    if inside {
        value = x[at];
    }
    y[index] = value;
}

// x [rows, columns] into columns offset.. of y [rows, total].
@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let row = index / params.columns;
    y[row * params.total + params.offset + (index - row * params.columns)] = x[index];
}

// x [batch, rows, columns] -> y [batch, columns, rows], a tile for each workgroup.
@compute @workgroup_size(256)
fn transpose(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let across = (params.columns + TILE - 1u) / TILE;
    let down = (params.rows + TILE - 1u) / TILE;
    let line = number / across;
    let batch = line / down;
    let matrix = batch * params.rows * params.columns;
    if matrix >= params.count {
        return;
    }
    let top = (line - batch * down) * TILE;
    let left = (number - line * across) * TILE;
    let fast = local % TILE;
    for (var slow = local / TILE; slow < TILE; slow += 8u) {
        if top + slow < params.rows && left + fast < params.columns {
            tile[slow * (TILE + 1u) + fast] = x[matrix + (top + slow) * params.columns + left + fast];
        }
    }
    workgroupBarrier();
    for (var slow = local / TILE; slow < TILE; slow += 8u) {
        if left + slow < params.columns && top + fast < params.rows {
            y[matrix + (left + slow) * params.rows + top + fast] = tile[fast * (TILE + 1u) + slow];
        }
    }
}
