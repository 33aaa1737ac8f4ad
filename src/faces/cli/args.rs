//! What can be typed: global options, the subcommands, and their groups in the overview.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use hostel_engine::Error;

use super::command as c;
use super::exit::{self, Exit};
use super::values::duration;

/// Many tenants on one Linux host
///
/// Hostel runs virtual environments (VEs): persistent system containers, each with a whole distribution inside,
/// held to a resource plan and kept apart from each other.
#[derive(Debug, Parser)]
#[command(
    name = "hostel",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Args)]
pub struct Global {
    /// Read the host's configuration from FILE
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        env = "HOSTEL_CONFIG",
        hide_env_values = true,
        default_value = "/etc/hostel/hostel.toml"
    )]
    pub config: PathBuf,

    /// Wait TIME for another operation on the same VE
    #[arg(long, value_name = "TIME", global = true, value_parser = duration, default_value = "10s")]
    pub wait_lock: Duration,

    /// Print errors and results only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print every step
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Print without colours; NO_COLOR does the same
    #[arg(long, global = true, action = ArgAction::SetTrue)]
    pub no_color: bool,
}

/// Makes the subcommands from their modules and types there.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident::$Type:ident,)*) => {
        /// The subcommands.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $($(#[$attribute])* $Type(c::$name::$Type),)*
        }

        /// The definition of one of them alone.
        fn alone(name: &str) -> Option<clap::Command> {
            match name {
                $(stringify!($name) => Some(c::$name::$Type::augment_args(clap::Command::new(stringify!($name)))),)*
                _ => None,
            }
        }
    };
}

commands! {
    init::Init,
    create::Create,
    start::Start,
    stop::Stop,
    kill::Kill,
    restart::Restart,
    pause::Pause,
    unpause::Unpause,
    suspend::Suspend,
    resume::Resume,
    reinstall::Reinstall,
    destroy::Destroy,
    mount::Mount,
    umount::Umount,
    compact::Compact,
    exec::Exec,
    enter::Enter,
    runscript::Runscript,
    console::Console,
    log::Log,
    push::Push,
    pull::Pull,
    list::List,
    status::Status,
    stat::Stat,
    top::Top,
    capacity::Capacity,
    limits::Limits,
    beancounters::Beancounters,
    metrics::Metrics,
    why::Why,
    show::Show,
    set::Set,
    edit::Edit,
    info::Info,
    boot::Boot,
    shutdown::Shutdown,
    network::Network,
    address::Address,
    firewall::Firewall,
    forward::Forward,
    traffic::Traffic,
    report::Report,
    ledger::Ledger,
    manager::Manager,
    schedule::Schedule,
    audit::Audit,
    template::Template,
    import::Import,
    tenant::Tenant,
    completions::Completions,
    man::Man,
    help::Help,
    #[command(hide = true)]
    settle::Settle,
}

impl Command {
    /// The exit code for an error: what runs a command inside keeps its own code for Hostel's failures.
    pub fn exit_of(&self, error: &Error) -> Exit {
        match self {
            Self::Exec(_) | Self::Enter(_) | Self::Runscript(_) => Exit::of_inside(error),
            _ => Exit::of(error),
        }
    }
}

/// The overview's sections. A test sees to it that every subcommand is in exactly one.
pub const GROUPS: &[(&str, &[&str])] = &[
    (
        "Life of a VE",
        &[
            "create",
            "start",
            "stop",
            "restart",
            "kill",
            "pause",
            "unpause",
            "suspend",
            "resume",
            "reinstall",
            "destroy",
        ],
    ),
    (
        "Inside a VE",
        &["exec", "enter", "runscript", "console", "log", "push", "pull"],
    ),
    ("Look and change", &["list", "status", "show", "set", "edit"]),
    (
        "Measure",
        &[
            "stat",
            "top",
            "limits",
            "beancounters",
            "why",
            "capacity",
            "metrics",
            "report",
            "ledger",
        ],
    ),
    ("Network", &["network", "address", "forward", "firewall", "traffic"]),
    ("Tenants", &["tenant"]),
    ("Storage", &["mount", "umount", "compact", "template", "import"]),
    (
        "Host",
        &["init", "info", "audit", "boot", "shutdown", "manager", "schedule"],
    ),
    ("Help", &["help", "completions", "man"]),
];

