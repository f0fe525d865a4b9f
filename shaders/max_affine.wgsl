// At each of points x_n [N, D] the largest of affine pieces, `p_i . x_n - c_i` over slopes p_i [M, D] with conjugates
// c_i [M], and the first i that attains it; or the best few of them, in order. A piece with the largest number as its
// conjugate is not there.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // N, the points.
    points: u32,
    // D, the elements of a slope and of a point.
    dimension: u32,
    // M, the pieces.
    pieces: u32,
    // T, how many of the best pieces each point has.
    top: u32,
    // `recompute`: invocations that share a sum, a power of two, at most 64, that follows from D alone.
    lanes: u32,
    // `fold`, `fold_top`: the block's first point.
    point: u32,
    // `fold`, `fold_top`: the block's points, the width of its products.
    width: u32,
    // `fold`, `fold_top`: the block's first piece.
    piece: u32,
    // `fold`, `fold_top`: the block's pieces.
    count: u32,
}

var<immediate> params: Params;

// `fold`, `fold_top`: a block's `p . x` [count, width].
@group(0) @binding(0) var<storage, read> products: array<f32>;
// `recompute`, `direct`: [M, D].
@group(0) @binding(0) var<storage, read> slopes: array<f32>;
// [M]
@group(0) @binding(1) var<storage, read> conjugates: array<f32>;
// `recompute`, `direct`: [N, D].
@group(0) @binding(2) var<storage, read> points: array<f32>;
// [T, N]
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> pieces: array<u32>;

const LOWEST: f32 = -3.4028235e38;
const ABSENT: f32 = 3.4028235e38;
const NONE: u32 = 0xffffffff;

//!include grid
//!include insert
//!include team

@compute @workgroup_size(256)
fn reset(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    if index < params.top * params.points {
        values[index] = LOWEST;
        pieces[index] = NONE;
    }
}

// Takes a block of products into account, where only the best piece is wanted.
@compute @workgroup_size(64)
fn fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = workgroup_number(group, groups) * 64 + local;
    if column >= params.width {
        return;
    }
    var best = values[params.point + column];
    var winner = pieces[params.point + column];
    for (var i = 0u; i < params.count; i++) {
        let conjugate = conjugates[params.piece + i];
        let score = products[i * params.width + column] - conjugate;
        if score > best && conjugate < ABSENT {
            best = score;
            winner = params.piece + i;
        }
    }
    values[params.point + column] = best;
    pieces[params.point + column] = winner;
}

// The same, where more are wanted. Few scores exceed the last of the best: lists stay in global memory.
@compute @workgroup_size(64)
fn fold_top(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let column = workgroup_number(group, groups) * 64 + local;
    if column >= params.width {
        return;
    }
    let last = (params.top - 1) * params.points + params.point + column;
    var least = values[last];
    for (var i = 0u; i < params.count; i++) {
        let conjugate = conjugates[params.piece + i];
        let score = products[i * params.width + column] - conjugate;
        if score > least && conjugate < ABSENT {
            insert(last, score, params.piece + i);
            least = values[last];
        }
    }
}

// The scores of the best in sums of many lanes.
@compute @workgroup_size(256)
fn recompute(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = team_number(workgroup_number(group, groups), local);
    let lane = local % params.lanes;
    var piece = NONE;
    if index < params.top * params.points {
        piece = pieces[index];
    }
    var sum = 0.0;
    if piece != NONE {
        sum = lane_product(piece, index % params.points, lane);
    }
    sum = team_sum(vec2(sum, 0.0), local).x;
    if piece != NONE && lane == 0 {
        values[index] = sum - conjugates[piece];
    }
}

// One lane's share of `p . x`.
fn lane_product(piece: u32, point: u32, lane: u32) -> f32 {
    let p = piece * params.dimension;
    let x = point * params.dimension;
    var sum = 0.0;
    var j = lane;
    while j < params.dimension {
        let end = min(j + BLOCK * params.lanes, params.dimension);
        var part = 0.0;
        for (; j < end; j += params.lanes) {
            part = fma(slopes[p + j], points[x + j], part);
        }
        sum += part;
    }
    return sum;
}

// Pieces in workgroup memory at a time.
const TILE: u32 = 64;

// The first and the last four elements of each slope, and 0 past the last; those of pieces that are not there are all
// 0, so that their scores are the lowest there is, and win nothing.
var<workgroup> low: array<vec4<f32>, 64>;
var<workgroup> high: array<vec4<f32>, 64>;
var<workgroup> offsets: array<f32, 64>;

// Elements of an invocation's four points, and 0 past the last.
var<private> own: array<vec4<f32>, 8>;

// The best of all pieces at points of at most 8 elements: four of them for each invocation.
@compute @workgroup_size(64)
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let start = workgroup_number(group, groups) * 256;
    if start >= params.points {
        return;
    }
    let mine = start + local + vec4(0u, 64u, 128u, 192u);
    // What lies past the last point computes what the last does, and keeps it to itself.
    let at = min(mine, vec4(params.points - 1)) * params.dimension;
    for (var j = 0u; j < 8; j++) {
        own[j] = vec4(0.0);
        if j < params.dimension {
            own[j] = vec4(points[at.x + j], points[at.y + j], points[at.z + j], points[at.w + j]);
        }
    }
    var best = vec4(LOWEST);
    var winner = vec4(NONE);
    for (var tile = 0u; tile < params.pieces; tile += TILE) {
        workgroupBarrier();
        // The last piece fills its tile: again it wins nothing.
        stage(min(tile + local, params.pieces - 1), local);
        workgroupBarrier();
        for (var i = 0u; i < TILE; i++) {
            let score = product(i) - offsets[i];
            let better = score > best;
            best = select(best, score, better);
            winner = select(winner, vec4(min(tile + i, params.pieces - 1)), better);
        }
    }
    for (var q = 0u; q < 4 && mine[q] < params.points; q++) {
        values[mine[q]] = best[q];
        pieces[mine[q]] = winner[q];
    }
}

fn stage(piece: u32, local: u32) {
    let conjugate = conjugates[piece];
    var first = vec4(0.0);
    var last = vec4(0.0);
    if conjugate < ABSENT {
        for (var j = 0u; j < params.dimension; j++) {
            if j < 4 {
                first[j] = slopes[piece * params.dimension + j];
            } else {
                last[j - 4] = slopes[piece * params.dimension + j];
            }
        }
    }
    low[local] = first;
    high[local] = last;
    offsets[local] = conjugate;
}

// A staged slope times the four points.
fn product(i: u32) -> vec4<f32> {
    let near = low[i];
    var sum = fma(own[1], vec4(near.y), own[0] * near.x);
    if params.dimension > 2 {
        sum = fma(own[3], vec4(near.w), fma(own[2], vec4(near.z), sum));
    }
    if params.dimension > 4 {
        let far = high[i];
        sum = fma(own[5], vec4(far.y), fma(own[4], vec4(far.x), sum));
        sum = fma(own[7], vec4(far.w), fma(own[6], vec4(far.z), sum));
    }
    return sum;
}
