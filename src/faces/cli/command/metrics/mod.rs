//! `hostel metrics`

mod serve;
mod text;

use std::sync::Arc;

use clap::Args;
use hostel_model::definition::Listen;

pub use serve::serve;
use text::{Format, Text};

use super::Done;
use crate::cli::context::Context;
use crate::cli::exit::Exit;

/// Print what VEs use for Prometheus, or serve it
///
/// Without --listen once to standard output, in OpenMetrics text; for a file in the directory of node_exporter's textfile
/// collector, which reads the older format alone, with --format prometheus. With --listen until Ctrl-C, by HTTP at /metrics. A socket of a path is root's alone;
/// whoever can reach ADDRESS:PORT can read it, so take 127.0.0.1 or an inner network. docs/STAT.md names every metric.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hostel metrics
  hostel metrics --listen unix:/run/hostel/metrics.sock
  hostel metrics --listen 127.0.0.1:9738")]
pub struct Metrics {
    /// Serve at unix:PATH or ADDRESS:PORT
    #[arg(long, value_name = "WHERE")]
    listen: Option<Listen>,

    /// In which format it is printed; who asks by HTTP gets what he accepts
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "openmetrics",
        conflicts_with = "listen"
    )]
    format: Format,
}

impl Metrics {
    /// Does it.
    pub fn run(&self, context: &Context) -> Done {
        let engine = context.engine()?;
        match &self.listen {
            None => {
                let mut text = Text::new(self.format);
                engine.metrics(&mut |family| text.add(family))?;
                context.print(&text.end())?;
            }
            Some(listen) => serve(context, &Arc::new(engine), listen)?,
        }
        Ok(Exit::Ok)
    }
}
