// Terms of products of truncated power series [terms, units]:
// y[t, u] = scale[u] a[t, u] + sum over the pairs (i, j) of t of a[i, u] b[j, u].

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of y.
    count: u32,
    units: u32,
    // Terms of a that are scaled; 0 where there is no scale.
    scaled: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
// The pairs of term t are number starts[t] to starts[t + 1] - 1.
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
var<immediate> params: Params;

//!include grid

// Neighbours are units of one term: they read neighbours of a and b.
@compute @workgroup_size(256)
fn series_product(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let term = index / params.units;
    let unit = index - term * params.units;
    var sum = 0.0;
    if term < params.scaled {
        sum = scale[unit] * a[index];
    }
    for (var i = starts[term]; i < starts[term + 1u]; i++) {
        let pair = pairs[i];
        sum += a[pair.x * params.units + unit] * b[pair.y * params.units + unit];
    }
    y[index] = sum;
}
