//! Command lines that a report runs, word by word.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;

use crate::cli::args::{self, Fix};
use crate::cli::quoted;

/// A command line in the making.
#[derive(Debug, Clone)]
pub(super) struct Words(Vec<OsString>);

impl Words {
    pub(super) fn verb(verb: &str) -> Self {
        Self(["fenchel", verb].map(OsString::from).to_vec())
    }

    /// Words alone.
    pub(super) fn none() -> Self {
        Self(vec![])
    }

    pub(super) fn word(mut self, word: impl Into<OsString>) -> Self {
        self.0.push(word.into());
        self
    }

    pub(super) fn then(mut self, words: &Self) -> Self {
        self.0.extend_from_slice(&words.0);
        self
    }

    /// An option and its value, in one word where the value could be taken for an option.
    pub(super) fn option(self, flag: &str, value: impl Display) -> Self {
        let value = value.to_string();
        if value.starts_with('-') {
            self.word(format!("{flag}={value}"))
        } else {
            self.word(flag).word(value)
        }
    }

    /// An option where there is a value.
    pub(super) fn maybe(self, flag: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.option(flag, value),
            None => self,
        }
    }

    pub(super) fn path(self, flag: &str, path: &Path) -> Self {
        if path.as_os_str().as_encoded_bytes().starts_with(b"-") {
            let mut word = OsString::from(format!("{flag}="));
            word.push(path);
            self.word(word)
        } else {
            self.word(flag).word(path)
        }
    }

    pub(super) fn as_slice(&self) -> &[OsString] {
        &self.0
    }

    /// As a shell would read it.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A list as an option takes it.
pub(super) fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

impl args::Part {
    pub(super) fn words(&self) -> Words {
        let mut words = Words::none().maybe("--node", self.node.as_ref()).maybe("--from", self.from.as_ref());
        for Fix { input, file } in &self.fix {
            let mut value = OsString::from(format!("{input}="));
            value.push(file);
            words = words.word("--fix").word(value);
        }
        if self.logits { words.word("--logits") } else { words }
    }
}

impl args::Reading {
    pub(super) fn words(&self) -> Words {
        Words::none()
            .maybe("--key", self.key.as_ref())
            .maybe("--scale", self.scale)
            .maybe("--mean", self.mean.as_deref().map(list))
            .maybe("--std", self.std.as_deref().map(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_taken_for_options() {
        let words = Words::verb("run").option("--mean", "-0.5,1").path("--data", Path::new("-x.npy"));
        assert_eq!(words.text(), "fenchel run --mean=-0.5,1 --data=-x.npy");
        let words = Words::verb("run").option("--scale", 0.1 + 0.2).maybe("--key", None::<&str>);
        assert_eq!(words.text(), "fenchel run --scale 0.30000000000000004");
        assert_eq!(Words::none().option("--key", "a b").text(), "--key 'a b'");
    }
}
