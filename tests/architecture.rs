//! The house: which room may use which, where a kernel's files are, how long a file may be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src/`, the highest first. A room uses those below it.
const HOUSE: &[&[&str]] = &[
    &["cli"],
    &["report", "render"],
    &["conjugate", "difference", "maso", "polynomial", "regions", "similarity", "spline"],
    &["network"],
    &["engine"],
    &["activation", "cholesky", "data"],
    &["classes", "error", "scalar", "tolerance"],
];

/// Rooms that use one beside them, and why.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("report", "render", "pages show pictures"),
    ("regions", "maso", "the affine map of a region is the template of its points, its name a code"),
    ("regions", "spline", "affine maps are clustered and looked up as anchors are"),
];

/// What the crate's root hands on.
const AT_THE_ROOT: &[(&str, &str)] = &[("Error", "error"), ("Result", "error"), ("Scalar", "scalar")];

/// Parts of the engines that are no kernels.
const CPU_PARTS: &[&str] = &[
    "best",
    "copy",
    "engine",
    "epilogue",
    "filters",
    "mod",
    "pool",
    "product",
    "spline_engine",
    "stage",
    "tile",
    "wide",
];
const GPU_PARTS: &[&str] =
    &["device", "engine", "faults", "mod", "pipelines", "pool", "shaders", "spline_engine"];

const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder that end so, with their text, in order.
fn files(folder: &str, end: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, end, found);
            } else if path.extension().is_some_and(|own| own == end) {
                found.push(path);
            }
        }
    }
    let mut found = vec![];
    walk(&root().join(folder), end, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no .{end} below {folder}");
    let relative =
        |path: PathBuf| (path.strip_prefix(root()).unwrap().to_owned(), fs::read_to_string(path).unwrap());
    found.into_iter().map(relative).collect()
}

/// Without comments.
fn code(text: &str) -> String {
    let line = |line: &str| match line.find("//") {
        Some(at) if line[..at].chars().last().is_none_or(char::is_whitespace) => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The items of the crate's root that a text names: `crate::NAME`, also in `crate::{..}`.
fn named(code: &str) -> BTreeSet<String> {
    let first = |text: &str| -> String {
        text.trim_start().chars().take_while(|&c| c.is_alphanumeric() || c == '_').collect()
    };
    let mut names = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let Some(list) = after.strip_prefix('{') else {
            names.insert(first(after));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                ',' if depth == 0 => {
                    names.insert(first(&list[start..at]));
                    start = at + 1;
                }
                '}' if depth == 0 => {
                    names.insert(first(&list[start..at]));
                    break;
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    names.remove("");
    names
}

/// The room that a file of `src/` is in; none for the roots.
fn room(path: &Path) -> Option<String> {
    let below = path.strip_prefix("src").unwrap();
    let name = Path::new(below.components().next().unwrap().as_os_str()).file_stem().unwrap();
    let name = name.to_str().unwrap();
    (name != "lib" && name != "main").then(|| name.to_owned())
}

fn level(room: &str) -> Option<usize> {
    HOUSE.iter().position(|level| level.contains(&room))
}

#[test]
fn uses_are_read_from_text() {
    let text =
        "use crate::a::{b, c};\nuse crate::{Error, d::{e, f}, g};\n// crate::h\nlet x = crate::i::j(\"//\");";
    let expected = ["Error", "a", "d", "g", "i"].map(str::to_owned);
    assert_eq!(named(&code(text)), BTreeSet::from(expected));
}

#[test]
fn no_room_reaches_up() {
    let mut faults = vec![];
    let (mut rooms, mut neighbours) = (BTreeSet::new(), BTreeSet::new());
    for (path, text) in files("src", "rs") {
        let Some(own) = room(&path) else { continue };
        let Some(high) = level(&own) else {
            faults.push(format!("{}: the room '{own}' has no place in the house", path.display()));
            continue;
        };
        rooms.insert(own.clone());
        // From the room's own folder `super` does not lead out of it.
        let depth = path.components().count() - if path.ends_with("mod.rs") { 2 } else { 1 };
        if code(&text).contains(&"super::".repeat(depth + 1)) {
            faults.push(format!("{}: leaves its room by super", path.display()));
        }
        for name in named(&code(&text)) {
            let at_the_root = AT_THE_ROOT.iter().find(|(item, _)| *item == name);
            let used = at_the_root.map_or(&name[..], |(_, room)| *room);
            match level(used) {
                Some(_) if used == own => {}
                Some(low) if low > high => {}
                Some(low) if low == high && NEIGHBOURS.iter().any(|&(a, b, _)| (a, b) == (&own, used)) => {
                    neighbours.insert((own.clone(), used.to_owned()));
                }
                Some(_) => faults.push(format!("{}: {own} uses {used}", path.display())),
                None => faults.push(format!("{}: there is no room '{used}'", path.display())),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let known: BTreeSet<String> = HOUSE.iter().copied().flatten().map(|&room| room.to_owned()).collect();
    assert_eq!(rooms, known, "rooms of the house");
    for &(a, b, why) in NEIGHBOURS {
        assert!(neighbours.contains(&(a.to_owned(), b.to_owned())), "{a} does not use {b} any more ({why})");
    }
}

#[test]
fn every_kernel_has_three_files_of_one_name() {
    let names = |folder: &str, end: &str, parts: &[&str]| -> BTreeSet<String> {
        let all = files(folder, end);
        let own = all.iter().filter(|(path, _)| path.parent() == Some(Path::new(folder)));
        let names: BTreeSet<&str> =
            own.map(|(path, _)| path.file_stem().unwrap().to_str().unwrap()).collect();
        for part in parts {
            assert!(names.contains(part), "{folder} has no part '{part}' any more");
        }
        names.into_iter().filter(|name| !parts.contains(name)).map(str::to_owned).collect()
    };
    let shaders = names("shaders", "wgsl", &[]);
    assert_eq!(names("src/engine/cpu", "rs", CPU_PARTS), shaders, "kernels of the CPU and shaders");
    assert_eq!(names("src/engine/gpu", "rs", GPU_PARTS), shaders, "kernels of the GPU and shaders");
}

#[test]
fn files_are_short_finished_and_say_what_is_in_them() {
    let mut faults = vec![];
    let unfinished = ["dbg", "todo", "unimplemented"].map(|name| format!("{name}!("));
    let folders = [("src", "rs"), ("tests", "rs"), ("benches", "rs"), ("shaders", "wgsl")];
    for (path, text) in folders.iter().flat_map(|(folder, end)| files(folder, end)) {
        let (lines, name) = (text.lines().count(), path.display());
        if lines > MOST_LINES {
            faults.push(format!("{name}: {lines} lines, more than {MOST_LINES}"));
        }
        if let Some(mark) = unfinished.iter().find(|mark| code(&text).contains(&mark[..])) {
            faults.push(format!("{name}: has {mark}..)"));
        }
        if !text.starts_with("//") {
            faults.push(format!("{name}: does not begin with what it holds"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
