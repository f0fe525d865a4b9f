// Sums over any axes: x with at most 4 kept and 4 reduced axes -> y over the kept ones.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of y.
    count: u32,
    // Elements that make one sum.
    length: u32,
    // Below, axes come fastest first; lengths of those that are not there are 1.
    kept_lengths: vec4<u32>,
    // Strides in x.
    kept_strides: vec4<u32>,
    reduced_lengths: vec4<u32>,
    // Strides in x.
    reduced_strides: vec4<u32>,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> params: Params;

//!include grid

// Quads that are added up before they join the total: many small sums lose fewer digits than a long one.
const BLOCK: u32 = 16u;

var<workgroup> partials: array<f32, 256>;

// Indices along the axes; the slowest takes what is left.
fn indices(number: u32, lengths: vec4<u32>) -> vec4<u32> {
    let outer = number / lengths.x;
    let outermost = outer / lengths.y;
    let last = outermost / lengths.z;
    return vec4(number - outer * lengths.x, outer - outermost * lengths.y, outermost - last * lengths.z, last);
}

// The element of x there, and a step forward, without a division.
fn take(at: ptr<function, vec4<u32>>, start: u32, step: vec4<u32>) -> f32 {
    let value = x[start + dot(*at, params.reduced_strides)];
    let lengths = params.reduced_lengths;
    var next = *at + step;
    if next.x >= lengths.x {
        next.x -= lengths.x;
        next.y += 1u;
    }
    if next.y >= lengths.y {
        next.y -= lengths.y;
        next.z += 1u;
    }
    if next.z >= lengths.z {
        next.z -= lengths.z;
        next.w += 1u;
    }
    *at = next;
    return value;
}

// The sum of every `stride`-th of the elements that make sum `number`, from `first` on.
fn partial_sum(number: u32, first: u32, stride: u32) -> f32 {
    let start = dot(indices(number, params.kept_lengths), params.kept_strides);
    let step = indices(stride, params.reduced_lengths);
    var at = indices(first, params.reduced_lengths);
    var left = select(0u, (params.length - first + stride - 1u) / stride, first < params.length);
    var total = vec4(0.0);
    while left >= 4u {
        let quads = min(left / 4u, BLOCK);
        var block = vec4(0.0);
        for (var quad = 0u; quad < quads; quad++) {
            let a = take(&at, start, step);
            let b = take(&at, start, step);
            let c = take(&at, start, step);
            let d = take(&at, start, step);
            block += vec4(a, b, c, d);
        }
        total += block;
        left -= quads * 4u;
    }
    var rest = 0.0;
    for (; left > 0u; left--) {
        rest += take(&at, start, step);
    }
    return (total.x + total.y) + (total.z + total.w) + rest;
}

// One invocation for each sum.
@compute @workgroup_size(256)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups) * 256u + local;
    if number < params.count {
        y[number] = partial_sum(number, 0u, 1u);
    }
}

// One workgroup for each sum.
@compute @workgroup_size(256)
fn sum_long(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    if number >= params.count {
        return;
    }
    partials[local] = partial_sum(number, local, 256u);
    for (var half = 128u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            partials[local] += partials[local + half];
        }
    }
    if local == 0u {
        y[number] = partials[0];
    }
}
