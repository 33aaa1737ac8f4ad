//! Limits by what they do to real streams and datagrams, between network namespaces.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::testing::{Space, host_and_ve, link, network};
use super::super::{Link, Network};
use super::{Direction, Pace, Shape};

const VE: &str = "192.0.2.10";
const VE_TOO: &str = "192.0.2.11";
const HOST: &str = "203.0.113.1";
const HOST_TOO: &str = "203.0.113.2";
const MBIT: u64 = 1_000_000;
/// A whole frame with its Ethernet header, and what of it is payload of UDP.
const FRAME: u64 = 1514;
const PAYLOAD: usize = 1472;

fn pace(rate: u64) -> Option<Pace> {
    Some(Pace { rate, burst: None })
}

/// A VE's limits: of all together to it and from it, and of each of its links.
fn shape(whole: [Option<Pace>; 2], links: &[[Option<Pace>; 2]]) -> Shape {
    let direction = |way: usize, device: &str| Direction {
        device: device.to_owned(),
        whole: whole[way],
        links: links
            .iter()
            .enumerate()
            .map(|(n, own)| (format!("hv101.{n}"), own[way]))
            .collect(),
    };
    Shape {
        alias: "hostel VE 101".to_owned(),
        inward: direction(0, "hv101.i"),
        outward: direction(1, "hv101.o"),
    }
}

fn set(host: &Space, shape: &Shape) {
    host.run(|| network().shape(shape)).unwrap();
}

/// A VE on a host that has an address for it to speak to.
fn pair() -> Option<(Space, Space)> {
    let (host, ve) = host_and_ve(101, &[VE])?;
    host.ip(&format!("addr add {HOST}/32 dev lo"));
    Some((host, ve))
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Tcp,
    /// So many bits per second are sent.
    Udp(u64),
}

/// Bits per second, as frames, that come from one to the other in a time after the first half second.
fn measure(from: &Space, to: &Space, address: &str, kind: Kind, time: Duration) -> f64 {
    let warm = Duration::from_millis(500);
    let done = AtomicBool::new(false);
    match kind {
        Kind::Tcp => {
            let listener = to.run(|| TcpListener::bind((address, 0)).unwrap());
            let at = listener.local_addr().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut stream = from.run(|| TcpStream::connect(at).unwrap());
                    // Ends when the other side has heard enough.
                    while stream.write_all(&[0; 65536]).is_ok() {}
                });
                let (mut stream, _) = listener.accept().unwrap();
                metered(warm, time, || frames(&mut stream))
            })
        }
        Kind::Udp(rate) => {
            let receiver = to.run(|| UdpSocket::bind((address, 0)).unwrap());
            receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let at = receiver.local_addr().unwrap();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let socket = from.run(|| UdpSocket::bind(("0.0.0.0", 0)).unwrap());
                    socket.connect(at).unwrap();
                    let (begun, mut sent) = (Instant::now(), 0.0);
                    let ended = || done.load(Ordering::Relaxed);
                    while !ended() {
                        while sent < rate as f64 * begun.elapsed().as_secs_f64() && !ended() {
                            let _ = socket.send(&[0; PAYLOAD]);
                            sent += FRAME as f64 * 8.0;
                        }
                        thread::sleep(Duration::from_micros(500));
                    }
                });
                // Also if that fails, or nobody would end the sending.
                let _end = End(&done);
                let (mut buffer, mut bytes) = ([0; FRAME as usize], 0);
                metered(warm, time, || {
                    assert_eq!(receiver.recv(&mut buffer).unwrap(), PAYLOAD);
                    bytes += FRAME;
                    bytes
                })
            })
        }
    }
}

