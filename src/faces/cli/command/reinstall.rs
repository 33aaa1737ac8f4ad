//! `hostel reinstall`

use clap::Args;
use hostel_engine::facade::Outcome;
use hostel_model::id::TemplateRef;
use hostel_model::request::VeRef;

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::parallel::Load;
use crate::cli::selection::Selected;

/// Give stopped VEs new disks from a template
///
/// What was on the old disk is gone for good, and nothing is asked. All else of a VE stays: number, name, addresses, limits,
/// scripts, and what it has used. Host keys and machine id are new, as after create. A failure leaves a VE as it was.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  hostel reinstall web1\n  hostel reinstall web1 --template debian-13")]
pub struct Reinstall {
    #[command(flatten)]
    pub selected: Selected,

    /// Make them from TEMPLATE and no longer from that of their definitions; its newest version, if none is named
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<TemplateRef>,

    #[command(flatten)]
    json: Json,
}

impl Reinstall {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        verb::each_of(
            context,
            &self.selected,
            self.json,
            Load::Light,
            &|engine, ve, progress| {
                engine.reinstall(&VeRef::Id(ve.id), self.template.as_ref(), progress)?;
                Ok(Outcome {
                    done: "reinstalled".to_owned(),
                    changed: true,
                    path: None,
                })
            },
        )
    }
}
