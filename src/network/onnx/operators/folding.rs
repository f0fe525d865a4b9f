//! Operators on constants that the table has no place for: integers, truth values, shapes. Real numbers go through
//! the table's own operators.

use std::sync::Arc;

use ndarray::{ArrayViewD, IxDyn};

use crate::network::Constant;
use crate::network::onnx::call::{Call, Step, Stop, Value, unsupported};
use crate::network::onnx::decode::Element;
use crate::network::onnx::external::Weights;
use crate::network::onnx::operand::{LARGEST, Operand};
use crate::network::onnx::tensor::{Integer, Tensor};

/// A shape and the elements of a tensor.
type Array<'a, T> = (&'a [usize], &'a [T]);

/// The result of a function of two arrays, with broadcasting. `None` from the function means that it would compute
/// with the length of the batch, or that its result has too many digits.
fn zip<A: Copy, B: Copy, R>(
    call: &mut Call<'_>,
    a: Array<'_, A>,
    b: Array<'_, B>,
    f: impl Fn(A, B) -> Option<R>,
) -> Step<(Vec<usize>, Vec<R>)> {
    let shape = joined(call, a.0, b.0)?;
    let x = spread(a, &shape).ok_or_else(|| call.wrong("its inputs cannot be broadcast together"))?;
    let y = spread(b, &shape).ok_or_else(|| call.wrong("its inputs cannot be broadcast together"))?;
    let values: Option<Vec<R>> = x.into_iter().zip(y).map(|(x, y)| f(x, y)).collect();
    match values {
        Some(values) => Ok((shape, values)),
        None => unsupported(
            "it computes with the length of the batch, or its integers leave 64 bits; a batch may only be multiplied \
             by a number",
        ),
    }
}

/// The shape that two broadcast to, which must not be much larger than both.
fn joined(call: &mut Call<'_>, a: &[usize], b: &[usize]) -> Step<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let shape: Vec<usize> = (0..rank).map(|i| if at(a, i) == 1 { at(b, i) } else { at(a, i) }).collect();
    let count = crate::network::onnx::batch::product(&shape);
    let Some(count) = count.filter(|&count| count <= LARGEST) else {
        return unsupported(format!("its constant result of shape {shape:?} is too large"));
    };
    call.spent += count as u64;
    Ok(shape)
}

fn spread<T: Copy>((own, values): Array<'_, T>, shape: &[usize]) -> Option<Vec<T>> {
    let array = ArrayViewD::from_shape(IxDyn(own), values).ok()?;
    Some(array.broadcast(IxDyn(shape))?.iter().copied().collect())
}

fn int((shape, values): (Vec<usize>, Vec<Integer>)) -> Operand {
    Operand::from(Tensor::Int { shape, values: Arc::new(values) })
}

fn truth((shape, values): (Vec<usize>, Vec<bool>)) -> Operand {
    Operand::from(Tensor::Bool { shape, values: Arc::new(values) })
}

/// The inputs, where all of them are constants.
fn constants<'a>(call: &'a Call<'_>) -> Step<Option<Vec<&'a Tensor>>> {
    let mut tensors = vec![];
    for i in 0..call.count() {
        match call.value(i)? {
            Value::Constant(tensor) => tensors.push(tensor),
            _ => return Ok(None),
        }
    }
    Ok(Some(tensors))
}

/// Constant real numbers; integers are those too where an operator takes both.
pub(super) fn floats(call: &Call<'_>, tensor: &Tensor, input: usize) -> Step<Constant> {
    match tensor {
        Tensor::Float(constant) if !constant.is_empty() => Ok(constant.clone()),
        Tensor::Int { shape, values } if !values.is_empty() => {
            let known = |value: &Integer| match value {
                Integer::Known(value) => Some(*value as f64),
                Integer::Batch(_) => None,
            };
            match values.iter().map(known).collect() {
                Some(values) => call.checked(Constant::f64(shape.clone(), values)),
                None => unsupported("it computes with the length of the batch"),
            }
        }
        other => {
            let (name, kind) = (call.name(input), other.kind());
            Err(call.wrong(format_args!("its input '{name}' holds {kind}")))
        }
    }
}