/// Sets it when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads a stream, and tells in bytes how many whole frames have come so far. What is read comes in lumps where a frame
/// was lost, so the kernel is asked: tcpi_data_segs_in of struct tcp_info.
fn frames(stream: &mut TcpStream) -> u64 {
    let mut buffer = [0; 1 << 16];
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let _ = stream.read(&mut buffer);
    let mut info = [0_u32; 64];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    let asked = unsafe {
        let info = info.as_mut_ptr().cast();
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info,
            &raw mut length,
        )
    };
    assert_eq!(asked, 0);
    u64::from(info[152 / 4]) * FRAME
}

/// Bits per second that a meter of bytes shows after `warm`, in `time`. Whatever holds this up makes it seem less and
/// never more.
fn metered(warm: Duration, time: Duration, mut meter: impl FnMut() -> u64) -> f64 {
    let warming = Instant::now();
    let (mut begun, mut start) = (warming, 0);
    while warming.elapsed() < warm {
        begun = Instant::now();
        start = meter();
    }
    let mut now = start;
    while begun.elapsed() < time {
        now = meter();
    }
    (now - start) as f64 * 8.0 / begun.elapsed().as_secs_f64()
}

/// Never more than the limit; as much, as soon as the machine's other load lets it.
#[track_caller]
fn gets(what: &str, limit: u64, mut once: impl FnMut() -> f64) {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        let share = once() / limit as f64;
        println!("{what}: {share:.3} of {limit} bit/s");
        assert!(share <= 1.05, "{what}: {share} of {limit} bit/s");
        if share >= 0.95 {
            return;
        }
        assert!(Instant::now() < end, "{what}: only {share} of {limit} bit/s");
    }
}

/// One direction after the other: a stream's acknowledgements go the other way, within the other limit.
#[track_caller]
fn both_ways(host: &Space, ve: &Space, limit: u64, time: Duration) {
    set(host, &shape([pace(limit); 2], &[[None; 2]]));
    for (way, from, to, address) in [("in", host, ve, VE), ("out", ve, host, HOST)] {
        for kind in [Kind::Tcp, Kind::Udp(limit + limit / 3)] {
            gets(&format!("{kind:?} {way}"), limit, || {
                measure(from, to, address, kind, time)
            });
        }
    }
}

#[test]
fn streams_and_datagrams_are_as_fast_as_the_limit() {
    let Some((host, ve)) = pair() else { return };
    both_ways(&host, &ve, MBIT, Duration::from_secs(2));
}

#[test]
fn faster_ones_too() {
    let Some((host, ve)) = pair() else { return };
    both_ways(&host, &ve, 100 * MBIT, Duration::from_secs(1));
}

/// At once, and without a connection being lost: what is open goes on at another pace.
#[test]
fn limits_change_and_end_while_something_is_sent() {
    let Some((host, ve)) = pair() else { return };
    let set = |inward| set(&host, &shape([inward, pace(100 * MBIT)], &[[None; 2]]));
    set(pace(2 * MBIT));
    let listener = ve.run(|| TcpListener::bind((VE, 0)).unwrap());
    let mut sending = host.run(|| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| while sending.write_all(&[0; 65536]).is_ok() {});
        let mut rate = |limit| {
            let warm = Duration::from_secs(1);
            gets("what is open", limit, || metered(warm, warm, || frames(&mut stream)));
        };
        rate(2 * MBIT);
        set(pace(20 * MBIT));
        rate(20 * MBIT);
        // What waits is in larger pieces than now may pass at once.
        set(pace(3 * MBIT));
        rate(3 * MBIT);
        set(None);
        let free = metered(Duration::ZERO, Duration::from_millis(300), || frames(&mut stream));
        drop(stream);
        assert!(free > 40.0 * MBIT as f64, "{free}");
    });
    assert_eq!(host.interfaces(), ["hv101.0", "hv101.o"]);
    host.run(|| network().shape(&shape([None; 2], &[[None; 2]]))).unwrap();
    assert_eq!(host.interfaces(), ["hv101.0"]);
    let queues = host.output("tc", "qdisc show dev hv101.0").stdout;
    assert!(!String::from_utf8(queues).unwrap().contains("clsact"));
}

