//! `hostel runscript`

use std::path::Path;

use clap::Args;
use hostel_model::request::VeRef;

use super::Done;
use crate::cli::context::Context;

/// Run a script of the host inside a VE
///
/// The interpreter is the one that the script's first line names, as found in the VE. The script is not left behind
/// there. Ends with its exit code; 125 means that Hostel failed, 126 and 127 are as for exec.
#[derive(Debug, Args)]
#[command(
    override_usage = "hostel runscript [OPTIONS] <NAME|ID> <FILE> [ARGS]...",
    after_long_help = "Examples:\n  hostel runscript web1 ./setup.sh\n  hostel runscript web1 ./setup.sh --site acme.example"
)]
pub struct Runscript {
    /// Name or id of the VE
    #[arg(value_name = "NAME|ID")]
    ve: VeRef,

    /// Script on the host, and its arguments, untouched
    // One list, so that everything behind the script is the script's, options too.
    #[arg(value_names = ["FILE", "ARGS"], num_args = 1.., required = true, trailing_var_arg = true)]
    line: Vec<String>,
}

impl Runscript {
    /// The script and its arguments.
    pub fn parts(&self) -> (&Path, &[String]) {
        let (script, args) = self.line.split_first().map_or(("", &[][..]), |(s, a)| (s.as_str(), a));
        (Path::new(script), args)
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let (script, args) = self.parts();
        let end = context.engine()?.runscript(&self.ve, script, args)?;
        Ok(context.command_ended(end))
    }
}
