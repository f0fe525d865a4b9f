// Sums over long rows. A team of `params.lanes` invocations (a power of two, at most 64) shares a row, and a
// workgroup of 256 holds as many teams as fit.

// A lane adds so many elements before it adds their sum to the rest: errors then grow with the blocks, not with
// the elements.
const BLOCK: u32 = 16;

var<workgroup> partial: array<vec2<f32>, 256>;

// The number of this invocation's team among all of a job.
fn team_number(workgroup: u32, local: u32) -> u32 {
    return workgroup * (256 / params.lanes) + local / params.lanes;
}

// The sum over a team, in its first lane. All invocations of a workgroup must call this, once.
fn team_sum(part: vec2<f32>, local: u32) -> vec2<f32> {
    let lane = local % params.lanes;
    partial[local] = part;
    for (var stride = params.lanes / 2; stride > 0; stride /= 2) {
        workgroupBarrier();
        if lane < stride {
            partial[local] += partial[local + stride];
        }
    }
    return partial[local];
}
