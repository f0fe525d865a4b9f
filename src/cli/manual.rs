//! `fenchel man` and `fenchel completions`: manual pages and shell completions, out of the definition of the command
//! line.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;

use crate::data::write_whole;
use crate::{Error, Result};

use super::command;
use super::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fenchel completions bash > ~/.local/share/bash-completion/completions/fenchel
  fenchel completions zsh > ~/.zfunc/_fenchel
  fenchel completions fish > ~/.config/fish/completions/fenchel.fish
  fenchel completions elvish > ~/.config/elvish/lib/fenchel.elv
  fenchel completions powershell > fenchel.ps1

Zsh looks in folders of its fpath: 'fpath+=~/.zfunc; autoload -U compinit; compinit' in ~/.zshrc. Elvish wants \
'use fenchel' in ~/.config/elvish/rc.elv, PowerShell '. fenchel.ps1' in its profile.")]
pub(super) struct Completions {
    /// The shell
    pub shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fenchel man -o ~/.local/share/man/man1
  man fenchel-fit

Writes fenchel.1 and a page for each verb, such as fenchel-fit.1. The folder is made where it is not there.")]
pub(super) struct Manual {
    /// The folder for the pages
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

pub(super) fn completions(session: &Session, arguments: &Completions) -> Result<()> {
    let mut script = vec![];
    clap_complete::generate(arguments.shell, &mut command(), "fenchel", &mut script);
    let script = String::from_utf8_lossy(&script);
    session.print(&json!({ "shell": arguments.shell.to_string(), "script": script }), || script.to_string())
}

pub(super) fn manual(session: &Session, arguments: &Manual) -> Result<()> {
    let folder = &arguments.output;
    std::fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    let mut program = command().disable_help_subcommand(true);
    program.build();
    let mut files = vec![];
    for page in std::iter::once(&program).chain(program.get_subcommands()) {
        let name = format!("{}.1", page.get_display_name().unwrap_or("fenchel"));
        let path = folder.join(&name);
        let mut text = vec![];
        write_page(page, &mut text).map_err(Error::io("write", Path::new(&path)))?;
        write_whole(&path, &text)?;
        files.push(name);
    }
    session.print(&json!({ "folder": folder, "files": files }), || {
        format!("{} manual pages in '{}'\n", files.len(), folder.display())
    })
}

/// One page: what clap knows, and the text behind the help, of which the first paragraph are examples.
fn write_page(page: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let version = page.get_version().unwrap_or(env!("CARGO_PKG_VERSION"));
    let man = Man::new(page.clone()).source(format!("fenchel {version}")).manual("Fenchel");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    let behind = page.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut paragraphs = behind.split("\n\n");
    let examples = paragraphs.next().unwrap_or_default();
    let mut notes = Roff::default();
    for paragraph in paragraphs {
        notes.control("PP", []).text([roman(paragraph)]);
    }
    notes.to_writer(out)?;
    man.render_options_section(out)?;
    if page.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    let mut end = Roff::default();
    end.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples.lines().skip(1) {
        end.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    end.control("fi", []);
    if !page.has_subcommands() {
        end.control("SH", ["SEE ALSO"]).text([bold("fenchel"), roman("(1)")]);
    }
    end.to_writer(out)
}
