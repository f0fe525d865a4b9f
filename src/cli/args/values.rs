//! Values as they are typed after an option, and what they are read as.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// An input of a graph, and the file with its value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct Fix {
    pub input: String,
    pub file: PathBuf,
}

/// A number of pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Pieces {
    All,
    Some(usize),
}

/// Pixels of a picture; both above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Size {
    pub width: usize,
    pub height: usize,
}

/// Numbers in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct List(pub Vec<Range<usize>>);

impl List {
    /// All of them, or the first range that goes beyond `count`.
    pub(in crate::cli) fn below(&self, count: usize) -> Result<Vec<usize>, Range<usize>> {
        match self.0.iter().find(|range| range.end > count) {
            None => Ok(self.0.iter().flat_map(Clone::clone).collect()),
            Some(range) => Err(range.clone()),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if range.len() == 1 {
                write!(f, "{comma}{}", range.start)?;
            } else {
                write!(f, "{comma}{}..{}", range.start, range.end)?;
            }
        }
        Ok(())
    }
}

pub(in crate::cli) fn memory(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "" | "B" => 1.0,
        "KiB" | "K" => 1024.0,
        "MiB" | "M" => 1024.0 * 1024.0,
        "GiB" | "G" => 1024.0 * 1024.0 * 1024.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return Err("expected a number with KiB, MiB or GiB, such as 512MiB".to_owned()),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number * factor < 1e18 => Ok((number * factor) as u64),
        _ => Err("expected a number above 0 with KiB, MiB or GiB, such as 512MiB".to_owned()),
    }
}

/// What [`memory`] reads as so many bytes.
pub(in crate::cli) fn memory_text(bytes: u64) -> String {
    [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(bits, _)| bytes.trailing_zeros() >= *bits)
        .map_or_else(|| bytes.to_string(), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

pub(in crate::cli) fn range(text: &str) -> Result<Range<usize>, String> {
    let numbers = text.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
    match numbers {
        Some((Ok(from), Ok(to))) if from < to => Ok(from..to),
        _ => Err("expected FROM..TO with FROM below TO, such as 0..8000 (TO is not included)".to_owned()),
    }
}

pub(in crate::cli) fn list(text: &str) -> Result<List, String> {
    let part = |part: &str| match part.parse::<usize>() {
        Ok(number) => Ok(number..number + 1),
        Err(_) => range(part).map_err(|_| "expected numbers and ranges, such as 0,3..5".to_owned()),
    };
    text.split(',').map(part).collect::<Result<_, _>>().map(List)
}

/// A finite number above 0.
pub(in crate::cli) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| *number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

pub(super) fn fix(text: &str) -> Result<Fix, String> {
    match text.rsplit_once('=') {
        Some((input, file)) if !input.is_empty() && !file.is_empty() => {
            Ok(Fix { input: input.to_owned(), file: file.into() })
        }
        _ => Err("expected the name of an input and a file, such as state=zeros.npy".to_owned()),
    }
}

pub(in crate::cli) fn pieces(text: &str) -> Result<Pieces, String> {
    match text.parse() {
        _ if text == "all" => Ok(Pieces::All),
        Ok(number) if number > 0 => Ok(Pieces::Some(number)),
        _ => Err("expected a number above 0, or all".to_owned()),
    }
}

pub(super) fn shape(text: &str) -> Result<[usize; 4], String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    let positive = numbers.ok().filter(|numbers| !numbers.contains(&0));
    positive
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "expected four positive numbers, such as 2048,8192,784,10".to_owned())
}

pub(in crate::cli) fn size(text: &str) -> Result<Size, String> {
    let numbers = text.split_once('x').map(|(width, height)| (width.parse::<u16>(), height.parse::<u16>()));
    match numbers {
        Some((Ok(width), Ok(height))) if width > 0 && height > 0 => {
            Ok(Size { width: width.into(), height: height.into() })
        }
        _ => Err("expected WIDTHxHEIGHT, from 1x1 to 65535x65535, such as 4096x4096".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(memory("512MiB"), Ok(512 << 20));
        assert_eq!(memory("1.5GiB"), Ok(3 << 29));
        assert_eq!(memory("4096"), Ok(4096));
        for text in ["", "MiB", "-1MiB", "0", "1TB", "1e300"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_written_as_it_is_read() {
        for text in ["4GiB", "512MiB", "64KiB", "1000001"] {
            assert_eq!(memory_text(memory(text).unwrap()), text);
        }
    }

    #[test]
    fn ranges_exclude_their_end() {
        assert_eq!(range("3..5"), Ok(3..5));
        assert_eq!(list("0,3..5"), Ok(List(vec![0..1, 3..5])));
        assert_eq!(List(vec![0..1, 3..5]).to_string(), "0,3..5");
        for text in ["", "5..3", "3..3", "..5", "3..", "a..b", "-1..2"] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_of_pictures_are_two_numbers() {
        assert_eq!(size("640x48"), Ok(Size { width: 640, height: 48 }));
        for text in ["", "640", "640x", "x48", "0x48", "640x0", "-1x48", "6.5x4", "65536x1", "1x2x3"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(pieces("0").is_err() && pieces("-3").is_err() && pieces("some").is_err());
    }
}
