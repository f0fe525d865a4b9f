// The discrete conjugate [M], for each slope s the largest of `s . x_n - f_n` over points x_n [N, D] with values f_n,
// and the first n that attains it. A point with the largest number as its value is outside the domain.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // N, the points.
    points: u32,
    // D, the elements of a point and of a slope.
    dimension: u32,
    // M, the slopes.
    slopes: u32,
    // `recompute`: invocations that share a sum, a power of two, at most 64, that follows from D alone.
    lanes: u32,
    // `fold`: the block's first slope.
    slope: u32,
    // `fold`: the block's slopes, the width of its products.
    width: u32,
    // `fold`: the block's first point.
    point: u32,
    // `fold`: the block's points.
    count: u32,
}

var<immediate> params: Params;

// `fold`: a block's `s . x` [count, width]. `recompute`, `direct`: points [N, D].
@group(0) @binding(0) var<storage, read> points: array<f32>;
// [N]
@group(0) @binding(1) var<storage, read> values: array<f32>;
// `recompute`, `direct`: [M, D].
@group(0) @binding(2) var<storage, read> slopes: array<f32>;
// [M]
@group(0) @binding(3) var<storage, read_write> conjugates: array<f32>;
@group(0) @binding(4) var<storage, read_write> maximisers: array<u32>;

const LOWEST: f32 = -3.4028235e38;
const OUTSIDE: f32 = 3.4028235e38;
const NONE: u32 = 0xffffffff;

//!include grid
//!include team

@compute @workgroup_size(256)
fn reset(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256 + local;
    if index < params.slopes {
        conjugates[index] = LOWEST;
        maximisers[index] = NONE;
    }
}

// Takes a block of products into account.
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
    var best = conjugates[params.slope + column];
    var winner = maximisers[params.slope + column];
    for (var n = 0u; n < params.count; n++) {
        let value = values[params.point + n];
        let score = points[n * params.width + column] - value;
        if score > best && value < OUTSIDE {
            best = score;
            winner = params.point + n;
        }
    }
    conjugates[params.slope + column] = best;
    maximisers[params.slope + column] = winner;
}

// The winners' scores in sums of many lanes.
@compute @workgroup_size(256)
fn recompute(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = team_number(workgroup_number(group, groups), local);
    let lane = local % params.lanes;
    var winner = NONE;
    if index < params.slopes {
        winner = maximisers[index];
    }
    var sum = 0.0;
    if winner != NONE {
        sum = lane_product(index, winner, lane);
    }
    sum = team_sum(vec2(sum, 0.0), local).x;
    if winner != NONE && lane == 0 {
        conjugates[index] = sum - values[winner];
    }
}

// One lane's share of `s . x`.
fn lane_product(slope: u32, point: u32, lane: u32) -> f32 {
    let s = slope * params.dimension;
    let x = point * params.dimension;
    var sum = 0.0;
    var j = lane;
    while j < params.dimension {
        let end = min(j + BLOCK * params.lanes, params.dimension);
        var part = 0.0;
        for (; j < end; j += params.lanes) {
            part = fma(slopes[s + j], points[x + j], part);
        }
        sum += part;
    }
    return sum;
}

// Points in workgroup memory at a time.
const TILE: u32 = 64;

// The first and the last four elements of each point, and 0 past the last; points outside the domain are all 0, so
// that their scores are the lowest there is, and win nothing.
var<workgroup> low: array<vec4<f32>, 64>;
var<workgroup> high: array<vec4<f32>, 64>;
var<workgroup> offsets: array<f32, 64>;

// Elements of an invocation's four slopes, and 0 past the last.
var<private> own: array<vec4<f32>, 8>;

// All points, for slopes of at most 8 elements: four of them for each invocation.
@compute @workgroup_size(64)
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let start = workgroup_number(group, groups) * 256;
    if start >= params.slopes {
        return;
    }
    let mine = start + local + vec4(0u, 64u, 128u, 192u);
    // What lies past the last slope computes what the last does, and keeps it to itself.
    let at = min(mine, vec4(params.slopes - 1)) * params.dimension;
    for (var j = 0u; j < 8; j++) {
        own[j] = vec4(0.0);
        if j < params.dimension {
            own[j] = vec4(slopes[at.x + j], slopes[at.y + j], slopes[at.z + j], slopes[at.w + j]);
        }
    }
    var best = vec4(LOWEST);
    var winner = vec4(NONE);
    for (var tile = 0u; tile < params.points; tile += TILE) {
        workgroupBarrier();
        // The last point fills its tile: again it wins nothing.
        stage(min(tile + local, params.points - 1), local);
        workgroupBarrier();
        for (var i = 0u; i < TILE; i++) {
            let score = product(i) - offsets[i];
            let better = score > best;
            best = select(best, score, better);
            winner = select(winner, vec4(min(tile + i, params.points - 1)), better);
        }
    }
    for (var q = 0u; q < 4 && mine[q] < params.slopes; q++) {
        conjugates[mine[q]] = best[q];
        maximisers[mine[q]] = winner[q];
    }
}

fn stage(point: u32, local: u32) {
    let value = values[point];
    var first = vec4(0.0);
    var last = vec4(0.0);
    if value < OUTSIDE {
        for (var j = 0u; j < params.dimension; j++) {
            if j < 4 {
                first[j] = points[point * params.dimension + j];
            } else {
                last[j - 4] = points[point * params.dimension + j];
            }
        }
    }
    low[local] = first;
    high[local] = last;
    offsets[local] = value;
}

// A staged point times the four slopes.
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
