// z = a op b, elementwise with broadcasting, over at most 8 axes.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of z.
    count: u32,
    // 0 add, 1 subtract, 2 multiply, 3 divide, 4 minimum, 5 maximum, 6 one where a >= b, else zero.
    operation: u32,
    // Axes, at least 1. Axis 0 below is the last of the tensors, which is the fastest.
    rank: u32,
    // Lengths of axes 0 to 3 and 4 to 7.
    lengths_low: vec4<u32>,
    lengths_high: vec4<u32>,
    // Strides of a; 0 where it is broadcast.
    strides_a_low: vec4<u32>,
    strides_a_high: vec4<u32>,
    // Strides of b; 0 where it is broadcast.
    strides_b_low: vec4<u32>,
    strides_b_high: vec4<u32>,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;
var<immediate> params: Params;

//!include grid

fn of_axis(low: vec4<u32>, high: vec4<u32>, axis: u32) -> u32 {
    return select(low[axis & 3u], high[axis & 3u], axis > 3u);
}

fn apply(a: f32, b: f32) -> f32 {
    switch params.operation {
        case 0u: { return a + b; }
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return a / b; }
        case 4u: { return select(b, a, a <= b); }
        case 5u: { return select(b, a, a >= b); }
        default: { return select(0.0, 1.0, a >= b); }
    }
}

@compute @workgroup_size(256)
fn arithmetic(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    // The slowest axis comes last and takes what is left, so a single axis needs no division.
    let slowest = params.rank - 1u;
    var rest = index;
    var at_a = 0u;
    var at_b = 0u;
    for (var axis = 0u; axis < slowest; axis++) {
        let length = of_axis(params.lengths_low, params.lengths_high, axis);
        let outer = rest / length;
        let position = rest - outer * length;
        at_a += position * of_axis(params.strides_a_low, params.strides_a_high, axis);
        at_b += position * of_axis(params.strides_b_low, params.strides_b_high, axis);
        rest = outer;
    }
    at_a += rest * of_axis(params.strides_a_low, params.strides_a_high, slowest);
    at_b += rest * of_axis(params.strides_b_low, params.strides_b_high, slowest);
    z[index] = apply(a[at_a], b[at_b]);
}
