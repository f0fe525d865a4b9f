// The activations that cost a comparison or two, for the ends of products; others run as a pass of their own. Kinds are
// those of `activation_value`, and 0xffffffff for none.
fn activated(kind: u32, p: vec4<f32>, x: f32) -> f32 {
    switch kind {
        case 0u: { return select(x, 0.0, x <= 0.0); }
        case 1u: { return select(x, p.x * x, x <= 0.0); }
        case 2u: {
            let above = select(x, p.x, x <= p.x);
            return select(above, p.y, above > p.y);
        }
        default: { return x; }
    }
}
