// Packed codes: which piece each unit picks, a few bits for each. One invocation makes one word.

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Words that are made.
    count: u32,
    // Units of a row, and the words that they take.
    units: u32,
    words: u32,
    // Words of a row of all layers, and the first of this one.
    row: u32,
    start: u32,
    // Bits of a unit, and units of a word.
    bits: u32,
    per_word: u32,
    // How many knots there are.
    knots: u32,
    // Picks: the width of an image, and the windows: how many, their width, steps, and padding above and to the left.
    width: u32,
    rows: u32,
    columns: u32,
    kernel: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_y: u32,
    pad_x: u32,
}

// Entry points bind what they read first and then what they write.
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> knots: array<f32>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;
@group(0) @binding(0) var<storage, read> picked: array<u32>;
@group(0) @binding(1) var<storage, read_write> codes_of_picks: array<u32>;
var<immediate> params: Params;

//!include grid

// The units of word number index: where the first stands among all, and how many there are.
struct Units {
    first: u32,
    within: u32,
    count: u32,
    word: u32,
}

fn units_of(index: u32) -> Units {
    let row = index / params.words;
    let word = index - row * params.words;
    let within = word * params.per_word;
    let count = min(params.per_word, params.units - within);
    return Units(row * params.units + within, within, count, row * params.row + params.start + word);
}

fn knot(i: u32) -> f32 {
    return knots[i];
}

//!include search

@compute @workgroup_size(256)
fn values(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let units = units_of(index);
    var word = 0u;
    for (var i = 0u; i < units.count; i++) {
        word |= piece_of(x[units.first + i]) << (i * params.bits);
    }
    codes[units.word] = word;
}

@compute @workgroup_size(256)
fn picks(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let units = units_of(index);
    var word = 0u;
    for (var i = 0u; i < units.count; i++) {
        let line = (units.within + i) / params.columns;
        let column = units.within + i - line * params.columns;
        let row = line % params.rows;
        let at = picked[units.first + i];
        let y = at / params.width;
        let x = at - y * params.width;
        let code_y = (y + params.pad_y - row * params.stride_y) / params.dilation_y;
        let code_x = (x + params.pad_x - column * params.stride_x) / params.dilation_x;
        word |= (code_y * params.kernel + code_x) << (i * params.bits);
    }
    codes_of_picks[units.word] = word;
}
