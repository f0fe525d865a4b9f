// gram [row + i, column + j] += sum over groups g and positions p, q of
//     (x_left[i, g, p] . y_left[j, g, q] + constant) (x_right[i, g, p] . y_right[j, g, q])
//
// Row i of a factor begins at i / shared times its groups, positions and depth. Without left factors their products are
// 1. Pipeline constant: side, 64 or 32.

struct Params {
    // Number of the first workgroup of this call.
    first: u32,
    // Rows of x and of y.
    rows: u32,
    columns: u32,
    // Elements of a row of the matrix, and where the first product goes.
    row_length: u32,
    row: u32,
    column: u32,
    groups: u32,
    positions: u32,
    left_depth: u32,
    right_depth: u32,
    // Rows of the matrix that share a row of a factor.
    left_shared: u32,
    right_shared: u32,
    // 1 if there are left factors.
    has_left: u32,
    // 1 if what lies below the diagonal is left out.
    upper: u32,
    constant: f32,
    padding: u32,
}

var<immediate> params: Params;

@group(0) @binding(0) var<storage, read> x_left: array<f32>;
@group(0) @binding(1) var<storage, read> x_right: array<f32>;
@group(0) @binding(2) var<storage, read> y_left: array<f32>;
@group(0) @binding(3) var<storage, read> y_right: array<f32>;
@group(0) @binding(4) var<storage, read_write> gram: array<f32>;

//!include grid
//!include product

// Whether the left factors are multiplied, the depth, and where the rows and columns that this invocation loads begin.
var<private> of_left: bool;
var<private> depth: u32;
var<private> x_at: vec4<u32>;
var<private> y_at: vec4<u32>;

// The product of the left factors, and the sum over groups and positions.
var<private> factor_0: vec4<f32>;
var<private> factor_2: vec4<f32>;
var<private> factor_4: vec4<f32>;
var<private> factor_6: vec4<f32>;
var<private> total_0: vec4<f32>;
var<private> total_2: vec4<f32>;
var<private> total_4: vec4<f32>;
var<private> total_6: vec4<f32>;

fn load_left(k: u32) -> vec4<f32> {
    let at = x_at + min(k, depth - 1u);
    if (of_left) {
        return vec4(x_left[at.x], x_left[at.y], x_left[at.z], x_left[at.w]);
    }
    return vec4(x_right[at.x], x_right[at.y], x_right[at.z], x_right[at.w]);
}

fn load_right(k: u32) -> vec4<f32> {
    let at = y_at + min(k, depth - 1u);
    var values: vec4<f32>;
    if (of_left) {
        values = vec4(y_left[at.x], y_left[at.y], y_left[at.z], y_left[at.w]);
    } else {
        values = vec4(y_right[at.x], y_right[at.y], y_right[at.z], y_right[at.w]);
    }
    return select(vec4(0.0), values, k < depth);
}

fn place(column: u32) -> u32 {
    return select(OUTSIDE, column, column < params.columns);
}

fn store_one(row: u32, at: u32, value: f32) {
    if (at != OUTSIDE) {
        gram[(params.row + row) * params.row_length + params.column + at] += value;
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

// The product of one pair of factors, at a block of each.
fn multiply(left: bool, rows: vec4<u32>, columns: vec4<u32>, x_block: u32, y_block: u32, local: u32) {
    of_left = left;
    depth = select(params.right_depth, params.left_depth, left);
    let shared_by = select(params.right_shared, params.left_shared, left);
    let stride = params.groups * params.positions * depth;
    x_at = rows / shared_by * stride + x_block * depth;
    y_at = columns / shared_by * stride + y_block * depth;
    sum_0 = vec4(0.0);
    sum_2 = vec4(0.0);
    sum_4 = vec4(0.0);
    sum_6 = vec4(0.0);
    // Everybody has read the tiles of the product before.
    workgroupBarrier();
    product(depth, local);
}

@compute @workgroup_size(256)
fn gram_tile(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    let down = tiles(params.rows);
    let across = tiles(params.columns);
    if (number >= down * across) {
        return;
    }
    let corner = tile_of(number, down, across);
    if (params.upper != 0u && corner.y + side <= corner.x) {
        return;
    }
    left_place = along_depth(local);
    right_place = along_depth(local);
    // Rows and columns past the end compute what is not stored.
    let rows = min(vec4(corner.x + 4u * left_place.x) + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1u));
    let own = corner.y + slot_column(right_place.x);
    let columns = min(vec4(own) + vec4(0u, 8u, 16u, 24u), vec4(params.columns - 1u));
    for (var x_block = 0u; x_block < params.groups * params.positions; x_block++) {
        let first = x_block / params.positions * params.positions;
        for (var position = 0u; position < params.positions; position++) {
            factor_0 = vec4(1.0);
            factor_2 = vec4(1.0);
            factor_4 = vec4(1.0);
            factor_6 = vec4(1.0);
            if (params.has_left != 0u) {
                multiply(true, rows, columns, x_block, first + position, local);
                factor_0 = sum_0 + params.constant;
                factor_2 = sum_2 + params.constant;
                factor_4 = sum_4 + params.constant;
                factor_6 = sum_6 + params.constant;
            }
            multiply(false, rows, columns, x_block, first + position, local);
            total_0 += factor_0 * sum_0;
            total_2 += factor_2 * sum_2;
            total_4 += factor_4 * sum_4;
            total_6 += factor_6 * sum_6;
        }
    }
    sum_0 = total_0;
    sum_2 = total_2;
    sum_4 = total_4;
    sum_6 = total_6;
    finish(corner);
}