/// Elementwise arithmetic of constant integers; `None` where the inputs are something else.
pub(super) fn integers(call: &mut Call<'_>) -> Step<Option<Operand>> {
    type Integers = (Vec<usize>, Arc<Vec<Integer>>);
    let arrays: Option<Vec<Integers>> = match constants(call)? {
        Some(tensors) => tensors
            .into_iter()
            .map(|tensor| match tensor {
                Tensor::Int { shape, values } => Some((shape.clone(), values.clone())),
                _ => None,
            })
            .collect(),
        None => None,
    };
    let Some(mut arrays) = arrays.filter(|arrays| !arrays.is_empty()) else { return Ok(None) };
    let f: fn(Integer, Integer) -> Option<Integer> = match call.operator() {
        "Add" | "Sum" => add,
        "Sub" => subtract,
        "Mul" => multiply,
        "Div" => divide,
        "Mod" => modulo,
        "Min" => |a, b| known(a, b, |a, b| Some(a.min(b))),
        "Max" => |a, b| known(a, b, |a, b| Some(a.max(b))),
        _ => return unsupported("of integers"),
    };
    let (mut shape, first) = arrays.remove(0);
    let mut values = first.to_vec();
    for (other, more) in arrays {
        (shape, values) = zip(call, (&shape, &values), (&other, &more), f)?;
    }
    Ok(Some(int((shape, values))))
}

fn known(a: Integer, b: Integer, f: impl Fn(i64, i64) -> Option<i64>) -> Option<Integer> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) => f(a, b).map(Integer::Known),
        _ if a == b => f(1, 1).filter(|&one| one == 1).map(|_| a),
        _ => None,
    }
}

fn add(a: Integer, b: Integer) -> Option<Integer> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) => a.checked_add(b).map(Integer::Known),
        (Integer::Batch(a), Integer::Batch(b)) => a.checked_add(b).map(Integer::Batch),
        (batch, Integer::Known(0)) | (Integer::Known(0), batch) => Some(batch),
        _ => None,
    }
}

fn subtract(a: Integer, b: Integer) -> Option<Integer> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) => a.checked_sub(b).map(Integer::Known),
        (Integer::Batch(a), Integer::Batch(b)) if a == b => Some(Integer::Known(0)),
        (batch, Integer::Known(0)) => Some(batch),
        _ => None,
    }
}

fn multiply(a: Integer, b: Integer) -> Option<Integer> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) => a.checked_mul(b).map(Integer::Known),
        (Integer::Batch(factor), Integer::Known(times)) | (Integer::Known(times), Integer::Batch(factor))
            if times > 0 =>
        {
            factor.checked_mul(times).map(Integer::Batch)
        }
        _ => None,
    }
}

/// Towards 0, as in C.
fn divide(a: Integer, b: Integer) -> Option<Integer> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) => a.checked_div(b).map(Integer::Known),
        (Integer::Batch(a), Integer::Batch(b)) if b > 0 && a % b == 0 => Some(Integer::Known(a / b)),
        (Integer::Batch(a), Integer::Known(b)) if b > 0 && a % b == 0 => Some(Integer::Batch(a / b)),
        _ => None,
    }
}

