//! hostel-monitor: the process at the side of every VE. Run by Hostel, never by hand.

#![allow(unsafe_code)]

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use hostel_monitor::error::{Result, Step};
use hostel_monitor::message::{Channel, FromMonitor};
use hostel_monitor::sheet::Sheet;
use hostel_monitor::spec::{Adopt, Resume, Role, Start, Watch};
use hostel_monitor::start::Running;
use hostel_monitor::view::View;
use hostel_monitor::{adopt, after, enter, exit, identity, inherit, place, resume, serve, start, sys};

/// Arguments: the numbers of the control socket and of the orders (a [`Role`] as JSON in memory).
fn main() -> ExitCode {
    let numbers: Vec<i32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let &[control, spec] = numbers.as_slice() else {
        return ExitCode::from(2); // run by hand
    };
    let (Ok(control), Ok(spec)) = (sys::inherited(control), sys::inherited(spec)) else {
        return ExitCode::from(2);
    };
    // The kernel calls it by the number of the descriptor that it was run from.
    let _ = rustix::thread::set_name(c"hostel-monitor");
    let keep = [control.as_raw_fd(), spec.as_raw_fd()];
    let engine = Channel::from(control);
    let outcome = sys::close_all_but(&keep)
        .step("close", "what was inherited")
        .and_then(|()| {
            let role = read_role(spec)?;
            inherit::reset()?;
            match role {
                Role::Start(spec) => run_start(*spec, &engine),
                Role::Resume(spec) => run_resume(&spec, &engine),
                Role::Adopt(spec) => run_adopt(spec, &engine),
                Role::Enter(spec) => enter::enter(*spec, &engine),
            }
        });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // If the engine is gone too, its journal tells the next command to clear up.
            let _ = engine.send(&FromMonitor::Failed(failure), &[]);
            ExitCode::FAILURE
        }
    }
}

fn read_role(spec: OwnedFd) -> Result<Role> {
    let mut text = String::new();
    std::fs::File::from(spec)
        .read_to_string(&mut text)
        .step("read", "the specification")?;
    serde_json::from_str(&text).step("read", "the specification")
}

/// Leaves the caller's directory, so that no mount of the host's is held; the session is its own from the beginning.
fn detach() -> Result<()> {
    rustix::process::chdir("/").step("enter", "/")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Ctrl-C and hang-ups of the terminal that started a VE are not for it.
    sys::ignore_signals().step("ignore", "signals")
}

/// Init runs by now, so we stay with it whether anybody hears this or not.
fn report_started(engine: &Channel) {
    if engine.send(&FromMonitor::Started, &[]).is_err() {
        engine.fall_silent();
    }
}

fn run_start(spec: Start, engine: &Channel) -> Result<u8> {
    inherit::check_privileges_can_grow()?;
    detach()?;
    let listener = serve::listen(&spec.watch)?;
    let running = start::start(&spec, engine)?;
    report_started(engine);
    let Start { watch, notifies, .. } = spec;
    Ok(watch_over(&watch, running, listener, notifies.then_some(false)))
}

fn run_resume(spec: &Resume, engine: &Channel) -> Result<u8> {
    detach()?;
    place::join_v1(&spec.watch.place)?;
    let listener = serve::listen(&spec.watch)?;
    let (running, criu) = resume::resume(spec, engine)?;
    report_started(engine);
    resume::await_end(criu);
    Ok(watch_over(&spec.watch, running, listener, spec.booted))
}

fn run_adopt(spec: Adopt, engine: &Channel) -> Result<u8> {
    detach()?;
    let pidfd = identity::open(spec.init)?;
    let listener = serve::listen(&spec.watch)?;
    place::join_v1(&spec.watch.place)?;
    report_started(engine);
    // Without one a VE is well enough; the guest may have made it impossible.
    let console = adopt::console(pidfd.as_fd()).ok();
    let view = View::adopted(spec.watch.view.as_deref(), pidfd.as_fd());
    let sheet = Sheet::adopted(&spec.watch, pidfd.as_fd());
    let running = Running {
        init: spec.init,
        pidfd,
        console,
        notify: None,
        view,
        sheet,
    };
    Ok(watch_over(&spec.watch, running, listener, None))
}

/// Serves until the VE ends, then becomes the command that clears up after it.
fn watch_over(watch: &Watch, running: Running, listener: std::os::unix::net::UnixListener, booted: Option<bool>) -> u8 {
    // From here on nobody listens for failures; what can't be had is done without. Only now, so that the VE's processes don't inherit it. Needs CAP_SYS_RESOURCE, which some hosts withhold.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
    let outcome = serve::serve(watch, running, listener, booted);
    let _ = exit::record(&watch.run_dir, outcome.ended);
    if !outcome.clear || watch.after.is_empty() {
        return 0;
    }
    let failure = after::become_it(&watch.after, &outcome.ended.word());
    let _ = std::fs::write(watch.run_dir.join("monitor.error"), failure.to_string());
    1
}
