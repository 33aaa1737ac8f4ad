//! `hostel help`

use clap::Args;
use hostel_engine::{Class, Error};

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::{self, Exit};
use crate::cli::{args, reference};

/// Explain a subcommand or a topic
///
/// Topics: exit-codes, fields (columns of list and keys of its JSON), json (the shapes of all JSON).
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel help start\n  hostel help template build\n  hostel help exit-codes")]
pub struct Help {
    /// Subcommand, or topic: exit-codes, fields, json
    #[arg(value_name = "TOPIC")]
    topic: Vec<String>,
}

impl Help {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let words: Vec<&str> = self.topic.iter().map(String::as_str).collect();
        match words[..] {
            ["exit-codes"] => context.print(&exit::table())?,
            ["fields"] => context.print_table(&reference::fields())?,
            ["json"] => context.print(reference::JSON)?,
            _ => {
                let help = page(&words, None)?;
                let text = if context.paint() == crate::cli::paint::Paint::OFF {
                    help.to_string()
                } else {
                    help.ansi().to_string()
                };
                context.print(&text)?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// The help of a subcommand, or of the whole, in the terminal's width or in `width`.
pub fn page(words: &[&str], width: Option<usize>) -> Result<clap::builder::StyledStr, Error> {
    let mut command = args::command();
    if let Some(width) = width {
        command = at_width(command, width);
    }
    let mut found = &mut command;
    for word in words {
        let next = found.find_subcommand_mut(word);
        found = next.ok_or_else(|| {
            let error = Error::new(Class::Usage, format!("there is no help on \"{}\"", words.join(" ")));
            error.hint("`hostel help` lists the subcommands; topics are exit-codes, fields and json")
        })?;
    }
    Ok(found.render_help())
}

/// Wraps every help at `width` instead of the terminal's.
fn at_width(command: clap::Command, width: usize) -> clap::Command {
    command.term_width(width).mut_subcommands(|c| at_width(c, width))
}
