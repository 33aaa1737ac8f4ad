//! Doing what a schedule says.

use std::collections::VecDeque;

use hostel_model::id::ScheduleName;
use hostel_system::command;
use hostel_system::scripts::{Bounds, How};
use jiff::Timestamp;

use super::record::LastRun;
use crate::error::{Class, Error, Result, chain};
use crate::facade::Engine;
use crate::interrupt;

/// How much is kept of what it says: the last, where it tells what went wrong.
const KEPT: usize = 16 << 10;

impl Engine {
    /// Runs a schedule's command and waits for its end; `hear` gets what it says as it comes. `due`: when it was due, if the
    /// manager runs it. Refused while it runs already.
    pub fn run_schedule(
        &self,
        name: &ScheduleName,
        due: Option<Timestamp>,
        hear: &mut dyn FnMut(&[u8]),
    ) -> Result<LastRun> {
        let schedule = self.host.schedule(name)?;
        let Some(_lock) = self.host.lock_schedule(name)? else {
            return Err(Error::new(Class::Busy, format!("schedule {name} runs already"))
                .hint(format!("see since when with: hostel schedule show {name}")));
        };
        let mut run = LastRun::begin(due, self.now());
        self.host.write_run(name, &run)?;
        let mut args = vec!["--config".to_owned(), self.host.config_file.display().to_string()];
        args.extend(schedule.run.iter().cloned());
        let bounds = Bounds {
            patience: schedule.timeout.duration(),
            interrupted: Some(interrupt::flag()),
        };
        let mut said = VecDeque::with_capacity(KEPT);
        let how = command::attend(&self.host.program, &args, bounds, &mut |piece| {
            hear(piece);
            said.extend(piece);
            said.drain(..said.len().saturating_sub(KEPT));
        });
        run.ended = Some(self.now());
        run.said = String::from_utf8_lossy(said.make_contiguous()).into_owned();
        (run.result, run.code) = match how {
            Ok(How::Code(0)) => ("done".to_owned(), Some(0)),
            Ok(How::Code(code)) => (format!("failed with code {code}"), Some(code)),
            Ok(how) => (how.to_string(), None),
            Err(e) => (chain(&Error::from(e)), None),
        };
        self.host.write_run(name, &run)?;
        Ok(run)
    }
}
