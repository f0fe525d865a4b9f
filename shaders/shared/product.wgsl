// A tile [side, side] of a matrix product L R, by a workgroup of 256 invocations. The side is 128, 64 or 32: large
// tiles for speed, small ones where there would be too few.
//
// Every element is a chain of fma over ascending k from 0 on, to the next multiple of 8, in tiles of every side: its
// bits depend on its row, its column and the depth alone.
//
// A tile is kept in slots of four: slot s of the rows has rows 4 s .. 4 s + 3, slot s of the columns has columns
// c, c + 8, c + 16, c + 24 with c = slot_column(s), so that neighbouring invocations load and store neighbouring
// columns one by one and nothing need be aligned.
//
// The kernel sets left_place and right_place, and defines
//     fn load_left(k: u32) -> vec4<f32>       the rows of slot left_place.x at k
//     fn load_right(k: u32) -> vec4<f32>      the columns of slot right_place.x at k
//     fn place(column: u32) -> u32            where a column of the product is stored, or OUTSIDE
//     fn store(row: u32, places: vec4<u32>, values: vec4<f32>)
// Past the depth, up to a multiple of 32, the loads of one operand give 0 and those of the other anything finite.

override side: u32 = 128u;

const OUTSIDE: u32 = 0xffffffffu;

// Two buffers: one is filled while the other is read. Each holds 1024 / side steps of k, which lie in 8 lines.
var<workgroup> left_tile: array<array<array<vec4<f32>, 32>, 8>, 2>;
var<workgroup> right_tile: array<array<array<vec4<f32>, 32>, 8>, 2>;

// The slot that this invocation loads, and its k within a step.
var<private> left_place: vec2<u32>;
var<private> right_place: vec2<u32>;

// What this invocation computes: sums 2 i and 2 i + 1 are row i of its slots, each four columns.
var<private> row_slot: u32;
var<private> column_slot: u32;
var<private> component: u32;
var<private> sum_0: vec4<f32>;
var<private> sum_1: vec4<f32>;
var<private> sum_2: vec4<f32>;
var<private> sum_3: vec4<f32>;
var<private> sum_4: vec4<f32>;
var<private> sum_5: vec4<f32>;
var<private> sum_6: vec4<f32>;
var<private> sum_7: vec4<f32>;
var<private> sum_8: vec4<f32>;
var<private> sum_9: vec4<f32>;
var<private> sum_10: vec4<f32>;
var<private> sum_11: vec4<f32>;
var<private> sum_12: vec4<f32>;
var<private> sum_13: vec4<f32>;
var<private> sum_14: vec4<f32>;
var<private> sum_15: vec4<f32>;

// How many tiles cover a length.
fn tiles(length: u32) -> u32 {
    return (length + side - 1u) / side;
}

// The row and column, in elements, of tile `number` among `down * across`. Tiles that run at about the same time are
// neighbours in both directions, as they share operands.
fn tile_of(number: u32, down: u32, across: u32) -> vec2<u32> {
    let band = number / (8u * across) * 8u;
    let within = number - band * across;
    let height = min(8u, down - band);
    return side * vec2(band + within % height, within / height);
}

// The first column of a slot.
fn slot_column(slot: u32) -> u32 {
    return (slot / 8u) * 32u + slot % 8u;
}

// The place of an invocation where neighbours in memory are neighbours in the tile.
fn along_side(local: u32) -> vec2<u32> {
    let across = side / 4u;
    return vec2(local % across, local / across);
}

// The place of an invocation where neighbours in memory differ in k. Eight across are next to each other all the same,
// as they go to different banks of workgroup memory.
fn along_depth(local: u32) -> vec2<u32> {
    let across = side / 4u;
    return vec2(local % 8u + 8u * ((local / 32u) % (across / 8u)), (local / 8u) % 4u + 4u * (local / (4u * across)));
}

// Takes one k into the sum of a small tile.
fn accumulate_small(buffer: u32, line: u32, first: u32) {
    let a = left_tile[buffer][line][first + row_slot][component];
    sum_0 = fma(vec4(a), right_tile[buffer][line][first + column_slot], sum_0);
}

