//! `hostel template build`

use clap::Args;

use super::{Done, Json, made};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::parallel;

/// Build a template from a recipe
///
/// A recipe says which distribution, release and packages. With --json, the new template as show gives it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel template build debian-12\n  hostel template build ./my-recipe.toml")]
pub struct Build {
    /// Name of a recipe, or a recipe's file
    #[arg(value_name = "RECIPE")]
    recipe: String,

    #[command(flatten)]
    json: Json,
}

impl Build {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let info = parallel::one(context.show, &self.recipe, |progress| {
            engine.template_build(&self.recipe, progress)
        })?;
        made(context, &info, self.json)?;
        Ok(Exit::Ok)
    }
}
