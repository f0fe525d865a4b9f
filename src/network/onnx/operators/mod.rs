//! The operators that are imported, a file for each family as in the table they go into.

mod activation;
mod arithmetic;
mod constant;
mod convolution;
mod dense;
mod folding;
mod layout;
mod normalization;
mod pooling;
mod reduction;
mod resize;
mod select;
mod shapes;
mod windows;

use crate::engine::{Activation, Arithmetic};

use super::call::{Call, Step, unsupported};
use super::operand::Operand;

/// Imports a node of the default domain: its outputs.
pub(super) fn import(call: &mut Call<'_>) -> Step<Vec<Operand>> {
    let single = match call.operator() {
        "Split" => return select::split(call),
        "Gemm" => dense::gemm(call),
        "MatMul" => dense::matmul(call),
        "Conv" => convolution::conv(call),
        "ConvTranspose" => convolution::conv_transpose(call),
        "MaxPool" => pooling::max_pool(call),
        "AveragePool" => pooling::average_pool(call),
        "GlobalAveragePool" => reduction::global_pool(call, false),
        "GlobalMaxPool" => reduction::global_pool(call, true),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceProd" => reduction::reduce(call),
        "BatchNormalization" => normalization::batch_normalization(call),
        "LayerNormalization" => normalization::layer_normalization(call),
        "RMSNormalization" => normalization::rms_normalization(call),
        "InstanceNormalization" => normalization::instance_normalization(call),
        "GroupNormalization" => normalization::group_normalization(call),
        "MeanVarianceNormalization" => normalization::mean_variance_normalization(call),
        "LRN" => normalization::local_response_normalization(call),
        "Softmax" => activation::softmax(call, false),
        "LogSoftmax" => activation::softmax(call, true),
        "Add" => arithmetic::arithmetic(call, Arithmetic::Add),
        "Sub" => arithmetic::arithmetic(call, Arithmetic::Sub),
        "Mul" => arithmetic::arithmetic(call, Arithmetic::Mul),
        "Div" => arithmetic::arithmetic(call, Arithmetic::Div),
        "Sum" => arithmetic::variadic(call, Arithmetic::Add, false),
        "Mean" => arithmetic::variadic(call, Arithmetic::Add, true),
        "Min" => arithmetic::variadic(call, Arithmetic::Min, false),
        "Max" => arithmetic::variadic(call, Arithmetic::Max, false),
        "Where" => arithmetic::choice(call),
        "Concat" => layout::concat(call),
        "Pad" => layout::pad(call),
        "Transpose" => layout::transpose(call),
        "Expand" => layout::expand(call),
        "Tile" => layout::tile(call),
        "DepthToSpace" => layout::depth_and_space(call, true),
        "SpaceToDepth" => layout::depth_and_space(call, false),
        "Slice" => select::slice(call),
        "Gather" => select::gather(call),
        "GatherND" => select::gather_nd(call),
        "Resize" => resize::resize(call),
        "Upsample" => resize::upsample(call),
        "Reshape" => shapes::reshape(call),
        "Flatten" => shapes::flatten(call),
        "Squeeze" => shapes::squeeze(call),
        "Unsqueeze" => shapes::unsqueeze(call),
        "Shape" => shapes::shape(call),
        "Size" => shapes::size(call),
        "Identity" => constant::identity(call),
        "Dropout" => constant::dropout(call),
        "Cast" => folding::cast(call),
        "CastLike" => folding::cast_like(call),
        "Mod" => folding::remainder(call),
        "Range" => folding::range(call),
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => arithmetic::comparison(call),
        "And" | "Or" | "Xor" => folding::logic(call),
        "Not" => folding::not(call),
        "Floor" | "Ceil" | "Round" | "Sign" => folding::rounding(call),
        _ => function(call),
    };
    single.map(|output| vec![output])
}

/// Elementwise functions.
fn function(call: &mut Call<'_>) -> Step<Operand> {
    match call.operator() {
        "Relu" => activation::plain(call, Activation::Relu),
        "Sigmoid" => activation::plain(call, Activation::Sigmoid),
        "Tanh" => activation::plain(call, Activation::Tanh),
        "Softplus" => activation::plain(call, Activation::Softplus),
        "Softsign" => activation::plain(call, Activation::Softsign),
        "Abs" => activation::plain(call, Activation::Abs),
        "Exp" => activation::plain(call, Activation::Exp),
        "Log" => activation::plain(call, Activation::Log),
        "Sqrt" => activation::plain(call, Activation::Sqrt),
        "Sin" => activation::plain(call, Activation::Sin),
        "Cos" => activation::plain(call, Activation::Cos),
        "Erf" => activation::since(call, 9, Activation::Erf),
        "HardSwish" => activation::since(call, 14, Activation::HardSwish),
        "Mish" => activation::since(call, 18, Activation::Mish),
        "LeakyRelu" => activation::leaky_relu(call),
        "Elu" => activation::elu(call),
        "Selu" => activation::selu(call),
        "Celu" => activation::celu(call),
        "HardSigmoid" => activation::hard_sigmoid(call),
        "ThresholdedRelu" => activation::thresholded_relu(call),
        "PRelu" => activation::prelu(call),
        "Clip" => activation::clip(call),
        "Gelu" => activation::gelu(call),
        "Swish" => activation::swish(call),
        "Neg" => activation::negative(call),
        "Reciprocal" => activation::reciprocal(call),
        "Pow" => activation::power(call),
        _ => unsupported(""),
    }
}

pub(super) use activation::logits;
pub(super) use constant::constant;
pub(super) use folding::constant_of_shape;
