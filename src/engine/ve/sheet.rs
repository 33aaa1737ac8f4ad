//! The file in a VE that tells what OpenVZ's /proc/user_beancounters told there.

use hostel_model::beancounters::{DUMMY, PAGE, ROWS, UNLIMITED, begin, head};
use hostel_model::id::VeId;
use hostel_monitor::spec::{Cell, Line, Sheet, Sum};
use hostel_system::cgroup::{Spots, Told};

use crate::host::Host;

/// Where it is. In /proc the kernel lets nobody make a file.
const PATH: &str = "/dev/.hostel/user_beancounters";

impl Host {
    /// The file's rows, if hostel.toml wants VEs to have it: those of `model::beancounters`, but as places to read.
    pub fn sheet(&self, id: VeId) -> Option<Sheet> {
        if !self.config.proc.beancounters {
            return None;
        }
        let told = self.cgroups.told(id);
        let line = |(n, resource): (usize, &&'static str)| Line {
            name: begin(if n == 0 { Some(id) } else { None }, resource),
            cells: cells(resource, &told),
        };
        Some(Sheet {
            path: PATH.to_owned(),
            head: head(),
            lines: ROWS.iter().enumerate().map(line).collect(),
        })
    }
}

/// Held, the most, barrier, limit, failures.
fn cells(resource: &str, told: &Told) -> Vec<Cell> {
    let counted = |spots: &Spots, divide: u64, barrier: Cell| {
        let both = [spots.most.as_slice(), &spots.held].concat();
        vec![
            cell(spots.held.clone(), divide, true, 0),
            cell(both, divide, true, 0),
            barrier,
            cell(spots.limit.clone(), divide, false, UNLIMITED),
            cell(spots.hits.clone(), 1, false, 0),
        ]
    };
    let limit = |spots: &Spots, divide| cell(spots.limit.clone(), divide, false, UNLIMITED);
    let guarantee = || cell(told.guarantee.clone(), PAGE, false, 0);
    match resource {
        DUMMY => vec![number(0), number(0), number(UNLIMITED), number(UNLIMITED), number(0)],
        "numproc" => counted(&told.processes, 1, limit(&told.processes, 1)),
        "physpages" => counted(&told.memory, PAGE, number(0)),
        "swappages" => counted(&told.swap, PAGE, number(0)),
        "lockedpages" => {
            let most = || limit(&told.memory, PAGE);
            vec![number(0), number(0), most(), most(), number(0)]
        }
        "vmguarpages" => vec![number(0), number(0), guarantee(), number(UNLIMITED), number(0)],
        "oomguarpages" => {
            let held = || cell(together(&told.memory.held, &told.swap.held), PAGE, true, 0);
            let kills = cell(told.oom_kills.clone(), 1, false, 0);
            vec![held(), held(), guarantee(), number(UNLIMITED), kills]
        }
        _ => vec![number(0), number(0), number(UNLIMITED), number(UNLIMITED), number(0)],
    }
}

fn cell(any: Vec<Sum>, divide: u64, round_up: bool, otherwise: u64) -> Cell {
    Cell {
        any,
        divide,
        round_up,
        otherwise,
    }
}

fn number(n: u64) -> Cell {
    cell(Vec::new(), 1, false, n)
}

/// Memory and swap in sum, and memory alone where swap isn't told.
fn together(memory: &[Sum], swap: &[Sum]) -> Vec<Sum> {
    let both = memory.iter().zip(swap).map(|(a, b)| Sum {
        plus: [a.plus.as_slice(), &b.plus].concat(),
        minus: [a.minus.as_slice(), &b.minus].concat(),
    });
    both.chain(memory.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use hostel_model::beancounters::{Groups, beancounters, text};

    use crate::testing::{host, id};

    #[test]
    fn a_ve_has_it_only_if_hostel_toml_says_so() {
        assert_eq!(host().make().sheet(id(101)), None);
        let sheet = host()
            .hostel("proc.beancounters = true\n")
            .make()
            .sheet(id(101))
            .unwrap();
        // Where nothing is told, it is the file of one of which nothing is known.
        let mut file = sheet.head.clone();
        for line in &sheet.lines {
            assert_eq!(line.cells.len(), 5);
            let cells: String = line.cells.iter().map(|c| format!(" {:>20}", c.otherwise)).collect();
            file.push_str(&format!("{}{cells}\n", line.name));
        }
        assert_eq!(file, text(&[(id(101), beancounters(&Groups::default()))]));
    }
}
