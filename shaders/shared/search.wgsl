// The piece of u: how many of params.knots knots, knot(0) and so on, lie strictly below it. The same steps for every u.
fn piece_of(u: f32) -> u32 {
    var start = 0u;
    var length = params.knots;
    while length > 0u {
        let half = (length + 1u) / 2u;
        start += select(0u, half, knot(start + half - 1u) < u);
        length -= half;
    }
    return start;
}
