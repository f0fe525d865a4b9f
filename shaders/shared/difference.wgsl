// One lane's share of the rise `J_k (x - x_i)` of a tangent and of the squared distance, from the difference
// itself; the lanes go `stride` apart.
fn lane_difference(point: u32, anchor: u32, output: u32, lane: u32, stride: u32) -> vec2<f32> {
    let x = point * params.dimension;
    let center = anchor * params.dimension;
    let slope = (anchor * params.outputs + output) * params.dimension;
    var sum = vec2(0.0);
    var j = lane;
    while j < params.dimension {
        let end = min(j + BLOCK * stride, params.dimension);
        var part = vec2(0.0);
        for (; j < end; j += stride) {
            let difference = points[x + j] - anchors[center + j];
            part = fma(vec2(jacobians[slope + j], difference), vec2(difference), part);
        }
        sum += part;
    }
    return sum;
}
