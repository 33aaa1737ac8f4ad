//! docs/OPENVZ.md is made from the tables in the code.

use crate::cli::golden;

#[test]
fn the_documentation_is_of_the_tables() {
    golden("docs/OPENVZ.md", &crate::vz::document::text());
}