/// With the sign of the divisor, as in Python.
fn modulo(a: Integer, b: Integer) -> Option<Integer> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) => {
            let rest = a.checked_rem(b)?;
            Some(Integer::Known(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        (Integer::Batch(a), Integer::Known(b)) if b > 0 && a % b == 0 => Some(Integer::Known(0)),
        _ => None,
    }
}

/// Minus constant integers; `None` where the input is something else.
pub(super) fn negative(call: &Call<'_>) -> Step<Option<Operand>> {
    let Value::Constant(Tensor::Int { shape, values }) = call.value(0)? else { return Ok(None) };
    let minus = |value: &Integer| match value {
        Integer::Known(value) => value.checked_neg().map(Integer::Known),
        Integer::Batch(_) => None,
    };
    match values.iter().map(minus).collect() {
        Some(values) => Ok(Some(int((shape.clone(), values)))),
        None => unsupported("it computes with the length of the batch, or its integers leave 64 bits"),
    }
}

/// Mod of integers.
pub(super) fn remainder(call: &mut Call<'_>) -> Step<Operand> {
    let truncated = call.flag("fmod")?;
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    if truncated {
        return unsupported("fmod=1");
    }
    integers(call)?.map_or_else(|| unsupported("of anything but constant integers"), Ok)
}

/// Comparisons of constants; `None` where an input is computed.
pub(super) fn comparison(call: &mut Call<'_>) -> Step<Option<Operand>> {
    let (a, b) = match constants(call)?.as_deref() {
        Some([a, b]) => ((*a).clone(), (*b).clone()),
        _ => return Ok(None),
    };
    let operator = call.operator();
    let by_order = move |order: std::cmp::Ordering| match operator {
        "Equal" => order.is_eq(),
        "Greater" => order.is_gt(),
        "GreaterOrEqual" => order.is_ge(),
        "Less" => order.is_lt(),
        _ => order.is_le(),
    };
    let result = match (&a, &b) {
        (Tensor::Int { shape: a, values: x }, Tensor::Int { shape: b, values: y }) => {
            zip(call, (a, x), (b, y), |x, y| ordering(x, y).map(by_order))?
        }
        (Tensor::Bool { shape: a, values: x }, Tensor::Bool { shape: b, values: y }) => {
            zip(call, (a, x), (b, y), |x, y| Some(by_order(x.cmp(&y))))?
        }
        (Tensor::Float(x), Tensor::Float(y)) => {
            let (left, right) = (x.to::<f64>(), y.to::<f64>());
            zip(call, (x.shape(), &left), (y.shape(), &right), |x, y| x.partial_cmp(&y).map(by_order))?
        }
        _ => return unsupported(format!("it compares {} with {}", a.kind(), b.kind())),
    };
    Ok(Some(truth(result)))
}

/// The order of two integers, where it is the same for all batches.
fn ordering(a: Integer, b: Integer) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Integer::Known(a), Integer::Known(b)) | (Integer::Batch(a), Integer::Batch(b)) => Some(a.cmp(&b)),
        (Integer::Batch(factor), Integer::Known(value)) if value < factor => {
            Some(std::cmp::Ordering::Greater)
        }
        (Integer::Known(value), Integer::Batch(factor)) if value < factor => Some(std::cmp::Ordering::Less),
        _ => None,
    }
}

/// Both inputs, which must be constants.
fn pair(call: &Call<'_>, reason: &str) -> Step<(Tensor, Tensor)> {
    match constants(call)?.as_deref() {
        Some([a, b]) => Ok(((*a).clone(), (*b).clone())),
        _ => unsupported(reason),
    }
}

/// And, Or and Xor.
pub(super) fn logic(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let operator = call.operator();
    match pair(call, "of computed values")? {
        (Tensor::Bool { shape: a, values: x }, Tensor::Bool { shape: b, values: y }) => {
            let f = move |x: bool, y: bool| match operator {
                "And" => x && y,
                "Or" => x || y,
                _ => x != y,
            };
            Ok(truth(zip(call, (&a, &x), (&b, &y), |x, y| Some(f(x, y)))?))
        }
        (a, b) => unsupported(format!("of {} and {}", a.kind(), b.kind())),
    }
}

pub(super) fn not(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    match call.constant(0, "input")? {
        Tensor::Bool { shape, values } => {
            Ok(truth((shape.clone(), values.iter().map(|value| !value).collect())))
        }
        other => unsupported(format!("of {}", other.kind())),
    }
}

/// `condition ? a : b` of constants; `None` where something is computed or all are real numbers.
pub(super) fn choice(call: &mut Call<'_>) -> Step<Option<Operand>> {
    let (condition, a, b) = match constants(call)?.as_deref() {
        Some([condition, a, b]) => ((*condition).clone(), (*a).clone(), (*b).clone()),
        _ => return Ok(None),
    };
    let Tensor::Bool { shape, values } = condition else {
        return Err(call.wrong("its condition holds no truth values"));
    };
    fn chosen<T: Copy>(
        call: &mut Call<'_>,
        condition: Array<'_, bool>,
        a: Array<'_, T>,
        b: Array<'_, T>,
    ) -> Step<(Vec<usize>, Vec<T>)> {
        let (shape, pairs) = zip(call, a, b, |a, b| Some((a, b)))?;
        zip(call, condition, (&shape, &pairs), |first, (a, b)| Some(if first { a } else { b }))
    }
    Ok(match (a, b) {
        (Tensor::Int { shape: a, values: x }, Tensor::Int { shape: b, values: y }) => {
            Some(int(chosen(call, (&shape, &values), (&a, &x), (&b, &y))?))
        }
        (Tensor::Bool { shape: a, values: x }, Tensor::Bool { shape: b, values: y }) => {
            Some(truth(chosen(call, (&shape, &values), (&a, &x), (&b, &y))?))
        }
        _ => None,
    })
}

