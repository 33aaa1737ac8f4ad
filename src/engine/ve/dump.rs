//! What a suspended VE leaves in its directory.

/// The file that says what a dump is and where it may go on. It is renamed into place with the whole directory, so
/// where it is, the dump is complete.
pub const MANIFEST: &str = "manifest.toml";
