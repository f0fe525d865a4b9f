// Squared distances [M, N] of anchors [M, D] and points [N, D], from the differences themselves.

struct Params {
    // Number of this dispatch's first workgroup.
    first: u32,
    // M, the anchors.
    anchors: u32,
    // N, the points.
    points: u32,
    // D, the elements of either.
    dimension: u32,
}

var<immediate> params: Params;

@group(0) @binding(0) var<storage, read> anchors: array<f32>;
@group(0) @binding(1) var<storage, read> points: array<f32>;
@group(0) @binding(2) var<storage, read_write> squared: array<f32>;

// Anchors and points of a workgroup.
const SIDE: u32 = 64;
// Elements of each that lie in workgroup memory at a time.
const DEPTH: u32 = 16;
// Vectors of one element of a tile, and one that keeps neighbours in k out of each other's banks.
const STRIDE: u32 = 17;

// Anchors 4 q to 4 q + 3, and points q, q + 16, q + 32, q + 48: neighbours store to neighbours.
var<workgroup> left: array<vec4<f32>, 272>;
var<workgroup> right: array<vec4<f32>, 272>;

//!include grid

@compute @workgroup_size(256)
fn distances(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_number(group, groups);
    let across = (params.points + SIDE - 1) / SIDE;
    let first_anchor = workgroup / across * SIDE;
    let first_point = workgroup % across * SIDE;
    if first_anchor >= params.anchors {
        return;
    }
    let row = local / 16;
    let column = local % 16;
    // What an invocation loads; past the last it loads the last, for nobody.
    let k = local % DEPTH;
    let quad = local / DEPTH;
    let of_anchors = min(first_anchor + 4 * quad + vec4(0u, 1u, 2u, 3u), vec4(params.anchors - 1));
    let of_points = min(first_point + quad + vec4(0u, 16u, 32u, 48u), vec4(params.points - 1));
    let anchor_at = of_anchors * params.dimension;
    let point_at = of_points * params.dimension;
    var sum_0 = vec4(0.0);
    var sum_1 = vec4(0.0);
    var sum_2 = vec4(0.0);
    var sum_3 = vec4(0.0);
    for (var start = 0u; start < params.dimension; start += DEPTH) {
        var anchor = vec4(0.0);
        var point = vec4(0.0);
        if start + k < params.dimension {
            let a = anchor_at + (start + k);
            let p = point_at + (start + k);
            anchor = vec4(anchors[a.x], anchors[a.y], anchors[a.z], anchors[a.w]);
            point = vec4(points[p.x], points[p.y], points[p.z], points[p.w]);
        }
        workgroupBarrier();
        left[k * STRIDE + quad] = anchor;
        right[k * STRIDE + quad] = point;
        workgroupBarrier();
        // Errors grow with the blocks, not with the elements.
        var part_0 = vec4(0.0);
        var part_1 = vec4(0.0);
        var part_2 = vec4(0.0);
        var part_3 = vec4(0.0);
        for (var i = 0u; i < DEPTH; i++) {
            let a = left[i * STRIDE + row];
            let p = right[i * STRIDE + column];
            let d_0 = p - a.x;
            let d_1 = p - a.y;
            let d_2 = p - a.z;
            let d_3 = p - a.w;
            part_0 = fma(d_0, d_0, part_0);
            part_1 = fma(d_1, d_1, part_1);
            part_2 = fma(d_2, d_2, part_2);
            part_3 = fma(d_3, d_3, part_3);
        }
        sum_0 += part_0;
        sum_1 += part_1;
        sum_2 += part_2;
        sum_3 += part_3;
    }
    let anchor = first_anchor + 4 * row;
    let point = first_point + column;
    store(anchor, point, sum_0);
    store(anchor + 1, point, sum_1);
    store(anchor + 2, point, sum_2);
    store(anchor + 3, point, sum_3);
}

fn store(anchor: u32, point: u32, values: vec4<f32>) {
    if anchor < params.anchors {
        for (var i = 0u; i < 4 && point + 16 * i < params.points; i++) {
            squared[anchor * params.points + point + 16 * i] = values[i];
        }
    }
}
