// What a device can do at most: chains of multiply-adds in registers, and a copy of memory.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // `multiply_add`: steps of each chain. `copy`: vectors of four.
    count: u32,
}

var<immediate> params: Params;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

//!include grid

// Eight chains of vectors, each 8 flops a step, in every invocation: 64 flops a step.
@compute @workgroup_size(256)
fn multiply_add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    let factor = x[0];
    let term = x[1];
    var a = vec4(f32(local));
    var b = a + term;
    var c = b + term;
    var d = c + term;
    var e = d + term;
    var f = e + term;
    var g = f + term;
    var h = g + term;
    for (var i = 0u; i < params.count; i++) {
        a = fma(a, factor, term);
        b = fma(b, factor, term);
        c = fma(c, factor, term);
        d = fma(d, factor, term);
        e = fma(e, factor, term);
        f = fma(f, factor, term);
        g = fma(g, factor, term);
        h = fma(h, factor, term);
    }
    y[index] = ((a + b) + (c + d)) + ((e + f) + (g + h));
}

@compute @workgroup_size(256)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index < params.count {
        y[index] = x[index];
    }
}
