// Activations and their first two derivatives. The derivative at a kink is that of the side below. All formulas stay
// finite wherever the true value is.
//!include elementary

// Beyond it sigmoids and bell curves are at their limits in f32, and squares of it are finite.
const FAR: f32 = 64.0;

// `x` where `FAR` is no limit to it.
fn near(x: f32) -> f32 {
    return limited(x, -FAR, FAR);
}

// `below` up to 0, `above` after it.
fn step_at_zero(x: f32, below: f32, above: f32) -> f32 {
    return select(above, below, x <= 0.0);
}

// The one of value, first and second derivative that the order asks for.
fn of_order(order: u32, value: f32, slope: f32, bend: f32) -> f32 {
    return select(select(bend, slope, order == 1u), value, order == 0u);
}

fn hard_sigmoid(order: u32, alpha: f32, beta: f32, x: f32) -> f32 {
    let y = alpha * x + beta;
    // The side below a kink is where y is smaller or larger, as alpha has it.
    let rising = select(y, 1.0 - y, alpha < 0.0);
    let slope = select(alpha, 0.0, rising <= 0.0 || rising > 1.0);
    return of_order(order, limited(y, 0.0, 1.0), slope, 0.0);
}

fn hard_swish(order: u32, x: f32) -> f32 {
    let sixth = 1.0 / 6.0;
    if x <= -3.0 {
        return 0.0;
    }
    if x > 3.0 {
        return of_order(order, x, 1.0, 0.0);
    }
    return of_order(order, x * (x * sixth + 0.5), 2.0 * x * sixth + 0.5, 2.0 * sixth);
}

fn softsign(order: u32, x: f32) -> f32 {
    if order == 0u {
        // Far out it is 1 in f32, but a quotient of numbers above 2^126 may be anything.
        let u = limited(x, -1e18, 1e18);
        return u / (1.0 + abs(u));
    }
    let r = 1.0 / (1.0 + abs(x));
    return select(step_at_zero(x, 2.0, -2.0) * r, 1.0, order == 1u) * r * r;
}

// `scale (exp(x / shape) - 1)` below 0, `slope x` above.
fn exponential_unit(order: u32, scale: f32, shape: f32, slope: f32, x: f32) -> f32 {
    if x > 0.0 {
        return of_order(order, slope * x, slope, 0.0);
    }
    if order == 0u {
        return scale * exponential_less_one(x / shape);
    }
    let first = scale / shape * exponential(x / shape);
    return select(first / shape, first, order == 1u);
}

