// A step of descent of affine pieces `p_i . x - c_i`, slopes p_i [M, D] and conjugates c_i [M]: each workgroup moves one
// piece along the derivatives of the points x_n [N, D] that pull at it, each coefficient at a rate of its own (Adam).

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // Pieces that move.
    groups: u32,
    // D, the elements of a slope and of a point.
    dimension: u32,
    // How much of the means of derivatives, and of their squares, is kept.
    kept_mean: f32,
    kept_square: f32,
    rate: f32,
    // Added to the root of the mean square.
    least: f32,
}

var<immediate> params: Params;

// [N, D]
@group(0) @binding(0) var<storage, read> points: array<f32>;
// Of each group its piece, its first member and the one behind its last [groups, 3].
@group(0) @binding(1) var<storage, read> groups_of: array<u32>;
// The points of all groups, and their derivatives.
@group(0) @binding(2) var<storage, read> members: array<u32>;
@group(0) @binding(3) var<storage, read> derivatives: array<f32>;
// [M, D]
@group(0) @binding(4) var<storage, read_write> slopes: array<f32>;
// [M]
@group(0) @binding(5) var<storage, read_write> conjugates: array<f32>;
// Means of derivatives and of their squares [M, 2, D + 1].
@group(0) @binding(6) var<storage, read_write> moments: array<f32>;

//!include grid

@compute @workgroup_size(64)
fn descend(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let number = workgroup_number(group, groups);
    if number >= params.groups {
        return;
    }
    let piece = groups_of[3 * number];
    let first = groups_of[3 * number + 1];
    let end = groups_of[3 * number + 2];
    let width = params.dimension + 1;
    // Members are summed in their order, whatever else runs.
    for (var i = local; i < width; i += 64u) {
        var derivative = 0.0;
        for (var at = first; at < end; at++) {
            let pull = derivatives[at];
            if i < params.dimension {
                derivative += pull * points[members[at] * params.dimension + i];
            } else {
                derivative -= pull;
            }
        }
        let mean_at = piece * 2 * width + i;
        let square_at = mean_at + width;
        let mean = params.kept_mean * moments[mean_at] + (1 - params.kept_mean) * derivative;
        let square = params.kept_square * moments[square_at] + (1 - params.kept_square) * derivative * derivative;
        moments[mean_at] = mean;
        moments[square_at] = square;
        let step = params.rate * mean / (sqrt(square) + params.least);
        if i < params.dimension {
            slopes[piece * params.dimension + i] -= step;
        } else {
            conjugates[piece] -= step;
        }
    }
}