/// Floor, Ceil, Round (halves to even) and Sign of constants.
pub(super) fn rounding(call: &mut Call<'_>) -> Step<Operand> {
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    let f: fn(f64) -> f64 = match call.operator() {
        "Floor" => f64::floor,
        "Ceil" => f64::ceil,
        "Round" => f64::round_ties_even,
        _ => |x| if x == 0.0 { 0.0 } else { x.signum() },
    };
    let constant = call.weights(0, "input")?;
    let rounded = call.checked(constant.map(|_, value| f(value)))?;
    call.spent += rounded.len() as u64;
    Ok(Operand::from(Tensor::Float(rounded)))
}

/// A sequence of integers.
pub(super) fn range(call: &mut Call<'_>) -> Step<Operand> {
    if call.setting.opset >= 27 {
        call.int("stash_type")?;
    }
    call.no_more_attributes()?;
    call.arity(3..=3)?;
    let mut numbers = [0; 3];
    for (i, number) in numbers.iter_mut().enumerate() {
        match call.constant(i, "limit")? {
            Tensor::Int { .. } => {}
            other => return unsupported(format!("of {}; only integers are supported", other.kind())),
        }
        match call.integers(i, "limit")?[..] {
            [value] => *number = value,
            _ => return Err(call.wrong("its limits are not one number each")),
        }
    }
    let [start, limit, step] = numbers.map(i128::from);
    if step == 0 {
        return Err(call.wrong("its step is 0"));
    }
    let (span, width) = if step > 0 { (limit - start, step) } else { (start - limit, -step) };
    let count = (span + width - 1).div_euclid(width).max(0);
    if count > LARGEST as i128 {
        return unsupported(format!("it makes {count} numbers"));
    }
    call.spent += count as u64;
    Ok(Operand::from(Tensor::ints((0..count).map(|i| (start + i * step) as i64))))
}

/// A constant of one value, possibly as large as the batch.
pub(in crate::network::onnx) fn constant_of_shape(
    call: &mut Call<'_>,
    weights: &mut Weights<'_>,
) -> Step<Operand> {
    let value = match call.tensor("value")? {
        Some(tensor) => Tensor::read(tensor, call.label(), weights)?,
        None => Tensor::Float(call.checked(Constant::f32([1], vec![0.0]))?),
    };
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    if value.len() != 1 {
        return Err(call.wrong("its value is not one number"));
    }
    let value = call.checked(value.reshaped(vec![]))?;
    let target = call.lengths(0, "shape")?.to_vec();
    super::layout::expanded(call, Operand::from(value), &target)
}

/// A conversion; of a computed value only between floating-point types, which changes nothing but rounding.
pub(super) fn cast(call: &mut Call<'_>) -> Step<Operand> {
    let to = call.int("to")?.and_then(|to| i32::try_from(to).ok());
    let to = Element::of(to.ok_or_else(|| call.wrong("it names no type to convert to"))?);
    if call.setting.opset >= 19 {
        call.int("saturate")?;
    }
    if call.setting.opset >= 24 {
        call.string("round_mode")?;
    }
    call.no_more_attributes()?;
    call.arity(1..=1)?;
    converted(call, to)
}

/// As Cast, to the type of the second input.
pub(super) fn cast_like(call: &mut Call<'_>) -> Step<Operand> {
    super::activation::exists_since(call, 15)?;
    if call.setting.opset >= 19 {
        call.int("saturate")?;
    }
    if call.setting.opset >= 24 {
        call.string("round_mode")?;
    }
    call.no_more_attributes()?;
    call.arity(2..=2)?;
    let to = match call.value(1)? {
        Value::Constant(Tensor::Float(constant)) if !constant.is_f32() => Element::F64,
        Value::Constant(Tensor::Int { .. }) => Element::I64,
        Value::Constant(Tensor::Bool { .. }) => Element::Bool,
        _ => Element::F32,
    };
    converted(call, to)
}