// Takes a line of both operands into the sums.
fn accumulate(buffer: u32, line: u32) {
    if (side == 32u) {
        accumulate_small(buffer, line, 0u);
        accumulate_small(buffer, line, 8u);
        accumulate_small(buffer, line, 16u);
        accumulate_small(buffer, line, 24u);
        return;
    }
    let a = left_tile[buffer][line][row_slot];
    let a_1 = left_tile[buffer][line][row_slot + 16u];
    let b = right_tile[buffer][line][column_slot];
    let b_1 = right_tile[buffer][line][column_slot + 16u];
    sum_0 = fma(vec4(a.x), b, sum_0);
    sum_2 = fma(vec4(a.y), b, sum_2);
    sum_4 = fma(vec4(a.z), b, sum_4);
    sum_6 = fma(vec4(a.w), b, sum_6);
    if (side == 64u) {
        // The second half of a line is the next k.
        sum_0 = fma(vec4(a_1.x), b_1, sum_0);
        sum_2 = fma(vec4(a_1.y), b_1, sum_2);
        sum_4 = fma(vec4(a_1.z), b_1, sum_4);
        sum_6 = fma(vec4(a_1.w), b_1, sum_6);
    } else {
        sum_1 = fma(vec4(a.x), b_1, sum_1);
        sum_3 = fma(vec4(a.y), b_1, sum_3);
        sum_5 = fma(vec4(a.z), b_1, sum_5);
        sum_7 = fma(vec4(a.w), b_1, sum_7);
        sum_8 = fma(vec4(a_1.x), b, sum_8);
        sum_9 = fma(vec4(a_1.x), b_1, sum_9);
        sum_10 = fma(vec4(a_1.y), b, sum_10);
        sum_11 = fma(vec4(a_1.y), b_1, sum_11);
        sum_12 = fma(vec4(a_1.z), b, sum_12);
        sum_13 = fma(vec4(a_1.z), b_1, sum_13);
        sum_14 = fma(vec4(a_1.w), b, sum_14);
        sum_15 = fma(vec4(a_1.w), b_1, sum_15);
    }
}

// Computes the tile whose operands the places and the kernel's loads give.
fn product(depth: u32, local: u32) {
    if (side == 32u) {
        row_slot = local / 8u % 8u;
        column_slot = local % 8u;
        component = local / 64u;
    } else {
        // 32 invocations that run together have 8 slots of columns and 4 of rows.
        row_slot = local / 64u * 4u + local / 8u % 4u;
        column_slot = local / 32u % 2u * 8u + local % 8u;
    }
    let step = 1024u / side;
    let left_at = left_place.y * (side / 4u) + left_place.x;
    let right_at = right_place.y * (side / 4u) + right_place.x;
    var left = load_left(left_place.y);
    var right = load_right(right_place.y);
    var buffer = 0u;
    for (var k = 0u; k < depth; k += step) {
        left_tile[buffer][left_at / 32u][left_at % 32u] = left;
        right_tile[buffer][right_at / 32u][right_at % 32u] = right;
        workgroupBarrier();
        if (k + step < depth) {
            left = load_left(k + step + left_place.y);
            right = load_right(k + step + right_place.y);
        }
        let lines = (min(depth - k, step) + 7u) / 8u * (side / 16u);
        accumulate(buffer, 0u);
        accumulate(buffer, 1u);
        if (side == 128u || lines > 2u) {
            accumulate(buffer, 2u);
            accumulate(buffer, 3u);
        }
        if (side == 128u || lines > 4u) {
            accumulate(buffer, 4u);
            accumulate(buffer, 5u);
        }
        if (side == 128u || lines > 6u) {
            accumulate(buffer, 6u);
            accumulate(buffer, 7u);
        }
        buffer = 1u - buffer;
    }
}

fn places(column: u32) -> vec4<u32> {
    return vec4(place(column), place(column + 8u), place(column + 16u), place(column + 24u));
}

// Stores the tile that begins at a row and a column of the product.
fn finish(corner: vec2<u32>) {
    let row = corner.x + 4u * row_slot + component;
    let column = corner.y + slot_column(column_slot);
    let near = places(column);
    store(row, near, sum_0);
    if (side == 32u) {
        return;
    }
    store(row + 1u, near, sum_2);
    store(row + 2u, near, sum_4);
    store(row + 3u, near, sum_6);
    if (side == 64u) {
        return;
    }
    let far = places(column + 64u);
    store(row, far, sum_1);
    store(row + 1u, far, sum_3);
    store(row + 2u, far, sum_5);
    store(row + 3u, far, sum_7);
    store(row + 64u, near, sum_8);
    store(row + 64u, far, sum_9);
    store(row + 65u, near, sum_10);
    store(row + 65u, far, sum_11);
    store(row + 66u, near, sum_12);
    store(row + 66u, far, sum_13);
    store(row + 67u, near, sum_14);
    store(row + 67u, far, sum_15);
}
