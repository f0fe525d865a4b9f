// Elements of the middle axis of [outer, length, inner] by index, and the transpose, which adds them back.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of the result.
    count: u32,
    // Elements of the axis that is picked from.
    length: u32,
    // Indices.
    picks: u32,
    // Elements between neighbours on the axis.
    inner: u32,
}

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> picked: array<f32>;
// The picks of element i are number items[starts[i]] to items[starts[i + 1] - 1], ascending.
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read> items: array<u32>;
@group(0) @binding(3) var<storage, read_write> added: array<f32>;
var<immediate> params: Params;

//!include grid

// x [outer, length, inner] -> [outer, picks, inner].
@compute @workgroup_size(256)
fn select(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let line = index / params.inner;
    let outer = line / params.picks;
    let pick = indices[line - outer * params.picks];
    picked[index] = source[(outer * params.length + pick) * params.inner + (index - line * params.inner)];
}

// y [outer, picks, inner] -> [outer, length, inner].
@compute @workgroup_size(256)
fn select_transposed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let line = index / params.inner;
    let outer = line / params.length;
    let element = line - outer * params.length;
    let start = outer * params.picks * params.inner + (index - line * params.inner);
    var sum = 0.0;
    for (var i = starts[element]; i < starts[element + 1u]; i++) {
        sum += source[start + items[i] * params.inner];
    }
    added[index] = sum;
}
