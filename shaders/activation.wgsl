// y = the activation of x or its first or second derivative, elementwise.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of x and of y.
    count: u32,
    // The activation: number of the variant of `Activation`, in the order of declaration, from 0.
    kind: u32,
    // Order of the derivative: 0 (the value), 1 or 2.
    order: u32,
    // The activation's parameters in their order. An infinite limit is +-3.4028235e38.
    p: vec4<f32>,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> params: Params;

//!include grid
//!include activation

@compute @workgroup_size(256)
fn activate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index < params.count {
        y[index] = activation_value(params.kind, params.order, params.p, x[index]);
    }
}
