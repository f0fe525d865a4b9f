//! Loops compiled for the vectors of the processor at hand.

use pulp::{Arch, NullaryFnOnce};

/// A closure that is called as the `FnMut` that it is.
struct Body<F>(F);

impl<R, F: FnMut() -> R> NullaryFnOnce for Body<F> {
    type Output = R;

    #[inline(always)]
    fn call(mut self) -> R {
        (self.0)()
    }
}

/// Runs `body`, an `#[inline(always)]` closure that changes something it captures, in a function that is compiled once
/// for each instruction set.
///
/// Given to [`Arch::dispatch`] itself, such a closure is called through its `call_once`, a function of its own that is
/// not inlined: its loops are then compiled for the least instruction set that the program allows (a quarter of a
/// ResNet's forward pass was spent in such loops).
pub(super) fn wide<R>(arch: Arch, body: impl FnMut() -> R) -> R {
    arch.dispatch(Body(body))
}