/// The command line as it is defined; what manual pages and the reference document are made from.
pub fn definitions() -> clap::Command {
    built(described())
}

/// The derived definitions, with what deriving can't say.
fn described() -> clap::Command {
    let codes: String = exit::table()
        .lines()
        .map(|l| format!("  {l}").trim_end().to_owned() + "\n")
        .collect();
    Cli::command()
        .after_long_help(format!("Exit codes:\n{codes}"))
        .mut_subcommands(|c| {
            let many = c.get_arguments().any(|a| a.get_id() == "names");
            let usage = format!(
                "hostel {} [OPTIONS] <<NAME|ID>...|--all|--tenant <TENANT>>",
                c.get_name()
            );
            if many { c.override_usage(usage) } else { c }
        })
}

/// Lets clap hand the global options down, and puts them under a heading of their own there. From then on only
/// `mut_args` may touch arguments: clap has noted their places.
fn built(mut command: clap::Command) -> clap::Command {
    command.build();
    command.mut_args(plain_help).mut_subcommands(globals_apart)
}

fn globals_apart(command: clap::Command) -> clap::Command {
    let apart = |a: clap::Arg| {
        if a.is_global_set() {
            a.help_heading("Global options")
        } else {
            a
        }
    };
    command
        .mut_args(apart)
        .mut_args(plain_help)
        .mut_subcommands(globals_apart)
}

/// `-h` and `--help` say the same here.
fn plain_help(arg: clap::Arg) -> clap::Arg {
    if arg.get_id() == "help" {
        arg.help("Print help").long_help(None)
    } else {
        arg
    }
}

/// The command line as it is parsed: with a grouped overview, and one compact help for `-h` and `--help`.
pub fn command() -> clap::Command {
    let plain = described();
    let mut overview = String::new();
    for (heading, names) in GROUPS {
        overview.push_str(&format!("{heading}:\n"));
        for name in *names {
            let about = plain.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            overview.push_str(&format!("  {name:<12} {about}\n"));
        }
        overview.push('\n');
    }
    let head = "{about}\n\n{before-help}{usage-heading} {usage}\n\n";
    built(compact(plain).help_template(format!("{head}{overview}Options:\n{{options}}{{after-help}}")))
}

/// Puts the long text between the sentence and the usage, so that options stay a line each: clap's own long help
/// spreads them over the page.
fn compact(command: clap::Command) -> clap::Command {
    let (long, examples) = (
        long_text(&command),
        command.get_after_long_help().map(ToString::to_string),
    );
    let mut command = command.long_about(None).after_long_help(None);
    if !long.is_empty() {
        command = command.before_help(long);
    }
    if let Some(examples) = examples {
        command = command.after_help(examples);
    }
    let template = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";
    command.help_template(template).mut_subcommands(compact)
}

/// What the long description says beyond its first sentence.
pub fn long_text(command: &clap::Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    long.strip_prefix(&about).unwrap_or(&long).trim().to_owned()
}

/// Reads the command line. `--no-color` counts for help and usage errors too, wherever it stands before `--`.
pub fn parse(typed: &[OsString]) -> Result<Cli, clap::Error> {
    let plain = typed.iter().take_while(|a| *a != "--").any(|a| a == "--no-color");
    let color = if plain { ColorChoice::Never } else { ColorChoice::Auto };
    let matches = understood(typed).map_or_else(
        || {
            let told = command().color(color).try_get_matches_from(typed);
            told.map_err(super::synonym::pointed)
        },
        Ok,
    )?;
    Cli::from_arg_matches(&matches)
}

/// A command line that has no mistakes and asks for no help. To define all other subcommands as well, and what all help
/// texts look like, would be half of what a short command takes.
fn understood(typed: &[OsString]) -> Option<clap::ArgMatches> {
    // If this is the value of a global option, the line has a mistake by this definition, too.
    let command = typed.iter().skip(1).find_map(|word| alone(word.to_str()?))?;
    let root = clap::Command::new("hostel")
        .subcommand_required(true)
        .disable_help_subcommand(true);
    let only = Global::augment_args(root).subcommand(command);
    only.try_get_matches_from(typed).ok()
}
