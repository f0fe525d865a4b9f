// The number of a workgroup among all of a job, whose dispatches are spread over two dimensions and, past what a
// device takes at once, over several calls.
fn workgroup_number(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return params.first + group.x + group.y * groups.x;
}
