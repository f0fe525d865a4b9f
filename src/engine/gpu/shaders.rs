//! The WGSL sources, with their parts put together.

use std::collections::HashSet;

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../shaders/", $name, ".wgsl")))),*]
    };
}

/// Kernels by name, and what they share.
const SOURCES: &[(&str, &str)] = sources![
    "activation",
    "arithmetic",
    "code",
    "conjugate",
    "convolution",
    "descent",
    "distances",
    "envelope",
    "envelope/fused",
    "floor",
    "hamming",
    "gram",
    "layout",
    "matmul",
    "max_affine",
    "multiply",
    "pairs",
    "piecewise",
    "pooling",
    "reduction",
    "secant",
    "select",
    "series_product",
    "slice",
    "soft_envelope",
    "softmax",
    "shared/activation",
    "shared/difference",
    "shared/elementary",
    "shared/epilogue",
    "shared/grid",
    "shared/insert",
    "shared/product",
    "shared/search",
    "shared/team",
];

/// A line that is replaced by the shared part that it names.
const INCLUDE: &str = "//!include ";

/// How every kernel declares its parameters.
const IMMEDIATE: &str = "var<immediate> params: Params;";

/// The same for devices without immediates.
const UNIFORM: &str = "@group(1) @binding(0) var<uniform> params: Params;";

/// The whole text of a kernel's file.
pub(super) fn source(name: &str, immediates: bool) -> String {
    let mut text = String::new();
    append(name, &mut HashSet::new(), &mut text);
    if immediates { text } else { text.replace(IMMEDIATE, UNIFORM) }
}

fn append(name: &str, seen: &mut HashSet<String>, text: &mut String) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let found = SOURCES.iter().find(|(known, _)| *known == name);
    let (_, source) = found.unwrap_or_else(|| unreachable!("there is no shader '{name}'"));
    for line in source.lines() {
        match line.strip_prefix(INCLUDE) {
            Some(part) => append(&format!("shared/{}", part.trim()), seen, text),
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wgpu::naga::front::wgsl;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

    use super::*;

    #[test]
    fn every_shader_is_valid_with_and_without_immediates() {
        let kernels = SOURCES.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("shared/"));
        for name in kernels {
            for immediates in [true, false] {
                let text = source(name, immediates);
                assert_eq!(text.contains(IMMEDIATE), immediates, "{name}");
                let module = wgsl::parse_str(&text)
                    .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string_with_path(&text, name)));
                let capabilities = if immediates { Capabilities::IMMEDIATES } else { Capabilities::empty() };
                let found = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
                assert!(found.is_ok(), "{name}: {found:?}");
                assert!(!module.entry_points.is_empty(), "{name} has no entry point");
            }
        }
    }
}
