//! `hostel template`: a file for each of its subcommands.

mod build;
mod import;
mod list;
mod remove;
mod show;
mod verify;

use clap::{Args, Subcommand};
use hostel_engine::facade::TemplateInfo;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::human;
use crate::cli::table::{Cell, Column, Table};

/// Build, list and remove templates
///
/// A template is a distribution's root tree, read-only and versioned, that VEs are made from.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Template {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Build),
    Import(import::Import),
    List(list::List),
    Show(show::Show),
    Verify(verify::Verify),
    Remove(remove::Remove),
}

impl Template {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.command {
            Command::Build(c) => c.run(context),
            Command::Import(c) => c.run(context),
            Command::List(c) => c.run(context),
            Command::Show(c) => c.run(context),
            Command::Verify(c) => c.run(context),
            Command::Remove(c) => c.run(context),
        }
    }
}

/// Says that a template was made.
fn made(context: &Context, info: &TemplateInfo, json: Json) -> Result<(), Failure> {
    if json.json {
        return context.print_json(info);
    }
    context.say(&format!(
        "{}/{}: made, {}",
        info.name,
        info.version,
        human::bytes(info.size)
    ));
    Ok(())
}

/// All templates, for a person.
pub fn table(templates: &[TemplateInfo]) -> Table {
    let mut table = Table::new(vec![
        Column::text("NAME").cut(12),
        Column::text("VERSION").cut(8),
        Column {
            drop: 2,
            ..Column::text("FAMILY")
        },
        Column {
            drop: 3,
            ..Column::text("INIT")
        },
        Column::number("SIZE"),
        Column {
            drop: 1,
            ..Column::text("CREATED")
        },
        Column::number("VES"),
    ]);
    for t in templates {
        table.row(vec![
            t.name.as_str().into(),
            t.version.as_str().into(),
            t.family.as_str().into(),
            t.init.as_str().into(),
            human::bytes(t.size).into(),
            t.created.as_str().into(),
            t.used_by.len().to_string().into(),
        ]);
    }
    table
}

/// One template, for a person.
pub fn block(t: &TemplateInfo) -> Table {
    let mut table = Table::new(vec![Column::text("FIELD"), Column::text("VALUE").wrap(20)]).headless(true);
    let users: Vec<&str> = t.used_by.iter().map(AsRef::as_ref).collect();
    let lines = [
        ("name", t.name.to_string()),
        ("version", t.version.clone()),
        ("family", t.family.clone()),
        ("init", t.init.clone()),
        ("size", human::bytes(t.size)),
        ("created", t.created.clone()),
        ("source", t.source.clone()),
        ("checksum", t.checksum.clone()),
        ("used by", users.join(" ")),
    ];
    for (what, value) in lines {
        table.row(vec![
            Cell::new(what).styled(anstyle::Style::new().dimmed()),
            value.into(),
        ]);
    }
    table
}
