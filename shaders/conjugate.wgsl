// One pass of the discrete conjugate: `max_i (s_j x_i - f_i)` and the first i that attains it, for each column of
// f [N, C], as [C, M]. A value of the largest number is not there.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // C, the columns.
    columns: u32,
    // N, the points of the axis.
    points: u32,
    // M, the slopes.
    slopes: u32,
    // 1 where the values are maxima of the pass before, whose negatives count, and `picked` is what it picked.
    later: u32,
    // `lines`: every how manieth slope this dispatch takes.
    stride: u32,
    // `lines`: how many slopes of each column the dispatch before took, 256 times as far apart; 0 for the first.
    known: u32,
}

var<immediate> params: Params;

// f [N, C]
@group(0) @binding(0) var<storage, read> source: array<f32>;
// [N]
@group(0) @binding(1) var<storage, read> axis: array<f32>;
// [M]
@group(0) @binding(2) var<storage, read> slopes: array<f32>;
// [N, C]
@group(0) @binding(3) var<storage, read> picked: array<u32>;
// `columns`: [C, M].
@group(0) @binding(4) var<storage, read_write> maxima: array<f32>;
@group(0) @binding(5) var<storage, read_write> picks: array<u32>;
// `lines`: the points that the dispatch before found [C, known].
@group(0) @binding(4) var<storage, read> winners_before: array<u32>;
// `lines`: [C, ceil(M / stride)]; picks count as in `columns`.
@group(0) @binding(5) var<storage, read_write> line_maxima: array<f32>;
@group(0) @binding(6) var<storage, read_write> line_picks: array<u32>;
@group(0) @binding(7) var<storage, read_write> winners: array<u32>;

const LOWEST: f32 = -3.4028235e38;
const ABSENT: f32 = 3.4028235e38;
const NONE: u32 = 0xffffffff;

//!include grid

fn value(point: u32, column: u32) -> f32 {
    let value = source[point * params.columns + column];
    return select(value, -value, params.later == 1u);
}

// The element of the whole grid that a point of this axis stands for.
fn element(point: u32, column: u32) -> u32 {
    if point == NONE {
        return NONE;
    }
    let index = point * params.columns + column;
    if params.later == 1u {
        return picked[index];
    }
    return index;
}

const DEPTH: u32 = 16u;

var<workgroup> staged: array<vec4<f32>, 256>;
var<workgroup> staged_axis: array<f32, 256>;

// A product of matrices with sums for products and maxima for sums: 64 columns and 64 slopes to a workgroup, four and
// four to an invocation.
@compute @workgroup_size(256)
fn columns(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = workgroup_number(group, groups);
    let across = (params.slopes + 63u) / 64u;
    let first_slope = (tile % across) * 64u + (local % 16u) * 4u;
    let first_column = (tile / across) * 64u;
    // A last dispatch may have more workgroups than there are tiles.
    let column = first_column + (local / 16u) * 4u;
    var own: array<f32, 4>;
    var best: array<vec4<f32>, 4>;
    var winner: array<vec4<u32>, 4>;
    for (var j = 0u; j < 4u; j++) {
        own[j] = slopes[min(first_slope + j, params.slopes - 1u)];
        best[j] = vec4(LOWEST);
        winner[j] = vec4(NONE);
    }
    for (var start = 0u; start < params.points; start += DEPTH) {
        workgroupBarrier();
        let point = start + local / 16u;
        var values = vec4(ABSENT);
        if point < params.points {
            let staged_column = first_column + (local % 16u) * 4u;
            for (var c = 0u; c < 4u; c++) {
                if staged_column + c < params.columns {
                    values[c] = value(point, staged_column + c);
                }
            }
        }
        staged[local] = values;
        if local < DEPTH {
            staged_axis[local] = axis[min(start + local, params.points - 1u)];
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let values = staged[k * 16u + local / 16u];
            let x = staged_axis[k];
            for (var j = 0u; j < 4u; j++) {
                let score = vec4(own[j] * x) - values;
                let better = score > best[j];
                best[j] = select(best[j], score, better);
                winner[j] = select(winner[j], vec4(start + k), better);
            }
        }
    }
    for (var c = 0u; c < 4u; c++) {
        for (var j = 0u; j < 4u; j++) {
            if column + c < params.columns && first_slope + j < params.slopes {
                let at = (column + c) * params.slopes + first_slope + j;
                maxima[at] = best[j][c];
                picks[at] = element(winner[j][c], column + c);
            }
        }
    }
}

// Where columns are few: 256 slopes of one column to a workgroup, `stride` apart. The maximisers of increasing slopes
// lie ever farther to the right: those that the dispatch before found on both sides are the first and the last that
// can win.
@compute @workgroup_size(256)
fn lines(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let count = (params.slopes + params.stride - 1u) / params.stride;
    let across = (count + 255u) / 256u;
    let number = workgroup_number(group, groups);
    let column = min(number / across, params.columns - 1u);
    let block = number % across;
    var low = 0u;
    var high = params.points - 1u;
    if params.known > 0u {
        low = winners_before[column * params.known + block];
        if block + 1u < params.known {
            high = winners_before[column * params.known + block + 1u];
        }
        // Nothing is there at all.
        if low == NONE {
            low = 0u;
            high = 0u;
        }
    }
    let slope = slopes[min((block * 256u + local) * params.stride, params.slopes - 1u)];
    var best = LOWEST;
    var winner = NONE;
    for (var start = low; start <= high; start += 256u) {
        workgroupBarrier();
        let point = min(start + local, params.points - 1u);
        staged_axis[local] = axis[point];
        staged[local].x = value(point, column);
        workgroupBarrier();
        let last = min(high - start, 255u);
        for (var k = 0u; k <= last; k++) {
            let score = slope * staged_axis[k] - staged[k].x;
            if score > best {
                best = score;
                winner = start + k;
            }
        }
    }
    let index = block * 256u + local;
    if number / across < params.columns && index < count {
        let at = column * count + index;
        line_maxima[at] = best;
        line_picks[at] = element(winner, column);
        winners[at] = winner;
    }
}
