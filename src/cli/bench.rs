//! `fenchel bench`: kernels on every device, or the passes of a network on one.

use crate::{Error, Result};

use super::session::Session;
use super::{args, bench_kernels, bench_network};

pub(super) fn bench(session: &Session, arguments: &args::Bench) -> Result<()> {
    if arguments.repeats == 0 || arguments.samples == 0 {
        return Err(Error::Argument("there must be a sample and a repetition".to_owned()));
    }
    match &arguments.model {
        Some(model) => {
            let model = args::Model { model: model.clone(), part: arguments.part.clone() };
            bench_network::bench(session, arguments, &model)
        }
        None => bench_kernels::bench(session, arguments),
    }
}
