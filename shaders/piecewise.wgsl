// A piecewise affine function of each element by a table of pieces, or its slope.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of x and of y.
    count: u32,
    // Knots, one less than pieces.
    knots: u32,
    // 0: the value, 1: the slope, 2: the second derivative, which is 0.
    order: u32,
}

// A piece is value + slope (x - at), up to and with the knot above it.
struct Piece {
    knot: f32,
    at: f32,
    value: f32,
    slope: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> pieces: array<Piece>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<immediate> params: Params;

//!include grid

fn knot(i: u32) -> f32 {
    return pieces[i].knot;
}

//!include search

@compute @workgroup_size(256)
fn piecewise(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let u = x[index];
    let piece = pieces[piece_of(u)];
    if params.order == 0u {
        y[index] = piece.value + piece.slope * (u - piece.at);
    } else {
        y[index] = select(0.0, piece.slope, params.order == 1u);
    }
}
