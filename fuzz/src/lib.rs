//! What every fuzz target does.

#[path = "../../tests/common/loaders.rs"]
mod loaders;

/// Reads `bytes` as a file of this kind and uses it; whatever is wrong must be one line.
pub fn survive(kind: &str, bytes: &[u8]) {
    let (_, load) = loaders::LOADERS.iter().find(|(name, _)| *name == kind).expect("a loader of this name");
    if let Err(error) = load(bytes) {
        let message = error.to_string();
        assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
    }
}
