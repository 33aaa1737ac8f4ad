//! The subcommands, a file each.

pub mod address;
pub mod audit;
pub mod beancounters;
pub mod boot;
pub mod capacity;
pub mod compact;
pub mod completions;
pub mod console;
pub mod create;
pub mod destroy;
pub mod edit;
pub mod enter;
pub mod exec;
pub mod firewall;
pub mod forward;
pub mod help;
pub mod import;
pub mod info;
pub mod init;
pub mod kill;
pub mod ledger;
pub mod limits;
pub mod list;
pub mod log;
pub mod man;
pub mod manager;
pub mod metrics;
pub mod mount;
pub mod network;
pub mod pause;
pub mod pull;
pub mod push;
pub mod reinstall;
pub mod report;
pub mod restart;
pub mod resume;
pub mod runscript;
pub mod schedule;
pub mod set;
pub mod settle;
pub mod show;
pub mod shutdown;
pub mod start;
pub mod stat;
pub mod status;
pub mod stop;
pub mod suspend;
pub mod template;
pub mod tenant;
pub mod top;
pub mod traffic;
pub mod umount;
pub mod unpause;
pub mod verb;
pub mod why;

use super::args::Command;
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

/// How a subcommand ends.
pub type Done = Result<Exit, Failure>;

/// `--json`, for every subcommand that has an answer.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Json {
    /// Print JSON; its shape is stable
    #[arg(long)]
    pub json: bool,
}

/// Runs a subcommand.
pub fn run(command: &Command, context: &Context) -> Done {
    match command {
        Command::Init(c) => c.run(context),
        Command::Create(c) => c.run(context),
        Command::Import(c) => c.run(context),
        Command::Start(c) => c.run(context),
        Command::Stop(c) => c.run(context),
        Command::Kill(c) => c.run(context),
        Command::Restart(c) => c.run(context),
        Command::Reinstall(c) => c.run(context),
        Command::Pause(c) => c.run(context),
        Command::Unpause(c) => c.run(context),
        Command::Suspend(c) => c.run(context),
        Command::Resume(c) => c.run(context),
        Command::Destroy(c) => c.run(context),
        Command::Mount(c) => c.run(context),
        Command::Umount(c) => c.run(context),
        Command::Compact(c) => c.run(context),
        Command::Exec(c) => c.run(context),
        Command::Enter(c) => c.run(context),
        Command::Runscript(c) => c.run(context),
        Command::Console(c) => c.run(context),
        Command::Log(c) => c.run(context),
        Command::Push(c) => c.run(context),
        Command::Pull(c) => c.run(context),
        Command::List(c) => c.run(context),
        Command::Status(c) => c.run(context),
        Command::Stat(c) => c.run(context),
        Command::Capacity(c) => c.run(context),
        Command::Top(c) => c.run(context),
        Command::Limits(c) => c.run(context),
        Command::Beancounters(c) => c.run(context),
        Command::Metrics(c) => c.run(context),
        Command::Why(c) => c.run(context),
        Command::Show(c) => c.run(context),
        Command::Set(c) => c.run(context),
        Command::Edit(c) => c.run(context),
        Command::Info(c) => c.run(context),
        Command::Boot(c) => c.run(context),
        Command::Shutdown(c) => c.run(context),
        Command::Network(c) => c.run(context),
        Command::Address(c) => c.run(context),
        Command::Firewall(c) => c.run(context),
        Command::Traffic(c) => c.run(context),
        Command::Report(c) => c.run(context),
        Command::Ledger(c) => c.run(context),
        Command::Manager(c) => c.run(context),
        Command::Schedule(c) => c.run(context),
        Command::Forward(c) => c.run(context),
        Command::Audit(c) => c.run(context),
        Command::Template(c) => c.run(context),
        Command::Tenant(c) => c.run(context),
        Command::Completions(c) => c.run(context),
        Command::Man(c) => c.run(context),
        Command::Help(c) => c.run(context),
        Command::Settle(c) => c.run(context),
    }
}
