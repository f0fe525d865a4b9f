// Convolution of x [N, groups * inputs, height, width] or its transpose, as products of filters and patches, to
// y [N, groups * outputs, y_height, y_width], and the epilogue.
//
// For each group the rows of the product are output channels, its columns the positions (sample, row, column) of a
// grid, and k runs over taps: an input channel and a displacement. Position g of an axis sees x at g * step +
// displacement and is stored at origin + g * stride. A convolution is one job: step is the window's stride,
// displacements are element * dilation - pad, origin 0, stride 1. Its transpose is one job for each residue of the
// strides: step 1, origin the residue, stride the window's stride, and displacements (residue + pad - element *
// dilation) / stride of the elements for which this is whole. x may have a gate, the same for `repeats` directions.
//
// Filters lie as [groups, depth up to a multiple of 32, slots] vectors of four output channels, taps as
// [depth up to a multiple of 32] pairs (input channel, row * 65536 + column); pads are filters 0 and taps
// (0, -2^31), which are outside everywhere. Pipeline constants: side, gated, slots.

override gated: bool = false;

// Vectors of output channels that an invocation of `narrow` has: at least those of a group; 1, 2, 4 or 8.
override slots: u32 = 8u;

struct Params {
    // Number of the first workgroup of this call.
    first: u32,
    samples: u32,
    groups: u32,
    // Output and input channels of a group.
    outputs: u32,
    inputs: u32,
    // Number of taps.
    depth: u32,
    // Size of x.
    height: u32,
    width: u32,
    // Size of the grid.
    grid_height: u32,
    grid_width: u32,
    // Distance of what neighbouring positions see.
    step_y: u32,
    step_x: u32,
    // Where the grid is in y.
    origin_y: u32,
    origin_x: u32,
    stride_y: u32,
    stride_x: u32,
    y_height: u32,
    y_width: u32,
    // Directions that share the gate of a sample.
    repeats: u32,
    // Where this job's filters (in vectors) and taps (in pairs) begin.
    first_filter: u32,
    first_tap: u32,
    // 1 if there is a bias.
    biased: u32,
    // The activation, 0xffffffff for none.
    activation: u32,
    padding: u32,
    // Its parameters.
    p: vec4<f32>,
}

var<immediate> params: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read> filters: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> taps: array<vec2<i32>>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

//!include grid
//!include epilogue
//!include product

// Rows and columns are kept in one number, row * 65536 + column, both below 2^15 in magnitude: one addition moves both,
// and these bits of the number and of its distance from the last element say whether either is outside.
const SIGNS: i32 = -2147450880;

// Where the vectors of filters that this invocation loads begin, and how far the next k is.
var<private> filter_at: u32;
var<private> filter_stride: u32;
// Where its four positions see x without a displacement, how much less that is in the gate, and their rows and columns.
var<private> x_at: vec4<u32>;
var<private> gate_behind: vec4<u32>;
var<private> seen: vec4<i32>;
// The first output channel of this group.
var<private> y_channel: u32;

struct Position {
    sample: u32,
    row: u32,
    column: u32,
}

fn position(number: u32) -> Position {
    let line = number / params.grid_width;
    let sample = line / params.grid_height;
    return Position(sample, line - sample * params.grid_height, number - line * params.grid_width);
}

fn positions() -> u32 {
    return params.samples * params.grid_height * params.grid_width;
}

fn padded_depth() -> u32 {
    return (params.depth + 31u) / 32u * 32u;
}

// What a position sees without a displacement: its index in x, how much less it is in the gate, row and column.
struct Sight {
    at: u32,
    behind: u32,
    seen: i32,
}

fn sight(number: u32, group: u32) -> Sight {
    // Positions past the end compute what is not stored.
    let here = position(min(number, positions() - 1u));
    let row = here.row * params.step_y;
    let column = here.column * params.step_x;
    let channels = params.groups * params.inputs;
    let plane = here.sample * channels + group * params.inputs;
    var behind = 0u;
    if (gated) {
        behind = (here.sample - here.sample / params.repeats) * channels * params.height * params.width;
    }
    return Sight((plane * params.height + row) * params.width + column, behind, i32(row * 65536u + column));
}

// How far a tap is in x.
fn distance_of(tap: vec2<i32>) -> u32 {
    let column = (tap.y << 16u) >> 16u;
    let row = (tap.y - column) >> 16u;
    return u32((tap.x * i32(params.height) + row) * i32(params.width) + column);
}

// The row and column of the last element of x.
fn last() -> i32 {
    return i32((params.height - 1u) * 65536u + params.width - 1u);
}

fn load_left(k: u32) -> vec4<f32> {
    return filters[filter_at + k * filter_stride];
}

fn load_right(k: u32) -> vec4<f32> {
    let tap = taps[params.first_tap + k];
    let moved = seen + tap.y;
    let inside = ((moved | (last() - moved)) & vec4(SIGNS)) == vec4(0i);
    // Nothing outside x is read.
    let at = select(vec4(0u), x_at + distance_of(tap), inside);
    var values = vec4(x[at.x], x[at.y], x[at.z], x[at.w]);
    if (gated) {
        let factors = select(vec4(0u), at - gate_behind, inside);
        values *= vec4(gate[factors.x], gate[factors.y], gate[factors.z], gate[factors.w]);
    }
    return select(vec4(0.0), values, inside);
}

