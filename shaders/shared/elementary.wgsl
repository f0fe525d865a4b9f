// Elementary functions to a few units in the last place, where the built-in ones may be far off. The fma() mark where
// no product may be reassociated; a device that rounds them twice does no harm.

// ln 2 in two parts, the first so short that its product with an exponent is exact (Cody & Waite 1980).
const LN_2_HIGH: f32 = 0.693359375;
const LN_2_LOW: f32 = -2.12194440e-4;

// `x` brought into `[low, high]`; NaN passes.
fn limited(x: f32, low: f32, high: f32) -> f32 {
    let above = select(x, low, x < low);
    return select(above, high, above > high);
}

// `x` to 12 bits, so that the product of two such numbers is exact.
fn shortened(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// `2^k` for `k` in -126 to 127.
fn power_of_two(k: i32) -> f32 {
    return bitcast<f32>(u32(k + 127) << 23u);
}

// `x 2^k` in two steps, since `2^k` alone may leave the range where the product does not.
fn scaled(x: f32, k: i32) -> f32 {
    let half = k >> 1u;
    return x * power_of_two(half) * power_of_two(k - half);
}

// `exp(high + low) = 2^k (1 + p)` with `|ln(1 + p)| <= ln(2) / 2`, where `low` is small.
struct Exponential {
    k: i32,
    p: f32,
}

fn exponential_parts(high: f32, low: f32) -> Exponential {
    let x = limited(high, -104.0, 89.0);
    let k = round(x * 1.44269504);
    let r = fma(-k, LN_2_LOW, fma(-k, LN_2_HIGH, x)) + low;
    // The series of exp: the first term left out is below 6e-9 of the sum.
    var q = r * (1.0 / 5040.0) + 1.0 / 720.0;
    q = r * q + 1.0 / 120.0;
    q = r * q + 1.0 / 24.0;
    q = r * q + 1.0 / 6.0;
    q = r * q + 0.5;
    return Exponential(i32(k), r + r * r * q);
}

// `exp(x)`
fn exponential(x: f32) -> f32 {
    let e = exponential_parts(x, 0.0);
    return scaled(1.0 + e.p, e.k);
}

// `exp(x) - 1`, with all digits near 0.
fn exponential_less_one(x: f32) -> f32 {
    let e = exponential_parts(x, 0.0);
    if x > 1.0 {
        return scaled(1.0 + e.p, e.k) - 1.0;
    }
    let scale = scaled(1.0, e.k);
    return scale * e.p + (scale - 1.0);
}

// The series of `artanh(s) / s - 1` over `s^2`, for `|s| <= 1/3`, given `z = s^2`.
fn artanh_series(z: f32) -> f32 {
    var q = z * (1.0 / 15.0) + 1.0 / 13.0;
    q = z * q + 1.0 / 11.0;
    q = z * q + 1.0 / 9.0;
    q = z * q + 1.0 / 7.0;
    q = z * q + 1.0 / 5.0;
    return z * q + 1.0 / 3.0;
}

// `ln(1 + x)` for `x` in `[0, 1]`.
fn log_of_one_plus(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let z = s * s;
    return 2.0 * (s + s * z * artanh_series(z));
}

// `ln` of the positive number with these bits, as a number of 12 bits and a small rest: 35 bits in all.
fn logarithm_parts(bits: u32) -> vec2<f32> {
    // Below the normal numbers the bits are a multiple of 2^-149; a device may take the number itself for 0.
    let tiny = bits < 0x00800000u;
    let shifted = select(bits, bitcast<u32>(f32(bits)), tiny) + 0x004afb0du;
    // 2^k m, with m from sqrt(1/2) to sqrt(2).
    let k = f32(i32(shifted >> 23u) - select(127, 276, tiny));
    let m = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u);
    // ln(m) = 2 artanh(s), s = (m - 1) / (m + 1) in two parts.
    let above = m - 1.0;
    let below = m + 1.0;
    let s = above / below;
    let s_high = shortened(s);
    let below_high = shortened(below);
    let below_low = m - (below_high - 1.0);
    let s_low = fma(-s_high, below_low, fma(-s_high, below_high, above)) / below;
    let z = s * s;
    let rest = 2.0 * (s_low + s * z * artanh_series(z)) + k * LN_2_LOW;
    let high = shortened(k * LN_2_HIGH + 2.0 * s_high + rest);
    return vec2<f32>(high, fma(2.0, s_high, fma(k, LN_2_HIGH, -high)) + rest);
}

