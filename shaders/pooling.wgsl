// Pooling over windows of images [N, c, h, w] -> [N, c, h', w'], and its transposes back to [N, c, h, w].

struct Params {
    // Number of the first workgroup.
    first: u32,
    // Elements of the result.
    count: u32,
    // Height and width of an image.
    height: u32,
    width: u32,
    // Windows in an image: height and width of what is pooled.
    rows: u32,
    columns: u32,
    // Elements of a window.
    kernel_y: u32,
    kernel_x: u32,
    // Steps between windows.
    stride_y: u32,
    stride_x: u32,
    // Steps between the elements of a window.
    dilation_y: u32,
    dilation_x: u32,
    // Padding above and to the left.
    pad_y: u32,
    pad_x: u32,
    // Averages: how much of the padding counts towards the divisor.
    counted_top: u32,
    counted_left: u32,
    counted_bottom: u32,
    counted_right: u32,
    // Gather and scatter: channels, and directions of each sample.
    channels: u32,
    repeats: u32,
}

// Entry points bind what they read first and then what they write.
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> picks: array<u32>;
@group(0) @binding(2) var<storage, read_write> routed: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> picked: array<u32>;
var<immediate> params: Params;

//!include grid

// Where an element lies in its plane, and the number of the plane.
struct Place {
    plane: u32,
    row: u32,
    column: u32,
}

fn place(index: u32, height: u32, width: u32) -> Place {
    let line = index / width;
    let plane = line / height;
    return Place(plane, line - plane * height, index - line * width);
}

// The plane of picks for a plane of [N * repeats, channels].
fn picks_plane(plane: u32) -> u32 {
    let sample = plane / params.channels;
    return sample / params.repeats * params.channels + (plane - sample * params.channels);
}

// The first window along an axis that reaches an element, and one past the last.
fn reaching(position: u32, pad: u32, kernel: u32, stride: u32, dilation: u32, windows: u32) -> vec2<u32> {
    let padded = position + pad;
    let reach = (kernel - 1u) * dilation;
    let start = select(0u, (padded - reach + stride - 1u) / stride, padded > reach);
    return vec2(start, min(padded / stride + 1u, windows));
}

// How many elements of a window that starts at `start` (in the padded image) count along an axis.
fn counted(start: u32, pad: u32, size: u32, before: u32, after: u32, kernel: u32, dilation: u32) -> u32 {
    let low = max(pad - before, start) - start;
    let high = max(pad + size + after, start) - start;
    return min((high + dilation - 1u) / dilation, kernel) - min((low + dilation - 1u) / dilation, kernel);
}

fn counted_rows(start: u32) -> u32 {
    return counted(
        start, params.pad_y, params.height, params.counted_top, params.counted_bottom, params.kernel_y, params.dilation_y,
    );
}

fn counted_columns(start: u32) -> u32 {
    return counted(
        start, params.pad_x, params.width, params.counted_left, params.counted_right, params.kernel_x, params.dilation_x,
    );
}

// Largest element of each window, and its flat position in the image.
@compute @workgroup_size(256)
fn max_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let at = place(index, params.rows, params.columns);
    let image = at.plane * params.height * params.width;
    var largest = x[image];
    var position = 0u;
    var empty = true;
    for (var k = 0u; k < params.kernel_y; k++) {
        // In the padding before the image this wraps around, past any size.
        let row = at.row * params.stride_y + k * params.dilation_y - params.pad_y;
        if row >= params.height {
            continue;
        }
        var column = at.column * params.stride_x - params.pad_x;
        for (var l = 0u; l < params.kernel_x; l++) {
            if column < params.width {
                let here = row * params.width + column;
                let value = x[image + here];
                if empty || value > largest {
                    largest = value;
                    position = here;
                    empty = false;
                }
            }
            column += params.dilation_x;
        }
    }
    y[index] = largest;
    picked[index] = position;
}

// What was picked, out of tangents x [N * r, c, h, w].
@compute @workgroup_size(256)
fn max_pool_gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let windows = params.rows * params.columns;
    let plane = index / windows;
    let pick = picks[picks_plane(plane) * windows + (index - plane * windows)];
    routed[index] = x[plane * params.height * params.width + pick];
}

// Cotangents x [N * r, c, h', w'] added up where they were picked, [N * r, c, h, w].
@compute @workgroup_size(256)
fn max_pool_scatter(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let at = place(index, params.height, params.width);
    let position = at.row * params.width + at.column;
    let windows = params.rows * params.columns;
    let cotangents = at.plane * windows;
    let picks_start = picks_plane(at.plane) * windows;
    let rows = reaching(at.row, params.pad_y, params.kernel_y, params.stride_y, params.dilation_y, params.rows);
    let columns = reaching(at.column, params.pad_x, params.kernel_x, params.stride_x, params.dilation_x, params.columns);
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row++) {
        for (var column = columns.x; column < columns.y; column++) {
            let window = row * params.columns + column;
            // With dilations some windows here skip the element; these did not pick it.
            if picks[picks_start + window] == position {
                sum += x[cotangents + window];
            }
        }
    }
    routed[index] = sum;
}

// Mean of each window.
@compute @workgroup_size(256)
fn average_pool(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let at = place(index, params.rows, params.columns);
    let image = at.plane * params.height * params.width;
    let top = at.row * params.stride_y;
    let left = at.column * params.stride_x;
    var sum = 0.0;
    for (var k = 0u; k < params.kernel_y; k++) {
        let row = top + k * params.dilation_y - params.pad_y;
        if row >= params.height {
            continue;
        }
        let line = image + row * params.width;
        var column = left - params.pad_x;
        // Sums of lines lose fewer digits than one long sum.
        var line_sum = 0.0;
        for (var l = 0u; l < params.kernel_x; l++) {
            if column < params.width {
                line_sum += x[line + column];
            }
            column += params.dilation_x;
        }
        sum += line_sum;
    }
    y[index] = sum / f32(counted_rows(top) * counted_columns(left));
}

// Cotangents x [N, c, h', w'] shared out over the elements of their windows, [N, c, h, w].
@compute @workgroup_size(256)
fn average_pool_transposed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_number(group, groups) * 256u + local;
    if index >= params.count {
        return;
    }
    let at = place(index, params.height, params.width);
    let cotangents = at.plane * params.rows * params.columns;
    let rows = reaching(at.row, params.pad_y, params.kernel_y, params.stride_y, params.dilation_y, params.rows);
    let columns = reaching(at.column, params.pad_x, params.kernel_x, params.stride_x, params.dilation_x, params.columns);
    var sum = 0.0;
    for (var row = rows.x; row < rows.y; row++) {
        let top = row * params.stride_y;
        if (at.row + params.pad_y - top) % params.dilation_y != 0u {
            continue;
        }
        let height = counted_rows(top);
        for (var column = columns.x; column < columns.y; column++) {
            let left = column * params.stride_x;
            if (at.column + params.pad_x - left) % params.dilation_x == 0u {
                sum += x[cotangents + row * params.columns + column] / f32(height * counted_columns(left));
            }
        }
    }
    y[index] = sum;
}
