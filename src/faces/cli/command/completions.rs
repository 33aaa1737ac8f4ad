//! `hostel completions`

use clap::Args;
use clap_complete::Shell;

use super::Done;
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel completions bash > /etc/bash_completion.d/hostel
  hostel completions zsh > /usr/local/share/zsh/site-functions/_hostel")]
pub struct Completions {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        context.print_bytes(&script(self.shell))?;
        Ok(Exit::Ok)
    }
}

/// The script that the shell reads.
pub fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "hostel", &mut script);
    script
}
