//! `vzsplit`: a plan for each of so many equal parts of this host.

use std::process::ExitCode;

use hostel_model::openvz::{Conf, PAGE};
use hostel_model::stat::{Figure, HostReading};

use super::super::options::{Opt, flag, valued};
use super::super::word::{Stop, Tool, print};

const VZSPLIT: Tool = Tool("vzsplit");

const USAGE: &str = "Usage: vzsplit -n N [-f NAME] [-s SWAP_KB] [-v yes|no]\n\
    Divides nine tenths of this host into N equal parts. With -f it is a plan that VEs can be made on, plans/NAME.toml;\n\
    without it the sample is printed. -s divides so much swap instead of what there is.\n";

/// Of memory and of disk: what the smallest guest, busybox, boots with.
const LEAST: u64 = 16 << 20;
/// Of processes.
const LEAST_PROCESSES: u64 = 16;

/// The host keeps the rest to itself.
const TENTHS: u64 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Parts,
    Name,
    Swap,
    Verbose,
    Help,
}

const OPTIONS: &[Opt<Is>] = &[
    valued(Is::Parts, 'n', "number"),
    valued(Is::Name, 'f', "file"),
    valued(Is::Swap, 's', "swap"),
    valued(Is::Verbose, 'v', "verbose"),
    flag(Is::Help, 'h', "help"),
];

/// A part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    memory: u64,
    swap: u64,
    disk: u64,
    processes: u64,
}

/// The tool.
pub fn main() -> ExitCode {
    VZSPLIT.end(run(&Tool::typed()))
}

fn run(words: &[String]) -> Result<u8, Stop> {
    let Some(typed) = Tool::read(OPTIONS, Is::Help, USAGE, words)? else {
        return Ok(0);
    };
    Tool::no_operand(&typed, USAGE)?;
    let value = |is| typed.value(is);
    let number = |is| {
        let text = value(is);
        text.map(|text| {
            text.parse()
                .map_err(|_| Stop::Said(format!("{text} is not a number"), 1))
        })
        .transpose()
    };
    let Some(parts @ 1..) = number(Is::Parts)? else {
        return Err(Stop::Said(format!("into how many parts? -n N, from 1\n{USAGE}"), 1));
    };
    let engine = Tool::engine()?;
    let part = split(
        &engine.host_now(),
        parts,
        number(Is::Swap)?.map(|kb| kb.saturating_mul(1024)),
    );
    let part = part.ok_or_else(|| Stop::Said("what this host has can't be told".into(), 1))?;
    if part.memory < LEAST || part.disk < LEAST || part.processes < LEAST_PROCESSES {
        return Err(Stop::Said(
            format!(
                "in each of {parts} parts nothing could run: {} KiB of memory, {} MiB of disk, {} processes",
                part.memory >> 10,
                part.disk >> 20,
                part.processes
            ),
            1,
        ));
    }
    match value(Is::Name) {
        None => print(&sample(&part))?,
        Some(name) => {
            engine.write_plan(name, &plan(&part, parts))?;
            if value(Is::Verbose) == Some("yes") {
                print(&plan(&part, parts))?;
            }
            print(&format!("Plan {name} was created\n"))?;
        }
    }
    Ok(0)
}

/// One of so many parts.
pub fn split(host: &HostReading, parts: u64, swap: Option<u64>) -> Option<Part> {
    let part = |n: u64| n / 10 * TENTHS / parts;
    let of = |figure: Figure| host.sizes[figure].map(part);
    Some(Part {
        memory: of(Figure::Memory)? / PAGE * PAGE,
        swap: swap.map_or_else(|| of(Figure::Swap).unwrap_or(0), |swap| swap / parts) / PAGE * PAGE,
        disk: of(Figure::Disk)? >> 20 << 20,
        processes: of(Figure::Processes)?,
    })
}

/// As a plan of Hostel's.
pub fn plan(part: &Part, parts: u64) -> String {
    format!(
        "# One of {parts} equal parts of this host, as vzsplit has reckoned.\nprocesses = {}\n[memory]\nlimit = {}\n\
         swap = {}\n[disk]\nsize = {}\n",
        part.processes, part.memory, part.swap, part.disk
    )
}

/// As ve-NAME.conf-sample.
pub fn sample(part: &Part) -> String {
    let mut conf = Conf::default();
    for (name, value) in [
        ("PHYSPAGES", format!("0:{}", part.memory / PAGE)),
        ("SWAPPAGES", format!("0:{}", part.swap / PAGE)),
        ("NUMPROC", format!("{0}:{0}", part.processes)),
        ("DISKSPACE", format!("{0}:{0}", part.disk / 1024)),
        ("CPUUNITS", "1000".to_owned()),
    ] {
        conf.set(name, &value);
    }
    conf.to_string()
}

#[cfg(test)]
mod tests {
    use hostel_model::definition::Plan;
    use hostel_model::stat::Figures;

    use super::*;

    #[test]
    fn equal_parts_of_nine_tenths() {
        let host = HostReading {
            sizes: Figures::each(|f| match f {
                Figure::Memory => Some(8 << 30),
                Figure::Swap => Some(2 << 30),
                Figure::Disk => Some(100 << 30),
                Figure::Processes => Some(32_000),
                _ => None,
            }),
            ..HostReading::default()
        };
        let part = split(&host, 4, None).unwrap();
        assert_eq!(
            (part.memory, part.processes),
            (8 * (1 << 30) / 40 * 9 / PAGE * PAGE, 7_200)
        );
        let parsed = Plan::parse("plans/quarter.toml", &plan(&part, 4)).unwrap();
        assert!(parsed.resources.memory.limit.is_some() && parsed.resources.disk.size.is_some());
        assert!(sample(&part).contains("PHYSPAGES=\"0:471859\"\n"), "{}", sample(&part));
        assert_eq!(split(&host, 4, Some(4 << 20)).unwrap().swap, 1 << 20);
        assert_eq!(split(&HostReading::default(), 4, None), None);
    }
}