/// The limits of links and of the VE apply both, and a link's is its own.
#[test]
fn links_have_limits_of_their_own() {
    let Some(host) = Space::new() else { return };
    let Some(ve) = Space::new() else { return };
    host.run(|| network().prepare_host()).unwrap();
    let links: [Link; 2] = [link(101, 0, &[VE]), link(101, 1, &[VE_TOO])];
    host.run(|| network().attach(ve.fd(), &links)).unwrap();
    host.ip(&format!("addr add {HOST}/32 dev lo"));
    host.ip(&format!("addr add {HOST_TOO}/32 dev lo"));
    let second = Duration::from_secs(1);
    let flood = Kind::Udp(40 * MBIT);
    let to = |address| measure(&host, &ve, address, flood, second);
    // The second alone, in its own limit; the first is free in that of the VE.
    set(
        &host,
        &shape([pace(10 * MBIT), None], &[[None, None], [pace(2 * MBIT), None]]),
    );
    gets("the first alone", 10 * MBIT, || to(VE));
    gets("the second alone", 2 * MBIT, || to(VE_TOO));
    gets("both together", 10 * MBIT, || {
        thread::scope(|scope| {
            let other = scope.spawn(|| to(VE));
            let slow = to(VE_TOO);
            assert!(slow <= 2.1 * MBIT as f64, "{slow}");
            slow + other.join().unwrap()
        })
    });
    // Without one for all: the other link goes nowhere near a queue. From the VE, told apart by where it comes from.
    set(
        &host,
        &shape(
            [None, pace(10 * MBIT)],
            &[[None, pace(3 * MBIT)], [pace(2 * MBIT), None]],
        ),
    );
    gets("the second alone", 2 * MBIT, || to(VE_TOO));
    let free = to(VE);
    assert!(free > 25.0 * MBIT as f64, "{free}");
    let out = |own: &str| {
        ve.ip(&format!("route replace {HOST} via 169.254.1.1 dev {own} onlink"));
        measure(&ve, &host, HOST, flood, second)
    };
    gets("out by the first", 3 * MBIT, || out("eth0"));
    host.set_sysctl("ipv4/conf/hv101.1/rp_filter", "0");
    gets("out by the second", 10 * MBIT, || out("eth1"));
    // From classes back to one row, and to nothing.
    set(&host, &shape([None, pace(4 * MBIT)], &[[None; 2]; 2]));
    gets("out by both", 4 * MBIT, || out("eth1"));
    assert_eq!(host.interfaces(), ["hv101.0", "hv101.1", "hv101.o"]);
}

/// A guest with root has its own end only.
#[test]
fn a_guest_with_root_gets_no_more() {
    let Some((host, ve)) = pair() else { return };
    set(&host, &shape([pace(5 * MBIT), pace(5 * MBIT)], &[[None; 2]]));
    ve.ip("link set eth0 mtu 9000 txqueuelen 100000");
    // Not every kernel takes that much.
    ve.output("ip", "link set eth0 gso_max_size 65536");
    ve.ip("addr add 192.0.2.77/32 dev eth0");
    ve.output("tc", "qdisc replace dev eth0 root pfifo limit 100000");
    let second = Duration::from_secs(1);
    for kind in [Kind::Tcp, Kind::Udp(200 * MBIT)] {
        gets(&format!("{kind:?} with a large MTU"), 5 * MBIT, || {
            measure(&ve, &host, HOST, kind, second)
        });
    }
    // Frames that are no IP, of all sizes, to all, and with next to nothing in them: counted where they arrive.
    let received = || -> f64 {
        let shown = host.ip_json("-s link show hv101.o");
        shown[0]["stats64"]["tx"]["bytes"].as_f64().unwrap()
    };
    for length in [14, 15, 60, 1514] {
        let (before, begun) = (received(), Instant::now());
        ve.run(|| raw::flood(length, Duration::from_secs(1)));
        let rate = (received() - before) * 8.0 / begun.elapsed().as_secs_f64();
        println!("frames of {length}: {rate}");
        assert!(rate <= 5.5 * MBIT as f64, "{rate}");
        assert!(rate > 0.5 * MBIT as f64, "they don't go through the queue: {rate}");
    }
}

