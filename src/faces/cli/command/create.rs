//! `hostel create`

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use hostel_engine::Error;
use hostel_model::edit::parse_setting;
use hostel_model::id::{NetworkName, PlanName, TenantName, VeId, VeName};
use hostel_model::request::{self, StartOptions};

use super::{Done, Json, verb};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::values::duration;
use crate::cli::{parallel, secret};

/// Make a VE
///
/// Everything that is not said comes from the plan and from the host's defaults. Options are short for settings,
/// and --set takes any other that show lists. Nothing is left behind if it fails.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel create web1 --template debian-12 --plan small --address auto
  hostel create db1 --template alpine --plan small --set memory.limit=2GiB
  hostel create --file web1.toml --start --wait --timeout 90s")]
pub struct Create {
    /// Name of the new VE; may be left out if FILE has it
    #[arg(value_name = "NAME", required_unless_present = "file")]
    name: Option<VeName>,

    /// Make it from TEMPLATE, or TEMPLATE/VERSION
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,

    /// Hold it to PLAN
    #[arg(long, value_name = "PLAN")]
    plan: Option<PlanName>,

    /// Give it to TENANT
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantName>,

    /// Join NETWORK
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkName>,

    /// Take ADDRESS, or "auto" for a free one; may be repeated
    #[arg(long = "address", value_name = "ADDRESS", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    addresses: Vec<String>,

    /// Call it HOSTNAME inside
    #[arg(long, value_name = "HOSTNAME")]
    hostname: Option<String>,

    /// Set root's password by HASH, as in /etc/shadow
    #[arg(long, value_name = "HASH", conflicts_with = "password_file")]
    password_hash: Option<String>,

    /// Set root's password to the first line of FILE; - is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Let the public keys in FILE log in as root; may be repeated
    #[arg(long = "ssh-key", value_name = "FILE")]
    ssh_keys: Vec<PathBuf>,

    /// Set any other KEY; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,

    /// Begin with the definition in FILE; options go on top
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Take ID instead of the next free one
    #[arg(long, value_name = "ID")]
    id: Option<VeId>,

    /// Let WHO share the template's files with it
    #[arg(long, value_name = "WHO")]
    share: Option<Share>,

    /// Start it whenever the host boots
    #[arg(long)]
    onboot: bool,

    /// Start it at once
    #[arg(long)]
    start: bool,

    /// Return only when the guest has booted
    #[arg(long, requires = "start")]
    wait: bool,

    /// Give up waiting after TIME, 2m unless said; the VE runs on
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    timeout: Option<Duration>,

    #[command(flatten)]
    json: Json,
}

/// Who shares the template's page cache: see the design of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Share {
    None,
    Tenant,
    Host,
}

impl Create {
    /// What the engine is asked to do. Reads the files of keys and passwords.
    pub fn request(&self) -> Result<request::Create, Error> {
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut put = |key: &str, value: Option<String>| settings.extend(value.map(|v| (key.to_owned(), v)));
        put("id", self.id.map(|id| id.to_string()));
        put("template", self.template.clone());
        put("plan", self.plan.clone().map(String::from));
        put("tenant", self.tenant.clone().map(String::from));
        put("hostname", self.hostname.clone());
        put("onboot", self.onboot.then(|| "true".to_owned()));
        put(
            "share",
            self.share
                .and_then(|s| s.to_possible_value())
                .map(|s| s.get_name().to_owned()),
        );
        put("network.0.network", self.network.clone().map(String::from));
        put("network.0.addresses", some(self.addresses.join(",")));
        put("guest.password_hash", self.password()?);
        put("guest.ssh_keys", some(secret::keys(&self.ssh_keys)?.join("\n")));
        settings.extend(self.set.iter().cloned());
        let start = StartOptions {
            wait: self.wait,
            timeout: self.timeout,
            ..StartOptions::default()
        };
        Ok(request::Create {
            name: self.name.clone().map(String::from),
            file: self.file.clone(),
            settings,
            start: self.start.then_some(start),
            tree: None,
        })
    }

    fn password(&self) -> Result<Option<String>, Error> {
        match &self.password_file {
            Some(file) => secret::hash_file(file).map(Some),
            None => Ok(self.password_hash.clone()),
        }
    }

    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let request = self.request()?;
        let engine = context.careful_engine()?;
        let file = self
            .file
            .as_deref()
            .and_then(|f| f.file_stem())
            .map(|f| f.to_string_lossy().into_owned());
        let label = self.name.clone().map(String::from).or(file).unwrap_or_default();
        let ve = parallel::one(context.show, &label, |progress| engine.create(&request, progress))?;
        if self.json.json {
            context.print_json_line(&ve)?;
        }
        let done = format!(
            "created with id {}{}",
            ve.id,
            if self.start { " and started" } else { "" }
        );
        context.say(verb::done(ve.name.as_str(), &done, true, context.show.paint).trim_end());
        Ok(Exit::Ok)
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
