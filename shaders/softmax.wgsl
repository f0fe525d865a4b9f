// exp(x) / sum of exp(x) along the middle axis of [outer, length, inner], or the logarithm of it.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Softmaxes to compute: outer * inner.
    count: u32,
    // Elements of one softmax.
    length: u32,
    // Elements between neighbours in it.
    inner: u32,
    // 1 for the logarithm, else 0.
    log: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> params: Params;

//!include grid
//!include elementary

const LOWEST: f32 = -3.4028235e38;

// Terms that one invocation adds up before they join its sum: it loses fewer digits so.
const BLOCK: u32 = 32u;

var<workgroup> shared_values: array<f32, 256>;

// Where softmax `number` begins.
fn start_of(number: u32) -> u32 {
    let outer = number / params.inner;
    return outer * params.length * params.inner + (number - outer * params.inner);
}

// The largest of every `step`-th element from `first` on.
fn largest_of(start: u32, first: u32, step: u32) -> f32 {
    var largest = LOWEST;
    for (var i = first; i < params.length; i += step) {
        largest = max(largest, x[start + i * params.inner]);
    }
    return largest;
}

// The sum of exp(x - largest) over the same elements.
fn sum_of(start: u32, first: u32, step: u32, largest: f32) -> f32 {
    var sum = 0.0;
    for (var block = first; block < params.length; block += BLOCK * step) {
        let end = min(block + BLOCK * step, params.length);
        var part = 0.0;
        for (var i = block; i < end; i += step) {
            part += exponential(x[start + i * params.inner] - largest);
        }
        sum += part;
    }
    return sum;
}

fn write(start: u32, first: u32, step: u32, largest: f32, sum: f32) {
    var shift = 0.0;
    if params.log != 0u {
        shift = logarithm(sum);
    }
    for (var i = first; i < params.length; i += step) {
        let at = start + i * params.inner;
        let shifted = x[at] - largest;
        if params.log != 0u {
            y[at] = shifted - shift;
        } else {
            y[at] = exponential(shifted) / sum;
        }
    }
}

// One invocation for each softmax.
@compute @workgroup_size(256)
fn softmax_short(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups) * 256u + local;
    if number >= params.count {
        return;
    }
    let start = start_of(number);
    let largest = largest_of(start, 0u, 1u);
    write(start, 0u, 1u, largest, sum_of(start, 0u, 1u, largest));
}

// One workgroup for each softmax.
@compute @workgroup_size(256)
fn softmax(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    if number >= params.count {
        return;
    }
    let start = start_of(number);
    shared_values[local] = largest_of(start, local, 256u);
    for (var half = 128u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            shared_values[local] = max(shared_values[local], shared_values[local + half]);
        }
    }
    workgroupBarrier();
    let largest = shared_values[0];
    workgroupBarrier();
    shared_values[local] = sum_of(start, local, 256u, largest);
    for (var half = 128u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half {
            shared_values[local] += shared_values[local + half];
        }
    }
    workgroupBarrier();
    write(start, local, 256u, largest, shared_values[0]);
}
