//! placeholder
use serde::{Deserialize, Serialize};
/// op
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Op {}
/// apply
pub fn apply(_root: &std::path::Path, _ops: &[Op]) -> Result<(), String> { Ok(()) }
