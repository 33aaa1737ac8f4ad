//! `hostel log`

use std::io::IsTerminal;

use clap::Args;
use hostel_model::request::VeRef;

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Print a VE's console log
///
/// A guest decides what stands in it. On a terminal, only colours get through; other control sequences are left
/// out, so that a guest cannot steer the terminal. Files and pipes get every byte.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel log web1\n  hostel log web1 > web1.log")]
pub struct Log {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Print every byte on a terminal too
    #[arg(long)]
    raw: bool,
}

impl Log {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let log = context.engine()?.log(&self.ve)?;
        if self.raw || !std::io::stdout().is_terminal() {
            context.print_bytes(&log)?;
        } else {
            context.print(&tame(&String::from_utf8_lossy(&log)))?;
        }
        Ok(Exit::Ok)
    }
}

/// The text without what steers a terminal: colours, tabs and line ends stay, and colours end with it.
pub fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut coloured = false;
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => match rest.next() {
                Some('[') => coloured |= control_sequence(&mut rest, &mut out),
                // Operating system commands and other strings: up to their end.
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                // Character set choices take one more character.
                Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => drop(rest.next()),
                _ => {}
            },
            '\n' | '\t' => out.push(c),
            c if !c.is_control() => out.push(c),
            _ => {}
        }
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads a control sequence (ECMA-48 5.4); passes it on if it sets colours.
fn control_sequence(rest: &mut Chars, out: &mut String) -> bool {
    let mut parameters = String::new();
    while let Some(c) = rest.next_if(|c| (' '..='?').contains(c)) {
        parameters.push(c);
    }
    let last = rest.next_if(|c| ('@'..='~').contains(c));
    let colour = last == Some('m') && parameters.chars().all(|c| c.is_ascii_digit() || c == ';');
    if colour {
        out.push_str(&format!("\x1b[{parameters}m"));
    }
    colour
}

/// Skips to the end of a control string: BEL or ESC \. An unfinished one ends with its line.
fn skip_string(rest: &mut Chars) {
    while let Some(c) = rest.next_if(|c| *c != '\n') {
        if c == '\x07' || (c == '\x1b' && rest.next_if_eq(&'\\').is_some()) {
            break;
        }
    }
}