// Where the first channel of this group is stored at a position.
fn place(column: u32) -> u32 {
    if (column >= positions()) {
        return OUTSIDE;
    }
    let here = position(column);
    let plane = here.sample * params.groups * params.outputs + y_channel;
    let row = params.origin_y + here.row * params.stride_y;
    return (plane * params.y_height + row) * params.y_width + params.origin_x + here.column * params.stride_x;
}

fn store_one(row: u32, at: u32, sum: f32) {
    if (row < params.outputs && at != OUTSIDE) {
        var value = sum;
        if (params.biased != 0u) {
            value += bias[y_channel + row];
        }
        y[at + row * params.y_height * params.y_width] = activated(params.activation, params.p, value);
    }
}

fn store(row: u32, places: vec4<u32>, values: vec4<f32>) {
    store_one(row, places.x, values.x);
    store_one(row, places.y, values.y);
    store_one(row, places.z, values.z);
    store_one(row, places.w, values.w);
}

// For groups of more than 32 output channels: a tile of channels and positions per workgroup.
@compute @workgroup_size(256)
fn convolution(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let down = tiles(params.outputs);
    let row = number % down * side;
    let channels = number / down % params.groups;
    let column = number / down / params.groups * side;
    if (column >= positions()) {
        return;
    }
    left_place = along_side(local);
    right_place = along_side(local);
    filter_stride = (params.outputs + 3u) / 4u;
    filter_at = params.first_filter + channels * padded_depth() * filter_stride
        + min(row / 4u + left_place.x, filter_stride - 1u);
    let begin = column + slot_column(right_place.x);
    let sight_0 = sight(begin, channels);
    let sight_1 = sight(begin + 8u, channels);
    let sight_2 = sight(begin + 16u, channels);
    let sight_3 = sight(begin + 24u, channels);
    x_at = vec4(sight_0.at, sight_1.at, sight_2.at, sight_3.at);
    gate_behind = vec4(sight_0.behind, sight_1.behind, sight_2.behind, sight_3.behind);
    seen = vec4(sight_0.seen, sight_1.seen, sight_2.seen, sight_3.seen);
    y_channel = channels * params.outputs;
    product(params.depth, local);
    finish(vec2(row, column));
}

// For groups of up to 32 output channels: all of them at one position per invocation, in the same order of summation.
@compute @workgroup_size(256)
fn narrow(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let channels = number % params.groups;
    let column = number / params.groups * 256u + local;
    if (column >= positions()) {
        return;
    }
    let own = sight(column, channels);
    let stride = (params.outputs + 3u) / 4u;
    var at = params.first_filter + channels * padded_depth() * stride;
    let depth = (params.depth + 7u) / 8u * 8u;
    for (var k = 0u; k < depth; k += 4u) {
        // Four values of x are on their way at once.
        let values = vec4(
            narrow_load(own, k),
            narrow_load(own, k + 1u),
            narrow_load(own, k + 2u),
            narrow_load(own, k + 3u),
        );
        narrow_add(values.x, at, stride);
        narrow_add(values.y, at + stride, stride);
        narrow_add(values.z, at + 2u * stride, stride);
        narrow_add(values.w, at + 3u * stride, stride);
        at += 4u * stride;
    }
    y_channel = channels * params.outputs;
    let here = place(column);
    narrow_store(0u, here, sum_0);
    if (slots > 1u) {
        narrow_store(4u, here, sum_1);
    }
    if (slots > 2u) {
        narrow_store(8u, here, sum_2);
        narrow_store(12u, here, sum_3);
    }
    if (slots > 4u) {
        narrow_store(16u, here, sum_4);
        narrow_store(20u, here, sum_5);
        narrow_store(24u, here, sum_6);
        narrow_store(28u, here, sum_7);
    }
}

fn narrow_load(own: Sight, k: u32) -> f32 {
    let tap = taps[params.first_tap + k];
    let moved = own.seen + tap.y;
    let inside = ((moved | (last() - moved)) & SIGNS) == 0i;
    let at = select(0u, own.at + distance_of(tap), inside);
    var value = x[at];
    if (gated) {
        value *= gate[select(0u, at - own.behind, inside)];
    }
    return select(0.0, value, inside);
}

// Adds a value's products with the filters of all output channels. Slots past the last one repeat it.
fn narrow_add(value: f32, at: u32, stride: u32) {
    let end = stride - 1u;
    sum_0 = fma(filters[at], vec4(value), sum_0);
    if (slots > 1u) {
        sum_1 = fma(filters[at + min(1u, end)], vec4(value), sum_1);
    }
    if (slots > 2u) {
        sum_2 = fma(filters[at + min(2u, end)], vec4(value), sum_2);
        sum_3 = fma(filters[at + min(3u, end)], vec4(value), sum_3);
    }
    if (slots > 4u) {
        sum_4 = fma(filters[at + min(4u, end)], vec4(value), sum_4);
        sum_5 = fma(filters[at + min(5u, end)], vec4(value), sum_5);
        sum_6 = fma(filters[at + min(6u, end)], vec4(value), sum_6);
        sum_7 = fma(filters[at + min(7u, end)], vec4(value), sum_7);
    }
}

fn narrow_store(row: u32, at: u32, values: vec4<f32>) {
    store_one(row, at, values.x);
    store_one(row + 1u, at, values.y);
    store_one(row + 2u, at, values.z);
    store_one(row + 3u, at, values.w);
}