// `1 / (1 + exp(-x))`; the exponential is never of a positive number.
fn sigmoid(x: f32) -> f32 {
    let e = exponential(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// `s (1 - s)`, with all digits in the tails.
fn sigmoid_slope(x: f32) -> f32 {
    let e = exponential(-abs(x));
    let r = 1.0 / (1.0 + e);
    return e * r * r;
}

// `tanh(x / 2)`, with all digits near 0.
fn half_tanh(x: f32) -> f32 {
    let m = exponential_less_one(-abs(x));
    let t = m / (2.0 + m);
    return select(-t, t, x < 0.0);
}

// `s (1 - s) (1 - 2 s)`
fn sigmoid_bend(x: f32) -> f32 {
    return -sigmoid_slope(x) * half_tanh(x);
}

fn sigmoid_of_order(order: u32, x: f32) -> f32 {
    if order == 0u {
        return sigmoid(x);
    }
    if order == 1u {
        return sigmoid_slope(x);
    }
    return sigmoid_bend(x);
}

fn hyperbolic_tangent(order: u32, x: f32) -> f32 {
    let twice = 2.0 * near(x);
    if order == 0u {
        return half_tanh(twice);
    }
    if order == 1u {
        return 4.0 * sigmoid_slope(twice);
    }
    return 8.0 * sigmoid_bend(twice);
}

// `ln(1 + exp(x))`
fn softplus(x: f32) -> f32 {
    return max(x, 0.0) + log_of_one_plus(exponential(-abs(x)));
}

fn silu(order: u32, x: f32) -> f32 {
    if order == 0u {
        return x * sigmoid(x);
    }
    if order == 1u {
        return sigmoid(x) + x * sigmoid_slope(x);
    }
    return sigmoid_slope(x) * (2.0 - x * half_tanh(x));
}

fn gelu(order: u32, x: f32) -> f32 {
    let u = near(x);
    let gauss = exponential(-0.5 * u * u);
    let density = 0.398942280 * gauss;
    if order == 2u {
        return density * (2.0 - u * u);
    }
    let tail = normal_tail(abs(u), gauss);
    let distribution = select(1.0 - tail, tail, u < 0.0);
    return select(distribution + u * density, x * distribution, order == 0u);
}

fn gelu_tanh(order: u32, x: f32) -> f32 {
    let u = near(x);
    // 2 sqrt(2 / pi) (u + 0.044715 u^3) and its derivatives: the function is x sigmoid of it.
    let scale = 1.595769122;
    let cubic = 0.0713548163;
    let inner = u * (scale + cubic * u * u);
    if order == 0u {
        return x * sigmoid(inner);
    }
    let slope = scale + 3.0 * cubic * u * u;
    if order == 1u {
        return sigmoid(inner) + u * sigmoid_slope(inner) * slope;
    }
    let bend = 6.0 * cubic * u;
    return sigmoid_slope(inner) * (2.0 * slope + u * (bend - half_tanh(inner) * slope * slope));
}

fn mish(order: u32, x: f32) -> f32 {
    // The gate is tanh(ln(1 + exp(x))), that is ((1 + exp(x))^2 - 1) / ((1 + exp(x))^2 + 1), here n / (n + h).
    let e = exponential(-abs(x));
    let below = x < 0.0;
    let n = select(1.0 + 2.0 * e, e * (e + 2.0), below);
    let h = select(2.0 * e * e, 2.0, below);
    let r = 1.0 / (n + h);
    let gate = n * r;
    if order == 0u {
        return x * gate;
    }
    // Its derivatives, as fractions in exp(-|x|).
    let rest = h * (n + n + h) * r * r;
    let s = select(1.0, e, below) / (1.0 + e);
    if order == 1u {
        return gate + x * (rest * s);
    }
    return 2.0 * rest * s + x * (rest * (sigmoid_slope(x) - 2.0 * gate * s * s));
}

fn erf_of_order(order: u32, x: f32) -> f32 {
    let u = near(x);
    if order == 0u {
        return error_function(u);
    }
    return select(-2.0 * u, 1.0, order == 1u) * 1.12837917 * exponential(-u * u);
}

fn logarithm_of_order(order: u32, x: f32) -> f32 {
    if order == 0u {
        return logarithm(x);
    }
    if x < 0.0 {
        return not_a_number(x);
    }
    return select(-(1.0 / x / x), 1.0 / x, order == 1u);
}

fn square_root(order: u32, x: f32) -> f32 {
    if x < 0.0 {
        return not_a_number(x);
    }
    let root = sqrt(x);
    return of_order(order, root, 0.5 / root, -0.25 / root / x);
}

// Small integer exponents, which are most, by products.
fn power_of_order(order: u32, exponent: f32, x: f32) -> f32 {
    let c = of_order(order, 1.0, exponent, exponent * (exponent - 1.0));
    let rest = exponent - f32(order);
    if c == 0.0 {
        return 0.0;
    }
    if rest == 0.0 {
        return c;
    }
    if rest == 1.0 {
        return c * x;
    }
    if rest == 2.0 {
        return c * x * x;
    }
    if rest == 3.0 {
        return c * x * x * x;
    }
    if rest == -1.0 {
        return c / x;
    }
    if rest == -2.0 {
        return c / x / x;
    }
    if rest == -3.0 {
        return c / x / x / x;
    }
    return c * power(x, rest);
}

// The derivative of the order (0: the value, 1 or 2) of the activation with the number `kind` of its variant.
fn activation_value(kind: u32, order: u32, p: vec4<f32>, x: f32) -> f32 {
    switch kind {
        // Relu
        case 0u: { return of_order(order, select(x, 0.0, x <= 0.0), step_at_zero(x, 0.0, 1.0), 0.0); }
        // LeakyRelu
        case 1u: { return of_order(order, select(x, p.x * x, x <= 0.0), step_at_zero(x, p.x, 1.0), 0.0); }
        // Clip
        case 2u: {
            let slope = select(1.0, 0.0, x <= p.x || x > p.y);
            return of_order(order, limited(x, p.x, p.y), slope, 0.0);
        }
        // Abs
        case 3u: { return of_order(order, abs(x), step_at_zero(x, -1.0, 1.0), 0.0); }
        case 4u: { return hard_sigmoid(order, p.x, p.y, x); }
        case 5u: { return hard_swish(order, x); }
        case 6u: { return softsign(order, x); }
        // Elu, Selu, Celu
        case 7u: { return exponential_unit(order, p.x, 1.0, 1.0, x); }
        case 8u: { return exponential_unit(order, p.y * p.x, 1.0, p.y, x); }
        case 9u: { return exponential_unit(order, p.x, p.x, 1.0, x); }
        case 10u: { return sigmoid_of_order(order, x); }
        case 11u: { return hyperbolic_tangent(order, x); }
        // Softplus, whose slope is the sigmoid.
        case 12u: {
            if order == 0u {
                return softplus(x);
            }
            return sigmoid_of_order(order - 1u, x);
        }
        case 13u: { return gelu(order, x); }
        case 14u: { return gelu_tanh(order, x); }
        case 15u: { return silu(order, x); }
        case 16u: { return mish(order, x); }
        case 17u: { return erf_of_order(order, x); }
        // Exp
        case 18u: { return exponential(x); }
        case 19u: { return logarithm_of_order(order, x); }
        case 20u: { return square_root(order, x); }
        case 21u: { return power_of_order(order, p.x, x); }
        // Sin, Cos
        case 22u: { return sine(x, order); }
        case 23u: { return sine(x, order + 1u); }
        default: { return x; }
    }
}
