//! The monitor's life while its VE runs: one poll loop over init, console, notify socket and whoever asks.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::asker::{is_there, reply};
use crate::console::{self, Console, Viewer};
use crate::error::{Result, Step};
use crate::exit::{self, Ended};
use crate::finisher::Finisher;
use crate::notify::{Heard, Notify};
use crate::pace::{self, Pace};
use crate::request::{Answer, Request, SOCKET};
use crate::sheet::Sheet;
use crate::spec::{Init, Watch};
use crate::start::Running;
use crate::view::View;
use crate::{after, memory};

/// The longest request line.
const LONGEST: usize = 256;
/// More connections than this at once are turned away.
const MOST: usize = 64;

/// How the VE ended, and whether it is ours to clear up.
#[derive(Debug)]
pub struct Outcome {
    /// Why init is gone.
    pub ended: Ended,
    /// False if a command that clears up itself is waiting for this end.
    pub clear: bool,
    /// What keeps the VE's root mounted until this process ends or becomes another program.
    pub roots: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Monitor {
    init: Init,
    pidfd: OwnedFd,
    console: Option<Console>,
    notify: Option<Notify>,
    view: Option<View>,
    sheet: Option<Sheet>,
    pace: Pace,
    listener: UnixListener,
    viewers: Vec<Viewer>,
    askers: Vec<(UnixStream, Vec<u8>)>,
    waiting: Vec<UnixStream>,
    booted: Option<bool>,
    clearers: Vec<UnixStream>,
    menders: Vec<UnixStream>,
    finishers: Vec<Finisher>,
    after: Vec<String>,
}

/// The listening socket in the VE's run directory; made before init runs, so that a start that was reported can be
/// talked to at once.
pub fn listen(watch: &Watch) -> Result<UnixListener> {
    let path = watch.run_dir.join(SOCKET);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).step("make", path.display())?;
    listener.set_nonblocking(true).step("set up", path.display())?;
    Ok(listener)
}

/// Serves until init has ended.
pub fn serve(watch: &Watch, running: Running, listener: UnixListener, booted: Option<bool>) -> Outcome {
    let log = watch.run_dir.join(console::LOG);
    let size = watch.console_log_size;
    let mut monitor = Monitor {
        init: running.init,
        pidfd: running.pidfd,
        console: running.console.and_then(|master| Console::new(master, log, size).ok()),
        notify: running.notify.map(Notify::new),
        view: running.view,
        sheet: running.sheet,
        pace: Pace::new(),
        listener,
        viewers: Vec::new(),
        askers: Vec::new(),
        waiting: Vec::new(),
        booted,
        clearers: Vec::new(),
        menders: Vec::new(),
        finishers: Vec::new(),
        after: watch.after.clone(),
    };
    memory::forget_code();
    while !monitor.turn() {}
    monitor.hear_last_requests();
    monitor.last_words();
    if let Some(notify) = monitor.notify.take() {
        notify.close();
    }
    monitor.clearers.retain_mut(is_there);
    let ended = exit::of(monitor.init, &monitor.pidfd);
    Outcome {
        // Those that hung up while init lived have been forgotten.
        ended: if monitor.finishers.is_empty() {
            ended
        } else {
            ended.for_good()
        },
        clear: monitor.clearers.is_empty(),
        roots: monitor.finishers.into_iter().filter_map(Finisher::into_root).collect(),
    }
}

impl Monitor {
    /// Waits for something to do and does it. True when init has ended.
    fn turn(&mut self) -> bool {
        let pause = self.pace.pause();
        let events = self.wait(pause);
        if events.contains(&Source::Init) {
            return true;
        }
        for source in events {
            match source {
                Source::Console => self.relay_output(),
                Source::Notify => self.hear_notify(),
                Source::Listener => {
                    self.accept();
                }
                Source::Others => self.hear_others(),
                Source::View => {
                    if let Some(view) = &mut self.view {
                        view.react(self.pidfd.as_fd());
                    }
                }
                Source::Sheet => {
                    self.pace.count();
                    let _ = self.sheet.as_mut().map(Sheet::answer);
                }
                Source::Init => {}
            }
        }
        false
    }

