// y [B.., m, n] = a [B.., m, k] @ b [B.., k, n]; either may lie transposed, and B broadcasts.
//
// Pipeline constant: side.

struct Params {
    // Number of the first workgroup of this call.
    first: u32,
    // Rows and columns of a matrix of y.
    m: u32,
    n: u32,
    // The inner dimension.
    k: u32,
    // 1 if a lies as [B.., k, m].
    a_transposed: u32,
    // 1 if b lies as [B.., n, k].
    b_transposed: u32,
    // Matrices of y.
    matrices: u32,
    padding: u32,
    // Lengths of up to four leading axes of y, with 1 in front of fewer.
    lengths: vec4<u32>,
    // How many matrices on a step along such an axis goes in a and in b; 0 where one broadcasts.
    a_strides: vec4<u32>,
    b_strides: vec4<u32>,
}

var<immediate> params: Params;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

//!include grid
//!include product

// Where the rows and columns that this invocation loads begin, and the distance of neighbours in k.
var<private> a_at: vec4<u32>;
var<private> b_at: vec4<u32>;
var<private> a_stride: u32;
var<private> b_stride: u32;
// Where this matrix of y begins.
var<private> y_at: u32;

fn load_left(k: u32) -> vec4<f32> {
    let at = a_at + min(k, params.k - 1u) * a_stride;
    return vec4(a[at.x], a[at.y], a[at.z], a[at.w]);
}

fn load_right(k: u32) -> vec4<f32> {
    let at = b_at + min(k, params.k - 1u) * b_stride;
    return select(vec4(0.0), vec4(b[at.x], b[at.y], b[at.z], b[at.w]), k < params.k);
}

fn place(column: u32) -> u32 {
    return select(OUTSIDE, column, column < params.n);
}

fn store_one(row: u32, at: u32, value: f32) {
    if (at != OUTSIDE) {
        y[y_at + row * params.n + at] = value;
    }
}

fn store(row: u32, places: vec4<u32>, values: vec4<f32>) {
    if (row < params.m) {
        store_one(row, places.x, values.x);
        store_one(row, places.y, values.y);
        store_one(row, places.z, values.z);
        store_one(row, places.w, values.w);
    }
}

@compute @workgroup_size(256)
fn multiply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let down = tiles(params.m);
    let across = tiles(params.n);
    let matrix = number / (down * across);
    if (matrix >= params.matrices) {
        return;
    }
    let corner = tile_of(number % (down * across), down, across);

    var rest = vec4(matrix);
    rest.z = rest.w / params.lengths.w;
    rest.y = rest.z / params.lengths.z;
    rest.x = rest.y / params.lengths.y;
    let position = rest % params.lengths;
    let a_first = dot(position, params.a_strides) * params.m * params.k;
    let b_first = dot(position, params.b_strides) * params.n * params.k;
    y_at = matrix * params.m * params.n;

    let a_flips = params.a_transposed != 0u;
    let b_flips = params.b_transposed != 0u;
    left_place = select(along_depth(local), along_side(local), a_flips);
    right_place = select(along_side(local), along_depth(local), b_flips);
    // Rows and columns past the end compute what is not stored.
    let rows = min(vec4(corner.x + 4u * left_place.x) + vec4(0u, 1u, 2u, 3u), vec4(params.m - 1u));
    let columns = min(vec4(corner.y + slot_column(right_place.x)) + vec4(0u, 8u, 16u, 24u), vec4(params.n - 1u));
    a_at = a_first + rows * select(params.k, 1u, a_flips);
    b_at = b_first + columns * select(1u, params.k, b_flips);
    a_stride = select(1u, params.m, a_flips);
    b_stride = select(params.n, 1u, b_flips);
    product(params.k, local);
    finish(corner);
}
