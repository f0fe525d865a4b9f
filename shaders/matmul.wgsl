// y [rows, row_length] = epilogue((x [rows, k] * gate) @ matrix [k, n]), the columns first_column .. first_column + n.
//
// The matrix lies in rows of `slots` vectors, and has rows of zeros up to a multiple of 32. Column c of it is
// component c % 32 / 8 of vector c / 32 * 8 + c % 8; n is padded to a multiple of 32. Pipeline constants: side, gated.

override gated: bool = false;

struct Params {
    // Number of the first workgroup of this call.
    first: u32,
    // Rows of x and y.
    rows: u32,
    // Elements of a row of x.
    k: u32,
    // Columns of this matrix.
    n: u32,
    // Vectors in a row of the matrix.
    slots: u32,
    // The column of y that the matrix begins with.
    first_column: u32,
    // Elements of a row of y and of the bias.
    row_length: u32,
    // Directions that share the gate of a sample.
    repeats: u32,
    // Rows that one direction of a sample has.
    inner: u32,
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
@group(0) @binding(2) var<storage, read> matrix: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

//!include grid
//!include epilogue
//!include product

// Where the rows that this invocation loads begin in x and in the gate, and its vector in a row of the matrix.
var<private> x_at: vec4<u32>;
var<private> gate_at: vec4<u32>;
var<private> matrix_at: u32;

fn load_left(k: u32) -> vec4<f32> {
    let at = x_at + min(k, params.k - 1u);
    let values = vec4(x[at.x], x[at.y], x[at.z], x[at.w]);
    if (!gated) {
        return values;
    }
    let at_gate = gate_at + min(k, params.k - 1u);
    return values * vec4(gate[at_gate.x], gate[at_gate.y], gate[at_gate.z], gate[at_gate.w]);
}

fn load_right(k: u32) -> vec4<f32> {
    return matrix[k * params.slots + matrix_at];
}

fn place(column: u32) -> u32 {
    return select(OUTSIDE, params.first_column + column, column < params.n);
}

fn store_one(row: u32, at: u32, sum: f32) {
    if (at != OUTSIDE) {
        var value = sum;
        if (params.biased != 0u) {
            value += bias[at];
        }
        y[row * params.row_length + at] = activated(params.activation, params.p, value);
    }
}

fn store(row: u32, places: vec4<u32>, values: vec4<f32>) {
    if (row < params.rows) {
        store_one(row, places.x, values.x);
        store_one(row, places.y, values.y);
        store_one(row, places.z, values.z);
        store_one(row, places.w, values.w);
    }
}

@compute @workgroup_size(256)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let down = tiles(params.rows);
    let across = tiles(params.n);
    if (number >= down * across) {
        return;
    }
    let corner = tile_of(number, down, across);
    left_place = along_depth(local);
    right_place = along_side(local);
    // Rows and columns past the end compute what is not stored.
    let rows = min(vec4(corner.x + 4u * left_place.x) + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1u));
    x_at = rows * params.k;
    if (gated) {
        gate_at = (rows / (params.repeats * params.inner) * params.inner + rows % params.inner) * params.k;
    }
    matrix_at = min(corner.y / 4u + right_place.x, params.slots - 1u);
    product(params.k, local);
    finish(corner);
}