/// Whatever is gone or half made is mended by saying it again; what isn't ours is left alone.
#[test]
fn said_again_and_half_made() {
    let Some((host, ve)) = pair() else { return };
    let wanted = shape([pace(5 * MBIT), pace(5 * MBIT)], &[[pace(2 * MBIT), None]]);
    set(&host, &wanted);
    let shown = || {
        let of = |what: &str| String::from_utf8(host.output("tc", what).stdout).unwrap();
        let filters = of("filter show dev hv101.0 ingress") + &of("filter show dev hv101.0 egress");
        format!("{}{filters}", of("qdisc show"))
    };
    let before = shown();
    assert!(before.contains("hv101.i") && before.contains("hv101.o"), "{before}");
    set(&host, &wanted);
    assert_eq!(shown(), before);
    let names = ["hv101.i", "hv101.o"].map(str::to_owned);
    assert_eq!(host.run(|| network().shapers("hv")).unwrap(), names);
    assert!(
        host.run(|| network().list("hv"))
            .unwrap()
            .iter()
            .all(|l| l.name == "hv101.0")
    );
    assert_eq!(host.ip_json("link show hv101.i")[0]["ifalias"], "hostel VE 101");
    assert_eq!(host.sysctl("ipv6/conf/hv101.i/disable_ipv6"), "1");
    // With the queue gone nothing passes, and with another of that name neither.
    host.ip("link del hv101.i");
    assert!(!host.ping(VE, 1));
    host.ip("link add hv101.i type bridge");
    assert!(host.run(|| network().shape(&wanted)).is_err());
    assert!(host.run(|| network().unshape(&names)).is_err(), "one isn't ours");
    assert!(host.interfaces().contains(&"hv101.o".to_owned()));
    host.ip("link del hv101.i");
    set(&host, &wanted);
    assert!(host.ping(VE, 3));
    // A link that is gone is an error, and the VE's end takes none of the queues along.
    host.ip("link del hv101.0");
    drop(ve);
    assert!(host.run(|| network().shape(&wanted)).is_err());
    for _ in 0..2 {
        host.run(|| network().unshape(&names)).unwrap();
        assert_eq!(host.interfaces(), [""; 0]);
    }
}

#[test]
fn what_this_kernel_has() {
    let Some(host) = Space::new() else { return };
    let began = Instant::now();
    assert_eq!(host.run(|| network().unable_to_shape()).unwrap(), None);
    println!("found out in {:?}", began.elapsed());
    assert_eq!(host.interfaces(), [""; 0]);
}

/// Sending of bare frames.
mod raw {
    use std::time::{Duration, Instant};

    use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// Sends frames of this length to everybody, of a protocol that nobody speaks, as fast as it can.
    pub fn flood(length: usize, time: Duration) {
        // SAFETY: plain system calls with arguments that live as long as they take.
        unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
            assert!(socket >= 0);
            let socket = OwnedFd::from_raw_fd(socket);
            let index = libc::if_nametoindex(c"eth0".as_ptr());
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_ifindex = index.cast_signed();
            let mut frame = vec![0xff; 6];
            frame.extend([2, 0, 0, 0, 0x65, 0, 0x88, 0xb5]);
            frame.resize(length, 0);
            let begun = Instant::now();
            while begun.elapsed() < time {
                libc::sendto(
                    socket.as_raw_fd(),
                    frame.as_ptr().cast(),
                    length,
                    0,
                    std::ptr::from_ref(&to).cast(),
                    size_of_val(&to) as u32,
                );
            }
        }
    }
}
