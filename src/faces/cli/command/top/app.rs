//! What is on the screen, and what each key makes of it. Nothing here waits or touches a terminal.

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hostel_model::id::VeId;
use hostel_model::request::Action;
use hostel_model::stat::{Figure, Kind, Resource, Row};

use super::reader::{Ask, Look, Told};
use crate::cli::command::stat::{Choice, Group, LEAST, Order, View};

/// The longest interval that keys lead to.
const MOST: Duration = Duration::from_secs(60);

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Quit,
    Ask(Ask),
    Act(VeId, String, Action),
}

/// What the keys mean now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    List,
    /// The processes of a VE.
    Processes(VeId, String),
    Help,
    /// Is this VE to be stopped?
    Stop(VeId, String),
    /// The name of a tenant is typed.
    Tenant(String),
}

/// All of it.
#[derive(Debug)]
pub struct App {
    pub choice: Choice,
    pub view: View,
    pub every: Duration,
    pub mode: Mode,
    pub look: Option<Look>,
    /// When that came.
    pub came: Instant,
    /// The line below: what was done, or what went wrong.
    pub message: String,
    /// The line that is chosen; `None`: the first.
    chosen: Option<(Kind, String)>,
    /// By which line of a long list of processes it begins.
    pub skipped: usize,
}

/// The ways to sort that `s` goes through.
const ORDERS: [Order; 4] = [Order::Used, Order::Cap, Order::Share, Order::Name];

fn views() -> Vec<View> {
    std::iter::once(View::Summary)
        .chain(Resource::ALL.map(View::One))
        .collect()
}

/// The one behind (or before) `now`, round about.
fn next<T: PartialEq + Copy>(all: &[T], now: T, back: bool) -> T {
    let at = all.iter().position(|one| *one == now).unwrap_or(0);
    let step = if back { all.len() - 1 } else { 1 };
    all[(at + step) % all.len()]
}

/// What a capital letter sorts by.
fn order_of(letter: char) -> Option<Order> {
    Some(match letter {
        'C' => Order::By(Figure::Cpu),
        'M' => Order::By(Figure::Memory),
        'D' => Order::By(Figure::Disk),
        'R' => Order::By(Figure::Read),
        'W' => Order::By(Figure::Write),
        'I' => Order::By(Figure::In),
        'O' => Order::By(Figure::Out),
        'P' => Order::By(Figure::Processes),
        'N' => Order::Name,
        _ => return None,
    })
}

impl App {
    /// With nothing to show yet.
    pub fn new(choice: Choice, view: View, every: Duration) -> Self {
        Self {
            choice,
            view,
            every,
            mode: Mode::List,
            look: None,
            came: Instant::now(),
            message: String::new(),
            chosen: None,
            skipped: 0,
        }
    }

    /// What the reader says.
    pub fn hear(&mut self, told: Told, now: Instant) {
        match told {
            Told::Look(look) => {
                self.look = Some(*look);
                self.came = now;
            }
            Told::Failed(why) => self.message = why,
        }
    }

    /// A line below.
    pub fn say(&mut self, line: String) {
        self.message = line;
    }

    /// The lines that are wanted, in order.
    pub fn rows(&self) -> Vec<Row> {
        let rows = self.look.as_ref().map(|look| look.rows.clone()).unwrap_or_default();
        self.choice.pick(rows, self.view)
    }

    /// Which of these is chosen, by its place among all.
    pub fn chosen(&self, rows: &[Row]) -> Option<usize> {
        let own = |row: &Row| !matches!(row.kind, Kind::Total | Kind::System);
        let first = || rows.iter().position(own);
        let (kind, name) = match &self.chosen {
            Some(chosen) => chosen,
            None => return first(),
        };
        rows.iter()
            .position(|row| own(row) && row.kind == *kind && row.name == *name)
            .or_else(first)
    }

