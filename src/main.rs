//! The command line of Fenchel; see [`fenchel::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    fenchel::cli::main(std::env::args_os())
}
