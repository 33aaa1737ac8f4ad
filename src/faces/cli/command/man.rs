//! `hostel man`

use std::fs;
use std::path::PathBuf;

use clap::Args;
use hostel_engine::{Class, Error};

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::reference;

/// Write the manual pages into a directory
///
/// One page for hostel(8) and one for each subcommand. Without DIR, hostel(8) goes to standard output.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel man /usr/local/share/man/man8\n  hostel man | man -l -")]
pub struct Man {
    /// Directory, made if it is missing
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let pages = reference::man_pages()?;
        let Some(dir) = &self.dir else {
            if let Some((_, page)) = pages.first() {
                context.print_bytes(page)?;
            }
            return Ok(Exit::Ok);
        };
        let failed = |what: &str, path: &std::path::Path, e| {
            Error::new(Class::Failed, format!("cannot {what} {}", path.display())).because(e)
        };
        fs::create_dir_all(dir).map_err(|e| failed("make directory", dir, e))?;
        for (name, page) in &pages {
            let file = dir.join(name);
            fs::write(&file, page).map_err(|e| failed("write", &file, e))?;
        }
        context.say(&format!("{} pages in {}", pages.len(), dir.display()));
        Ok(Exit::Ok)
    }
}
