//! Work of a known size, timed by itself, to be run on the host and inside a VE: `load cpu`, `load copy`,
//! `load write FILE`, `load read FILE`, `load cold FILE`. Prints nanoseconds. `load hold MIB FILE` holds that much memory
//! until it is ended, and makes the file when it is filled.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::time::Instant;

const FILE_SIZE: usize = 256 << 20;
const BUFFER: usize = 1 << 20;

unsafe extern "C" {
    fn posix_fadvise(fd: i32, offset: i64, len: i64, advice: i32) -> i32;
}
const DONT_NEED: i32 = 4;

/// Whole-number arithmetic that no compiler can shorten.
fn compute() {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..400_000_000_u64 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    black_box(x);
}

/// Copies 4 GiB between buffers larger than any cache.
fn copy() {
    let from = vec![1_u8; 64 << 20];
    let mut to = vec![0_u8; 64 << 20];
    for _ in 0..64 {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
}

/// Memory in which no page is like another, so that nothing of it can be left out of a dump.
fn hold(mib: usize, ready: &str) {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let memory: Vec<u64> = (0..mib << 17).map(|_| next()).collect();
    File::create(ready).expect("make the file");
    loop {
        std::thread::park();
        black_box(&memory);
    }
}

fn write(path: &str) {
    let mut file = File::create(path).expect("make the file");
    let block: Vec<u8> = (0..BUFFER).map(|i| (i * 31 >> 3) as u8).collect();
    for _ in 0..FILE_SIZE / BUFFER {
        file.write_all(&block).expect("write the file");
    }
    file.sync_all().expect("sync the file");
}

fn read_through(file: &mut File) {
    let mut buffer = vec![0_u8; BUFFER];
    file.rewind().expect("go to the start");
    let mut total = 0;
    loop {
        match file.read(&mut buffer).expect("read the file") {
            0 => break,
            n => total += n,
        }
    }
    assert_eq!(total, FILE_SIZE);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let file = || File::open(&args[1]).expect("open the file");
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        println!("{}", start.elapsed().as_nanos());
    };
    match args.first().map(String::as_str) {
        Some("cpu") => time(&mut compute),
        Some("copy") => time(&mut copy),
        Some("hold") => hold(args[1].parse().expect("a number of MiB"), &args[2]),
        Some("write") => time(&mut || write(&args[1])),
        Some("read") => {
            let mut file = file();
            read_through(&mut file); // into the page cache
            time(&mut || (0..8).for_each(|_| read_through(&mut file)));
        }
        Some("cold") => {
            let mut file = file();
            // SAFETY: no memory is passed.
            let advised = unsafe { posix_fadvise(file.as_raw_fd(), 0, 0, DONT_NEED) };
            assert_eq!(advised, 0);
            time(&mut || read_through(&mut file));
        }
        _ => std::process::exit(2),
    }
}
