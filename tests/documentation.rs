//! What the guides, the help, the manual pages and the completions say is there: every command in them parses, every
//! link leads somewhere, every verb has its guide.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::error::ErrorKind;

/// The README and all pages of `docs/`.
fn pages() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(common::root().join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    paths.push(common::root().join("README.md"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The verbs, without clap's own `help`.
fn verbs() -> Vec<clap::Command> {
    let mut command = fenchel::cli::command().disable_help_subcommand(true);
    command.build();
    command.get_subcommands().cloned().collect()
}

/// A page of Markdown: lines of code, joined where they go on, and the rest.
fn split(page: &str) -> (Vec<String>, String) {
    let (mut code, mut text) = (vec![], String::new());
    let (mut fenced, mut goes_on) = (false, false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            (fenced, goes_on) = (!fenced, false);
        } else if fenced || line.starts_with("    ") {
            let (part, more) = match line.trim().strip_suffix('\\') {
                Some(part) => (part, true),
                None => (line.trim(), false),
            };
            match code.last_mut() {
                Some(last) if goes_on => *last = format!("{last}{part}"),
                _ => code.push(part.to_owned()),
            }
            goes_on = more;
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    (code, text)
}

/// The words of a line as a shell would read them, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (vec![], None::<String>, None);
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' => words.extend(word.take()),
            None if word.is_none() && "#|>".contains(c) => break,
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The arguments of a line that calls the program, if it does.
fn call(line: &str) -> Option<Vec<String>> {
    let words = words(line);
    let behind = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fenchel", ..] => 1,
        ["cargo", "run", "--release", "--", ..] => 4,
        _ => return None,
    };
    Some(std::iter::once("fenchel".to_owned()).chain(words[behind..].to_vec()).collect())
}

/// Why clap would not take these arguments.
fn refusal(arguments: &[String]) -> Option<String> {
    let error = fenchel::cli::command().try_get_matches_from(arguments).err()?;
    let shown = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
    (!shown.contains(&error.kind())).then(|| format!("{}\n{error}", arguments.join(" ")))
}

/// Long options of a verb, or of any.
fn options(verb: Option<&str>) -> BTreeSet<String> {
    let verbs = verbs().into_iter().filter(|found| verb.is_none_or(|verb| verb == found.get_name()));
    let names = verbs.flat_map(|verb| {
        let arguments = verb.get_arguments().filter_map(|a| a.get_long_and_visible_aliases());
        arguments.flatten().map(str::to_owned).collect::<Vec<_>>()
    });
    names.collect()
}

/// What stands between backquotes.
fn spans(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "))
}

#[test]
fn words_are_a_shells() {
    assert_eq!(words("fenchel run 'a b' -o y.npy   # comment"), ["fenchel", "run", "a b", "-o", "y.npy"]);
    assert_eq!(words("fenchel completions bash > file"), ["fenchel", "completions", "bash"]);
    assert!(refusal(&words("fenchel fit model.onnx --no-such-option")).is_some());
    assert!(refusal(&words("fenchel no-such-verb")).is_some());
}

#[test]
fn commands_of_the_guides_parse() {
    let mut wrong = vec![];
    let mut count = 0;
    for (path, page) in pages() {
        let (code, text) = split(&page);
        for arguments in code.iter().filter_map(|line| call(line)) {
            count += 1;
            wrong.extend(refusal(&arguments).map(|reason| format!("{}: {reason}", path.display())));
        }
        // Within a sentence a command may be a part of one.
        for span in spans(&text) {
            let span = words(&span);
            let [program, verb, rest @ ..] = &span[..] else { continue };
            if program != "fenchel" || verb.starts_with('-') || verb == "VERB" {
                continue;
            }
            let known = options(Some(verb));
            let unknown = |word: &&String| word.strip_prefix("--").is_some_and(|name| !known.contains(name));
            let unknown: Vec<_> = rest.iter().filter(unknown).collect();
            if known.is_empty() || !unknown.is_empty() {
                wrong.push(format!("{}: {}: {unknown:?}", path.display(), span.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 80, "only {count} commands were found");
}

#[test]
fn options_that_are_named_exist() {
    let known = options(None);
    // Of other programs.
    let others = ["release", "fenchel"];
    let mut wrong = vec![];
    for (path, page) in pages() {
        for span in spans(&split(&page).1) {
            let name = span.split([' ', '=']).next().and_then(|word| word.strip_prefix("--"));
            if let Some(name) = name.filter(|name| !known.contains(*name) && !others.contains(name)) {
                wrong.push(format!("{}: --{name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_in_the_help_parse() {
    let top = fenchel::cli::command();
    for verb in verbs().iter().chain([&top]) {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.split("\n\n").next().unwrap();
        assert!(examples.starts_with("Examples:\n  "), "{}: no examples in {help:?}", verb.get_name());
        let block: Vec<String> = examples.lines().skip(1).map(|line| format!("    {line}")).collect();
        for line in &block {
            // Longer lines would be broken where they cannot be copied from.
            assert!(line.len() <= 4 + 100, "{}: {line}", verb.get_name());
        }
        let (code, _) = split(&block.join("\n"));
        let calls: Vec<_> = code.iter().filter_map(|line| call(line)).collect();
        let own = |call: &Vec<String>| call.get(1).is_some_and(|word| word == verb.get_name());
        assert!(calls.iter().any(own) || verb.get_name() == "fenchel", "{}: {examples}", verb.get_name());
        let refused: Vec<_> = calls.iter().filter_map(|call| refusal(call)).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}

/// Headings as GitHub names them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let name = |heading: &str| {
        let plain = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        plain.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(name).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = vec![];
    for (path, page) in pages() {
        let text = split(&page).1;
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let sources = text.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for target in targets.chain(sources) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has_anchor = || {
                let page = std::fs::read_to_string(&there).unwrap_or_default();
                anchors(&page).contains(anchor)
            };
            if !there.exists() || !(anchor.is_empty() || has_anchor()) {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_verb_is_in_the_readme_with_its_guide() {
    let readme = std::fs::read_to_string(common::root().join("README.md")).unwrap();
    for verb in verbs() {
        let name = verb.get_name();
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("the README's table lacks {name}"));
        let guide = row.rsplit("](").next().and_then(|rest| rest.split(')').next());
        let guide = guide.unwrap_or_else(|| panic!("{name} has no guide: {row}"));
        let guide = std::fs::read_to_string(common::root().join(guide)).unwrap();
        let (code, _) = split(&guide);
        let shown =
            code.iter().filter_map(|line| call(line)).any(|call| call.get(1).is_some_and(|v| v == name));
        assert!(shown, "the guide of {name} has no command with it: {row}");
    }
}

#[test]
fn every_guide_is_in_the_index() {
    let index = std::fs::read_to_string(common::root().join("docs/README.md")).unwrap();
    for (path, _) in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "docs/README.md lacks {name}");
    }
}

fn fenchel(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let program = assert_cmd::cargo::cargo_bin!("fenchel");
    let output = Command::new(program).current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A program that may not be there.
fn run(program: &str, arguments: &[&str], folder: &Path) -> Option<(bool, String)> {
    let run = Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    match run {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
        }
        Err(_) => {
            eprintln!("skipped: there is no {program}");
            None
        }
    }
}

#[test]
fn manual_pages_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    fenchel(folder.path(), &["man", "-o", "pages/man1"]);
    let pages = folder.path().join("pages/man1");
    let main = std::fs::read_to_string(pages.join("fenchel.1")).unwrap();
    let verbs = verbs();
    for verb in &verbs {
        let name = format!("fenchel-{}.1", verb.get_name());
        let page = std::fs::read_to_string(pages.join(&name)).unwrap();
        assert!(main.contains(&format!(r"fenchel\-{}(1)", verb.get_name())), "{name} is not in fenchel.1");
        let has = |option: &str| page.contains(&format!(r"\-\-{}", option.replace('-', r"\-")));
        let missing: Vec<_> = verb.get_arguments().filter_map(|a| a.get_long()).filter(|o| !has(o)).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
    }
    assert_eq!(std::fs::read_dir(&pages).unwrap().count(), verbs.len() + 1);
    for page in std::fs::read_dir(&pages).unwrap() {
        let page = page.unwrap().path();
        let page = page.to_str().unwrap();
        // -z: no output but warnings, of which -ww asks for all.
        let Some((done, said)) = run("groff", &["-man", "-Tutf8", "-ww", "-z", page], &pages) else { return };
        assert!(done && said.is_empty(), "{page}: {said}");
    }
}

#[test]
fn pages_go_into_folders() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let program = assert_cmd::cargo::cargo_bin!("fenchel");
    let output =
        Command::new(program).current_dir(folder.path()).args(["man", "-o", "file"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("'file'"), "{said}");
    // Pages of an older version are written anew.
    for _ in 0..2 {
        fenchel(folder.path(), &["man", "-o", "pages"]);
    }
}

#[test]
fn completions_complete() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = fenchel(folder.path(), &["completions", shell]);
        let text = String::from_utf8(script.clone()).unwrap();
        for verb in verbs() {
            assert!(text.contains(verb.get_name()), "{shell}: {} is missing", verb.get_name());
        }
        std::fs::write(folder.path().join(shell), script).unwrap();
    }
    for (shell, arguments) in [("bash", ["-n", "bash"]), ("zsh", ["-n", "zsh"]), ("fish", ["-n", "fish"])] {
        if let Some((done, said)) = run(shell, &arguments, folder.path()) {
            assert!(done && said.is_empty(), "{shell}: {said}");
        }
    }
    let try_it = "source ./bash && complete -p fenchel && \
                  COMP_WORDS=(fenchel sw) COMP_CWORD=1 && _fenchel fenchel sw fenchel && echo \"${COMPREPLY[@]}\" && \
                  COMP_WORDS=(fenchel fit --curv) COMP_CWORD=2 && _fenchel fenchel --curv fit && echo \"${COMPREPLY[@]}\"";
    if let Some((done, said)) = run("bash", &["--norc", "-c", try_it], folder.path()) {
        let lines: Vec<&str> = said.lines().collect();
        let [registered, verb, option] = lines[..] else { panic!("bash: {said}") };
        assert!(done && registered.ends_with(" fenchel"), "{said}");
        assert_eq!(verb, "sweep");
        assert!(option.split(' ').any(|word| word == "--curvature"), "{option}");
    }
}