    fn wait(&self, pause: Option<Duration>) -> Vec<Source> {
        let mut fds = vec![
            PollFd::new(&self.pidfd, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        let mut sources = vec![Source::Init, Source::Listener];
        if let (Some(console), None) = (&self.console, pause) {
            fds.push(PollFd::new(console, PollFlags::IN));
            sources.push(Source::Console);
        }
        if let (Some(notify), None) = (&self.notify, pause) {
            fds.push(PollFd::new(notify, PollFlags::IN));
            sources.push(Source::Notify);
        }
        if let (Some(sheet), None) = (&self.sheet, pause) {
            fds.push(sheet.wait_for());
            sources.push(Source::Sheet);
        }
        if let Some(fd) = self.view.as_ref().and_then(View::wait_for) {
            fds.push(fd);
            sources.push(Source::View);
        }
        fds.extend(self.viewers.iter().map(|v| PollFd::new(v, PollFlags::IN)));
        fds.extend(self.askers.iter().map(|(s, _)| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.waiting.iter().map(|s| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.clearers.iter().map(|s| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.menders.iter().map(|s| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.finishers.iter().map(|s| PollFd::new(s, PollFlags::IN)));
        sources.resize(fds.len(), Source::Others);
        // A terminal that nobody holds open inside reports a hang-up again and again: look at it now and then.
        let idle = pause.is_none() && self.hung_up();
        let timeout = pause.or(idle.then_some(Duration::from_millis(200)));
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        if idle && let Some(at) = sources.iter().position(|s| *s == Source::Console) {
            fds.remove(at);
            sources.remove(at);
        }
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Vec::new(); // interrupted; the next turn looks again
        }
        let mut ready: Vec<Source> = fds
            .iter()
            .zip(&sources)
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, s)| *s)
            .collect();
        ready.dedup();
        ready
    }

    fn hung_up(&self) -> bool {
        let Some(console) = &self.console else { return false };
        let mut fd = [PollFd::new(console, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fd, Some(&now)).is_ok() && fd[0].revents() == PollFlags::HUP
    }

    fn relay_output(&mut self) {
        let mut buffer = [0u8; pace::CHUNK];
        self.pace.count();
        let Some(console) = &mut self.console else { return };
        match console.read(&mut buffer) {
            Ok([]) => {}
            Ok(said) => self.viewers.retain_mut(|v| v.show(said)),
            Err(_) => self.console = None,
        }
    }

    fn hear_notify(&mut self) {
        self.pace.count();
        let heard = self.notify.as_ref().map_or(Heard::Nothing, Notify::hear);
        if heard == Heard::Nothing {
            return;
        }
        // Either way there is nothing more to hear: what init says later is of no use to us.
        if let Some(notify) = self.notify.take() {
            notify.close();
        }
        if heard == Heard::Booted {
            self.booted = Some(true);
            let answer = self.answer();
            for stream in self.waiting.drain(..) {
                reply(&stream, &answer);
            }
        }
    }

    fn connections(&self) -> usize {
        let rest = self.waiting.len() + self.clearers.len() + self.menders.len() + self.finishers.len();
        self.viewers.len() + self.askers.len() + rest
    }

    /// False if nobody was waiting to be let in.
    fn accept(&mut self) -> bool {
        let Ok((stream, _)) = self.listener.accept() else {
            return false;
        };
        if self.connections() < MOST && stream.set_nonblocking(true).is_ok() {
            self.askers.push((stream, Vec::new()));
        }
        true
    }

    /// What was said before init ended, and not yet heard: whoever ends a VE says first what is to become of it.
    fn hear_last_requests(&mut self) {
        for _ in 0..MOST {
            if !self.accept() {
                break;
            }
        }
        self.hear_askers();
    }

    fn hear_others(&mut self) {
        let mut buffer = [0u8; 1024];
        let console = &mut self.console;
        self.viewers.retain_mut(|viewer| match viewer.typed(&mut buffer) {
            Some(typed) => {
                if let (Some(console), false) = (console.as_mut(), typed.is_empty()) {
                    console.type_in(typed);
                }
                true
            }
            None => false,
        });
        // They have nothing to say any more; what is to be read is that they have gone.
        self.waiting
            .retain_mut(|s| matches!(s.read(&mut buffer), Err(e) if e.kind() == io::ErrorKind::WouldBlock));
        self.clearers.retain_mut(is_there);
        self.finishers.retain_mut(Finisher::is_there);
        self.hear_menders();
        self.hear_askers();
    }

    /// One that goes without a word has been killed.
    fn hear_menders(&mut self) {
        let mut killed = false;
        self.menders.retain_mut(|stream| match stream.read(&mut [0]) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => true,
            heard => {
                killed |= !matches!(heard, Ok(1..));
                false
            }
        });
        if killed {
            after::run_beside(&self.after, after::LEFT);
        }
    }

    fn hear_askers(&mut self) {
        let mut buffer = [0u8; 1024];
        for (mut stream, mut line) in std::mem::take(&mut self.askers) {
            match stream.read(&mut buffer) {
                Ok(0) => {}
                Ok(n) => {
                    line.extend_from_slice(&buffer[..n]);
                    match line.iter().position(|b| *b == b'\n') {
                        Some(end) => self.handle(stream, &line[..end], line.len() > end + 1),
                        None if line.len() < LONGEST => self.askers.push((stream, line)),
                        None => {}
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.askers.push((stream, line)),
                Err(_) => {}
            }
        }
    }

    /// `more`: something came with it.
    fn handle(&mut self, stream: UnixStream, line: &[u8], more: bool) {
        let Ok(request) = serde_json::from_slice::<Request>(line) else {
            return;
        };
        match request {
            Request::Status => {}
            Request::AwaitBoot if self.booted == Some(false) => return self.waiting.push(stream),
            Request::AwaitBoot => {}
            Request::Resize(rows, columns) => {
                if let Some(console) = &self.console {
                    console.resize(rows, columns);
                }
            }
            // Whether it could be done is in the answer.
            Request::HideView => self.show_files(false),
            Request::ShowView => self.show_files(true),
            Request::LeaveClearing => return self.clearers.push(stream),
            Request::Mend if more => return, // it has done by now
            Request::Mend => return self.menders.push(stream),
            Request::Finish => {
                reply(&stream, &self.answer());
                return self.finishers.push(Finisher::from(stream));
            }
            Request::Console { seen } => return self.add_viewer(stream, seen),
        }
        reply(&stream, &self.answer());
    }

    /// What is mounted in the VE to tell it of itself.
    fn show_files(&mut self, on: bool) {
        let init = self.pidfd.as_fd();
        let _ = self
            .view
            .as_mut()
            .map(|view| if on { view.show(init) } else { view.hide(init) });
        let _ = self
            .sheet
            .as_ref()
            .map(|sheet| if on { sheet.show(init) } else { sheet.hide(init) });
    }

    fn add_viewer(&mut self, stream: UnixStream, seen: Option<Init>) {
        reply(&stream, &self.answer());
        let (Some(console), Ok(mut viewer)) = (&self.console, Viewer::new(stream)) else {
            return;
        };
        if seen == Some(self.init) || viewer.show(&console.so_far()) {
            self.viewers.push(viewer);
        }
    }

    fn answer(&self) -> Answer {
        let monitor = std::process::id();
        Answer {
            init: self.init,
            monitor,
            booted: self.booted,
            console: self.console.is_some(),
            view: self.view.as_ref().is_some_and(View::is_on),
        }
    }

    /// What the guest said right before it ended is still in the terminal's buffer.
    fn last_words(&mut self) {
        for _ in 0..64 {
            let mut buffer = [0u8; 4096];
            match self.console.as_mut().map(|c| c.read(&mut buffer)) {
                Some(Ok(said)) if !said.is_empty() => self.viewers.retain_mut(|v| v.show(said)),
                _ => break,
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Init,
    Console,
    Notify,
    Listener,
    View,
    Sheet,
    Others,
}
