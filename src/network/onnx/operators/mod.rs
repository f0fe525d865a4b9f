//! The operators that are imported, a file for each family as in the table they go into.

mod activation;
mod arithmetic;
mod constant;
mod dense;
mod layout;
mod shapes;
mod windows;

use crate::engine::Activation;

use super::call::{Call, Step, Value, unsupported};

/// Imports a node of the default domain.
pub(super) fn import(call: &mut Call<'_>) -> Step<Value> {
    match call.operator() {
        "Gemm" => dense::gemm(call),
        "MatMul" => dense::matmul(call),
        "BatchNormalization" => dense::batch_normalization(call),
        "Conv" => windows::conv(call),
        "MaxPool" => windows::max_pool(call),
        "AveragePool" => windows::average_pool(call),
        "GlobalAveragePool" => windows::global_average_pool(call),
        "Relu" => activation::plain(call, Activation::Relu),
        "Sigmoid" => activation::plain(call, Activation::Sigmoid),
        "Tanh" => activation::plain(call, Activation::Tanh),
        "Softplus" => activation::plain(call, Activation::Softplus),
        "LeakyRelu" => activation::leaky_relu(call),
        "Clip" => activation::clip(call),
        "Gelu" => activation::gelu(call),
        "Add" | "Sub" | "Mul" | "Div" => arithmetic::arithmetic(call),
        "Concat" => layout::concat(call),
        "Pad" => layout::pad(call),
        "Transpose" => layout::transpose(call),
        "Reshape" => shapes::reshape(call),
        "Flatten" => shapes::flatten(call),
        "Squeeze" => shapes::squeeze(call),
        "Unsqueeze" => shapes::unsqueeze(call),
        "Identity" => constant::identity(call),
        "Dropout" => constant::dropout(call),
        "Cast" => constant::cast(call),
        _ => unsupported(""),
    }
}

pub(super) use activation::softmax;
pub(super) use constant::constant;
