//! The command line of Fenchel; see [`fenchel::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: no other thread runs yet.
    #[allow(
        unsafe_code,
        reason = "Mesa's layer that chooses adapters for desktops complains where there is none"
    )]
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
    fenchel::cli::main(std::env::args_os())
}