    /// A key was hit.
    pub fn key(&mut self, key: KeyEvent) -> Option<Deed> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            // The terminal makes no signal of it now.
            return (key.code == KeyCode::Char('c')).then_some(Deed::Quit);
        }
        self.message.clear();
        match std::mem::replace(&mut self.mode, Mode::List) {
            Mode::List => self.in_list(key.code),
            Mode::Help => (key.code == KeyCode::Char('q')).then_some(Deed::Quit),
            Mode::Processes(id, name) => self.in_processes(key.code, id, name),
            Mode::Stop(id, name) => match key.code {
                KeyCode::Char('y' | 'Y') => Some(self.act(id, name, Action::Stop { timeout: None }, "stopping")),
                _ => {
                    self.message = format!("{name} runs on");
                    None
                }
            },
            Mode::Tenant(typed) => {
                self.in_tenant(key.code, typed);
                None
            }
        }
    }

    fn act(&mut self, id: VeId, name: String, action: Action, doing: &str) -> Deed {
        self.message = format!("{name}: {doing} …");
        Deed::Act(id, name, action)
    }

    fn in_list(&mut self, key: KeyCode) -> Option<Deed> {
        match key {
            KeyCode::Char('q') => return Some(Deed::Quit),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-10),
            KeyCode::PageDown => self.go(10),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End => self.go(isize::MAX),
            KeyCode::Tab | KeyCode::Right => self.view = next(&views(), self.view, false),
            KeyCode::BackTab | KeyCode::Left => self.view = next(&views(), self.view, true),
            KeyCode::Char('s') => self.choice.sort = next(&ORDERS, self.choice.sort, false),
            KeyCode::Char('t') => self.mode = Mode::Tenant(String::new()),
            KeyCode::Char('b') => self.choice.by = next(&[Group::Ve, Group::Tenant], self.choice.by, false),
            KeyCode::Char('a') => self.choice.all = !self.choice.all,
            KeyCode::Char('+') => return Some(self.every(self.every / 2)),
            KeyCode::Char('-') => return Some(self.every(self.every * 2)),
            KeyCode::Enter => return self.open(),
            KeyCode::Char('p') => return self.pause(),
            KeyCode::Char('x') => {
                if let Some((id, row)) = self.chosen_ve() {
                    self.mode = Mode::Stop(id, row.name);
                }
            }
            KeyCode::Char(letter) => self.choice.sort = order_of(letter).unwrap_or(self.choice.sort),
            _ => {}
        }
        None
    }

    fn every(&mut self, every: Duration) -> Deed {
        self.every = every.clamp(LEAST.max(Duration::from_millis(250)), MOST);
        Deed::Ask(Ask::Every(self.every))
    }

    /// So many lines further down.
    fn go(&mut self, lines: isize) {
        let rows = self.rows();
        let Some(now) = self.chosen(&rows) else { return };
        let first = rows
            .iter()
            .take_while(|r| matches!(r.kind, Kind::Total | Kind::System))
            .count();
        let to = now
            .saturating_add_signed(lines)
            .clamp(first, rows.len().saturating_sub(1).max(first));
        self.chosen = rows.get(to).map(|row| (row.kind.clone(), row.name.clone()));
    }

    /// The VE that is chosen; if it is something else, that is said.
    fn chosen_ve(&mut self) -> Option<(VeId, Row)> {
        let rows = self.rows();
        let row = self.chosen(&rows).and_then(|at| rows.get(at)).cloned();
        match row.map(|row| (row.kind.clone(), row)) {
            Some((Kind::Ve(id), row)) => Some((id, row)),
            Some(_) => {
                self.message = "this line is of a tenant: b shows a line for each VE".to_owned();
                None
            }
            None => {
                self.message = "no VE is shown".to_owned();
                None
            }
        }
    }

    fn open(&mut self) -> Option<Deed> {
        let (id, row) = self.chosen_ve()?;
        self.mode = Mode::Processes(id, row.name);
        self.skipped = 0;
        Some(Deed::Ask(Ask::Open(Some(id))))
    }

    fn pause(&mut self) -> Option<Deed> {
        let (id, row) = self.chosen_ve()?;
        Some(match row.state.as_str() {
            "paused" => self.act(id, row.name, Action::Unpause, "going on"),
            _ => self.act(id, row.name, Action::Pause, "pausing"),
        })
    }

    fn in_processes(&mut self, key: KeyCode, id: VeId, name: String) -> Option<Deed> {
        match key {
            KeyCode::Char('q') => return Some(Deed::Quit),
            KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace | KeyCode::Left => {
                return Some(Deed::Ask(Ask::Open(None)));
            }
            KeyCode::Down | KeyCode::Char('j') => self.skipped = self.skipped.saturating_add(1),
            KeyCode::Up | KeyCode::Char('k') => self.skipped = self.skipped.saturating_sub(1),
            KeyCode::PageDown => self.skipped = self.skipped.saturating_add(10),
            KeyCode::PageUp => self.skipped = self.skipped.saturating_sub(10),
            KeyCode::Home => self.skipped = 0,
            _ => {}
        }
        self.mode = Mode::Processes(id, name);
        None
    }

    fn in_tenant(&mut self, key: KeyCode, mut typed: String) {
        match key {
            KeyCode::Esc => return,
            KeyCode::Enter if typed.is_empty() => {
                self.choice.tenant.clear();
                return;
            }
            KeyCode::Enter => match typed.parse() {
                Ok(tenant) => {
                    self.choice.tenant = vec![tenant];
                    return;
                }
                Err(_) => self.message = format!("\"{typed}\" is no name of a tenant"),
            },
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Char(c) if typed.len() < 63 => typed.push(c),
            _ => {}
        }
        self.mode = Mode::Tenant(typed);
    }
}