fn converted(call: &mut Call<'_>, to: Element) -> Step<Operand> {
    let tensor = match call.value(0)? {
        Value::Constant(tensor) => tensor.clone(),
        _ if matches!(to, Element::F32 | Element::F64) => return call.operand(0),
        _ => return unsupported(format!("it converts computed values to {}", to.name())),
    };
    call.spent += tensor.len() as u64;
    let shape = tensor.shape().to_vec();
    let refused = || Stop::Unsupported(format!("it converts {} to {}", tensor.kind(), to.name()));
    let result = match (&tensor, to) {
        (Tensor::Infinite(_), Element::F32 | Element::F64) => Ok(tensor.clone()),
        (Tensor::Float(constant), Element::F32) => Tensor::f32(shape, constant.to()),
        (Tensor::Float(constant), Element::F64) => Tensor::f64(shape, constant.to()),
        (Tensor::Float(constant), Element::I32 | Element::I64) => {
            // Beyond 2^53 not every integer is a number of f64.
            let whole = |value: f64| (value.abs() < 9.0e15).then_some(Integer::Known(value as i64));
            let values: Option<Vec<Integer>> = constant.to::<f64>().into_iter().map(whole).collect();
            Ok(Tensor::Int { shape, values: Arc::new(values.ok_or_else(refused)?) })
        }
        (Tensor::Float(constant), Element::Bool) => {
            let values = constant.to::<f64>().into_iter().map(|value| value != 0.0).collect();
            Ok(Tensor::Bool { shape, values: Arc::new(values) })
        }
        (Tensor::Int { values, .. }, Element::F32 | Element::F64) => {
            let real = |value: &Integer| match value {
                Integer::Known(value) => Some(*value as f64),
                Integer::Batch(_) => None,
            };
            let values: Option<Vec<f64>> = values.iter().map(real).collect();
            let values = values.ok_or_else(|| {
                Stop::Unsupported("it makes a real number of the length of the batch".to_owned())
            })?;
            Tensor::f64(shape, values)
        }
        (Tensor::Int { .. }, Element::I32 | Element::I64) => Ok(tensor.clone()),
        (Tensor::Int { values, .. }, Element::Bool) => {
            let values = values.iter().map(|&value| value != Integer::Known(0)).collect();
            Ok(Tensor::Bool { shape, values: Arc::new(values) })
        }
        (Tensor::Bool { values, .. }, Element::I32 | Element::I64) => {
            let values = values.iter().map(|&value| Integer::Known(i64::from(value))).collect();
            Ok(Tensor::Int { shape, values: Arc::new(values) })
        }
        (Tensor::Bool { values, .. }, Element::F32 | Element::F64) => {
            Tensor::f64(shape, values.iter().map(|&value| f64::from(u8::from(value))).collect())
        }
        (Tensor::Bool { .. }, Element::Bool) => Ok(tensor.clone()),
        _ => return Err(refused()),
    };
    result.map(Operand::from).map_err(|reason| call.wrong(format_args!("its result {reason}")))
}

/// A product, sum or limit of all constant integers (in shapes: the number of elements); `None` where the input is
/// something else.
pub(super) fn reduced(call: &mut Call<'_>, axes: &[usize], keep: bool) -> Step<Option<Operand>> {
    let (shape, values) = match call.value(0)? {
        Value::Constant(Tensor::Int { shape, values }) => (shape.clone(), values.clone()),
        _ => return Ok(None),
    };
    let f: fn(Integer, Integer) -> Option<Integer> = match call.operator() {
        "ReduceProd" => multiply,
        "ReduceSum" => add,
        "ReduceMin" => |a, b| known(a, b, |a, b| Some(a.min(b))),
        "ReduceMax" => |a, b| known(a, b, |a, b| Some(a.max(b))),
        _ => return unsupported("of integers"),
    };
    if axes.len() != shape.len() || values.is_empty() {
        return unsupported("of integers, but not over all axes");
    }
    let total = values[1..].iter().try_fold(values[0], |a, &b| f(a, b));
    let total =
        total.ok_or_else(|| Stop::Unsupported("it computes with the length of the batch".to_owned()))?;
    let shape = if keep { vec![1; shape.len()] } else { vec![] };
    Ok(Some(int((shape, vec![total]))))
}
