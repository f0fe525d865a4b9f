//! The command line: arguments, progress, tables, exit codes.
//!
//! Exit codes: 0 done, 1 the job failed, 2 wrong usage.

mod args;
mod backstop;
mod bench;
mod bench_kernels;
mod bench_network;
mod conjugate;
mod demo;
mod demo_pictures;
mod devices;
mod difference;
mod distance;
mod eval;
mod fit;
mod inspect;
mod layer_choice;
mod layers;
mod legendre;
mod manual;
mod operators;
mod partition;
mod picture;
mod pieces;
mod plane;
mod polynomial;
mod progress;
mod recipe;
mod reduce;
mod regions;
mod regions_of_points;
mod render;
mod report;
mod run;
mod sample;
mod session;
mod sheet;
mod similarity;
mod similarity_metrics;
mod sweep;
mod templates;
mod what;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::{Error, Result};

use args::{Arguments, Verb};
use backstop::Backstop;
use session::Session;

/// Runs the command line and reports errors on standard error, one line each.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let typed: Vec<OsString> = arguments.into_iter().collect();
    let arguments = match Arguments::try_parse_from(&typed) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows. A closed pipe is none either.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(arguments, command_line(&typed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(if matches!(error, Error::Argument(_)) { 2 } else { 1 })
        }
    }
}

/// The definition of the command line: verbs, options, help.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// What was typed, as a shell would read it; the program by its name alone.
fn command_line(typed: &[OsString]) -> String {
    let words = typed.iter().skip(1).map(|word| quoted(word));
    std::iter::once("fenchel".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell would read it.
fn quoted(word: &OsStr) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    let word = word.to_string_lossy();
    let is_plain = !word.is_empty() && word.chars().all(plain);
    if is_plain { word.into_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn dispatch(arguments: Arguments, command: String) -> Result<()> {
    let session = Session::new(&arguments.globals, command)?;
    let backstop = Backstop::start(session.cancellation.clone());
    let result = perform(&session, arguments.verb);
    backstop.call_off();
    result
}

fn perform(session: &Session, verb: Verb) -> Result<()> {
    match verb {
        Verb::Demo => demo::demo(session),
        Verb::Run(arguments) => run::run(session, &arguments),
        Verb::Fit(arguments) => fit::fit(session, &arguments),
        Verb::Eval(arguments) => eval::eval(session, &arguments),
        Verb::Pieces(arguments) => pieces::pieces(session, &arguments),
        Verb::Sweep(arguments) => sweep::sweep(session, &arguments),
        Verb::Conjugate(arguments) => conjugate::conjugate(session, &arguments),
        Verb::Sample(arguments) => sample::sample(session, &arguments),
        Verb::Legendre(arguments) => legendre::legendre(session, &arguments),
        Verb::Difference(arguments) => difference::difference(session, &arguments),
        Verb::Operators(arguments) => operators::operators(session, &arguments),
        Verb::Templates(arguments) => templates::templates(session, &arguments),
        Verb::Distance(arguments) => distance::distance(session, &arguments),
        Verb::Layers(arguments) => layers::layers(session, &arguments),
        Verb::Partition(arguments) => partition::partition(session, &arguments),
        Verb::Regions(arguments) => regions::regions(session, &arguments),
        Verb::Plane(arguments) => plane::plane(session, &arguments),
        Verb::Render(arguments) => render::render(session, &arguments),
        Verb::Sheet(arguments) => sheet::sheet(session, &arguments),
        Verb::Reduce(arguments) => reduce::reduce(session, &arguments),
        Verb::Compare(arguments) => reduce::compare(session, &arguments),
        Verb::Polynomial(arguments) => polynomial::polynomial(session, &arguments),
        Verb::Similarity(arguments) => similarity::similarity(session, &arguments),
        Verb::Report(arguments) => report::report(session, &arguments),
        Verb::Inspect(arguments) => inspect::inspect(session, &arguments),
        Verb::Bench(arguments) => bench::bench(session, &arguments),
        Verb::Devices => devices::devices(session),
        Verb::Completions(arguments) => manual::completions(session, &arguments),
        Verb::Man(arguments) => manual::manual(session, &arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_typed_again() {
        let typed = ["/usr/bin/fenchel", "run", "a b.onnx", "--scale", "0.5", "it's", ""].map(OsString::from);
        assert_eq!(command_line(&typed), r"fenchel run 'a b.onnx' --scale 0.5 'it'\''s' ''");
    }
}
