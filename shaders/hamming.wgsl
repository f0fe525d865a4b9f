// In how many units the codes of some rows differ from those of others: bits that differ, those of a unit folded into
// one. A workgroup takes 64 rows and 64 others, an invocation 4 and 4 of them.

struct Params {
    // Number of the first workgroup.
    first: u32,
    rows: u32,
    others: u32,
    // Words of a row, and those that count, from the first to before the last, whose units have so many bits.
    words: u32,
    start: u32,
    end: u32,
    bits: u32,
    // The lowest bit of each unit.
    lowest: u32,
    // Whether to add to what there is.
    add: u32,
}

@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> others: array<u32>;
@group(0) @binding(2) var<storage, read_write> differing: array<u32>;
var<immediate> params: Params;

const SIDE: u32 = 64;
// Words that are compared between two loads.
const DEPTH: u32 = 16;
// Vectors of one word of a tile, and one that keeps neighbouring words out of each other's banks.
const STRIDE: u32 = 17;

// Rows 4 q to 4 q + 3, and others q, q + 16, q + 32, q + 48: neighbours store to neighbours.
var<workgroup> left: array<vec4<u32>, 272>;
var<workgroup> right: array<vec4<u32>, 272>;

//!include grid

// How many units differ, from the bits that do.
fn units(differences: vec4<u32>) -> vec4<u32> {
    var any = differences;
    for (var shift = 1u; shift < params.bits; shift++) {
        any |= differences >> vec4(shift);
    }
    return countOneBits(any & vec4(params.lowest));
}

@compute @workgroup_size(256)
fn hamming(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = workgroup_number(group, groups);
    let across = (params.others + SIDE - 1) / SIDE;
    let first_row = workgroup / across * SIDE;
    let first_other = workgroup % across * SIDE;
    if first_row >= params.rows {
        return;
    }
    let row = local / 16;
    let column = local % 16;
    // What an invocation loads; past the last it loads the last, for nobody.
    let k = local % DEPTH;
    let quad = local / DEPTH;
    let row_at = min(first_row + 4 * quad + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1)) * params.words;
    let other_at = min(first_other + quad + vec4(0u, 16u, 32u, 48u), vec4(params.others - 1)) * params.words;
    var sum_0 = vec4(0u);
    var sum_1 = vec4(0u);
    var sum_2 = vec4(0u);
    var sum_3 = vec4(0u);
    for (var start = params.start; start < params.end; start += DEPTH) {
        // Words past the end are equal.
        var mine = vec4(0u);
        var other = vec4(0u);
        if start + k < params.end {
            let a = row_at + (start + k);
            let b = other_at + (start + k);
            mine = vec4(codes[a.x], codes[a.y], codes[a.z], codes[a.w]);
            other = vec4(others[b.x], others[b.y], others[b.z], others[b.w]);
        }
        workgroupBarrier();
        left[k * STRIDE + quad] = mine;
        right[k * STRIDE + quad] = other;
        workgroupBarrier();
        for (var i = 0u; i < DEPTH; i++) {
            let a = left[i * STRIDE + row];
            let b = right[i * STRIDE + column];
            sum_0 += units(b ^ vec4(a.x));
            sum_1 += units(b ^ vec4(a.y));
            sum_2 += units(b ^ vec4(a.z));
            sum_3 += units(b ^ vec4(a.w));
        }
    }
    let first = first_row + 4 * row;
    let other = first_other + column;
    store(first, other, sum_0);
    store(first + 1, other, sum_1);
    store(first + 2, other, sum_2);
    store(first + 3, other, sum_3);
}

fn store(row: u32, other: u32, counts: vec4<u32>) {
    if row < params.rows {
        for (var i = 0u; i < 4 && other + 16 * i < params.others; i++) {
            let at = row * params.others + other + 16 * i;
            differing[at] = select(0u, differing[at], params.add == 1) + counts[i];
        }
    }
}
