//! Work of a known size, timed by itself, to be run on the host and inside a VE: `load cpu`, `load copy`,
//! `load write FILE`, `load read FILE`, `load cold FILE`. Prints nanoseconds. `load hold MIB FILE` holds that much memory
//! until it is ended, and makes the file when it is filled. `load datagrams ADDRESS:PORT BITS SECONDS` sends UDP in whole
//! frames of Ethernet, so many bits of them per second.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Seek, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const FILE_SIZE: usize = 256 << 20;
const BUFFER: usize = 1 << 20;

unsafe extern "C" {
    fn posix_fadvise(fd: i32, offset: i64, len: i64, advice: i32) -> i32;
    fn setsockopt(fd: i32, level: i32, name: i32, value: *const i32, len: u32) -> i32;
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

/// Frames of 1514 bytes without their checksum. Those of a millisecond are handed to the kernel in one piece, which it
/// cuts: one by one they would take a processor of their own at 1 Gbit/s.
fn datagrams(to: &str, bits: f64, seconds: f64) {
    const FRAME: f64 = 1514.0 * 8.0;
    let socket = UdpSocket::bind("0.0.0.0:0").expect("make a socket");
    socket.connect(to).expect("name the other side");
    let (udp, segment, size) = (17, 103, 1472_i32); // SOL_UDP, UDP_SEGMENT
    // SAFETY: the kernel reads the four bytes of `size`.
    let set = unsafe { setsockopt(socket.as_raw_fd(), udp, segment, &raw const size, 4) };
    assert_eq!(set, 0);
    let together = (bits / 1000.0 / FRAME).clamp(1.0, 40.0) as usize;
    let (begun, mut sent) = (Instant::now(), 0.0);
    while begun.elapsed().as_secs_f64() < seconds {
        while sent < bits * begun.elapsed().as_secs_f64().min(seconds) {
            let _ = socket.send(&vec![0; together * 1472]); // nobody may be listening
            sent += together as f64 * FRAME;
        }
        std::thread::sleep(Duration::from_micros(500));
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
        Some("datagrams") => {
            let number = |n: usize| args[n].parse().expect("a number");
            datagrams(&args[1], number(2), number(3));
        }
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
