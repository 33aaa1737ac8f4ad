//! `hostel import`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hostel_engine::facade::{Fate, ImportLine, ImportOrder, plan_of};
use hostel_engine::{Class, Error};
use hostel_model::edit::parse_setting;

use super::{Done, Json};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::human;
use crate::cli::parallel;
use crate::cli::table::{Cell, Column, Table};

/// Take over VEs and plans from another system
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub struct Import {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Openvz(Openvz),
}

impl Import {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match &self.command {
            Command::Openvz(c) => c.run(context),
        }
    }
}

/// Make a VE of an OpenVZ container, or a plan of a sample
///
/// Of CTID.conf and the private area (or a mounted ploop) a VE is made, which gets a copy of the tree: with its owners,
/// modes, attributes, hard links and holes, but without device nodes. Of ve-NAME.conf-sample the plan NAME is made. What each
/// line became is told: settings, a note for the OpenVZ tools, or nothing. With --json, an object with ve or plan,
/// lines, and for a VE files and bytes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel import openvz /etc/vz/conf/101.conf --private /vz/private/101 --dry-run
  hostel import openvz 101.conf --private /mnt/ct101 --name web1 --set disk.size=20GiB
  hostel import openvz /etc/vz/conf/ve-basic.conf-sample")]
pub struct Openvz {
    /// CTID.conf, or ve-NAME.conf-sample
    #[arg(value_name = "FILE")]
    conf: PathBuf,

    /// The container's private area
    #[arg(long, value_name = "DIR")]
    private: Option<PathBuf>,

    /// Name of the VE; its old one, or ct and its number, if not given
    #[arg(long, value_name = "NAME", requires = "private")]
    name: Option<String>,

    /// Key to set on top of what the file says
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,

    /// Only tell what would be made
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    json: Json,
}

impl Openvz {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        match (&self.private, plan_of(&self.conf)) {
            (Some(private), _) => self.container(private.clone(), context),
            (None, Some(_)) => self.sample(context),
            (None, None) => Err(Error::new(Class::Usage, "a container needs its private area")
                .hint("name it with --private DIR; a file ve-NAME.conf-sample becomes a plan")
                .into()),
        }
    }

    fn container(&self, private: PathBuf, context: &Context) -> Done {
        let engine = context.careful_engine()?;
        let order = ImportOrder {
            conf: self.conf.clone(),
            private,
            name: self.name.clone(),
            settings: self.set.clone(),
            dry_run: self.dry_run,
        };
        let label = self.conf.display().to_string();
        let imported = parallel::one(context.show, &label, |progress| engine.import_openvz(&order, progress))?;
        if self.json.json {
            context.print_json(&imported)?;
            return Ok(Exit::Ok);
        }
        tell(&imported.lines, context)?;
        let (ve, done) = (
            &imported.ve,
            if self.dry_run { "would be imported" } else { "imported" },
        );
        let size = human::bytes(imported.bytes);
        context.say(&format!(
            "{}: {done} as VE {}, {} files, {size}",
            ve.name, ve.id, imported.files
        ));
        Ok(Exit::Ok)
    }

    fn sample(&self, context: &Context) -> Done {
        let imported = context
            .careful_engine()?
            .import_sample(&self.conf, &self.set, self.dry_run)?;
        if self.json.json {
            context.print_json(&imported)?;
            return Ok(Exit::Ok);
        }
        tell(&imported.lines, context)?;
        let done = if self.dry_run { "would be made" } else { "made" };
        context.say(&format!("plan {}: {done}, {}", imported.plan, imported.path.display()));
        Ok(Exit::Ok)
    }
}

/// A line of the file a line.
fn tell(lines: &[ImportLine], context: &Context) -> Result<(), Failure> {
    let mut table = Table::new(vec![
        Column::number("LINE"),
        Column::text("PARAMETER").cut(20),
        Column::text(""),
        Column::text("WHAT BECAME OF IT").wrap(40),
    ]);
    for line in lines {
        let fate = match line.fate {
            Fate::Became => "became",
            Fate::Kept => "kept",
            Fate::Lost => "lost",
        };
        let number = if line.line == 0 {
            String::new()
        } else {
            line.line.to_string()
        };
        let parameter = if line.key.is_empty() {
            String::new()
        } else {
            format!("{}={}", line.key, line.value)
        };
        table.row(
            [number, parameter, fate.to_owned(), line.what.clone()]
                .map(Cell::new)
                .to_vec(),
        );
    }
    context.print_table(&table)
}