// NaN, made at run time since WGSL has no constant of it.
fn not_a_number(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) | 0x7fc00000u);
}

// `ln(x)`: minus infinity at 0, NaN below.
fn logarithm(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    if (bits << 1u) == 0u {
        return bitcast<f32>(bits | 0xff800000u);
    }
    if bits >= 0x7f800000u {
        return select(not_a_number(x), x, bits == 0x7f800000u);
    }
    let parts = logarithm_parts(bits);
    return parts.x + parts.y;
}

// `x^exponent`, NaN where `x` is negative and the exponent no integer.
fn power(x: f32, exponent: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let size = bits & 0x7fffffffu;
    if size == 0u {
        return select(0.0, bitcast<f32>(size | 0x7f800000u), exponent < 0.0);
    }
    if size > 0x7f800000u {
        return x;
    }
    var sign = 1.0;
    if bits != size {
        if exponent != floor(exponent) {
            return not_a_number(x);
        }
        sign = select(1.0, -1.0, 0.5 * exponent != floor(0.5 * exponent));
    }
    // The exponent of exp is needed to 7 digits after the point, so it is a sum of two.
    let ln = logarithm_parts(size);
    let exponent_high = shortened(exponent);
    let low = (exponent - exponent_high) * ln.x + exponent * ln.y;
    let e = exponential_parts(exponent_high * ln.x, limited(low, -0.25, 0.25));
    return sign * scaled(1.0 + e.p, e.k);
}

// `sin(x + quarter pi / 2)`, to 1e-7 for `|x| <= 1e5`; farther out the number of quarter turns is too long for its
// products to be exact, and the result is only sure to lie in `[-1, 1]`.
fn sine(x: f32, quarter: u32) -> f32 {
    let n = round(x * 0.636619772);
    // pi / 2 in parts of 8 bits and a rest (Cody & Waite 1980).
    var r = fma(-n, 1.5703125, x);
    r = fma(-n, 0.000484466552734375, r);
    r = fma(-n, -6.4074993133544921875e-7, r);
    r = limited(fma(-n, 9.92093629470502946787746623158e-10, r), -0.8, 0.8);
    let z = r * r;
    // The polynomials of Cephes (Moshier 1992).
    let sin_r = r + r * z * ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1);
    let q = (2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2;
    let cos_r = 1.0 - 0.5 * z + z * z * q;
    let turns = u32(i32(n)) + quarter;
    let y = select(sin_r, cos_r, (turns & 1u) == 1u);
    return select(y, -y, (turns & 2u) == 2u);
}

// `1 - Phi(x)` for `x >= 0`, with all digits in the tail, given `gauss = exp(-x^2 / 2)`: that times `t P(t)` with
// `t = 1 / (1 + x / 4)`, where `P` has the least relative error (1e-8) over `x` in `[0, 15]`, by Remez exchange.
fn normal_tail(x: f32, gauss: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.25 * x);
    var p = 0.017177036 * t - 0.0661184;
    p = p * t + 0.059691206;
    p = p * t + 0.017387282;
    p = p * t + 0.022210976;
    p = p * t + 0.081368595;
    p = p * t + 0.0739023;
    p = p * t + 0.09508968;
    p = p * t + 0.099546336;
    p = p * t + 0.09974499;
    return gauss * t * p;
}

// `erf(x)` for `|x| <= 1e18`.
fn error_function(x: f32) -> f32 {
    let z = x * x;
    if abs(x) < 0.5 {
        // The series: the first term left out is below 3e-8 of the sum.
        var q = z * (1.0 / 9360.0) - 1.0 / 1320.0;
        q = z * q + 1.0 / 216.0;
        q = z * q - 1.0 / 42.0;
        q = z * q + 1.0 / 10.0;
        q = z * q - 1.0 / 3.0;
        return 1.12837917 * (x + x * z * q);
    }
    let far = 1.0 - 2.0 * normal_tail(1.41421356 * abs(x), exponential(-z));
    return select(far, -far, x < 0.0);
}
