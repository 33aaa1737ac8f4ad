//! Pieces of TCP of more than 64 KiB: only on links that take them, seen by the host as they pass.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::super::testing::{Space, link, network};
use super::super::{GATEWAY_V4, Link, Network};

const VE: &str = "192.0.2.10";
const AMOUNT: usize = 256 << 20;

/// Linux 6.3 is the first to know of it for IPv4.
fn known() -> bool {
    let release = nix::sys::utsname::uname().unwrap();
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let known = (numbers.next(), numbers.next()) >= (Some(6), Some(3));
    if !known {
        println!("skipped because Linux {release} has no BIG TCP for IPv4");
    }
    known
}

/// Sends from the VE to its host; how many packets of more than 64 KiB came.
fn big_packets(host: &Space, ve: &Space) -> u64 {
    for told in [
        "add table ip seen",
        "add chain ip seen big { type filter hook prerouting priority 0 ; }",
        "add rule ip seen big meta length > 65536 counter",
    ] {
        assert!(host.output("nft", told).status.success(), "{told}");
    }
    let listener = host.run(|| TcpListener::bind((GATEWAY_V4, 0)).unwrap());
    let port = listener.local_addr().unwrap().port();
    let reading = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
        while let Some(n) = Some(stream.read(&mut buffer).unwrap()).filter(|n| *n > 0) {
            total += n;
        }
        total
    });
    ve.run(|| {
        let mut stream = TcpStream::connect((GATEWAY_V4, port)).unwrap();
        let block = vec![7; 1 << 20];
        (0..AMOUNT >> 20).for_each(|_| stream.write_all(&block).unwrap());
    });
    assert_eq!(reading.join().unwrap(), AMOUNT);
    let told = String::from_utf8(host.output("nft", "list table ip seen").stdout).unwrap();
    let counted = told.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    counted.unwrap().parse().unwrap()
}

fn host_and(big_tcp: bool) -> Option<(Space, Space)> {
    let (host, ve) = (Space::new()?, Space::new()?);
    host.run(|| network().prepare_host()).unwrap();
    let link = Link {
        big_tcp,
        ..link(101, 0, &[VE])
    };
    host.run(|| network().attach(ve.fd(), &[link])).unwrap();
    assert!(ve.ping(&GATEWAY_V4.to_string(), 5));
    Some((host, ve))
}

#[test]
fn big_pieces_pass_where_the_network_says_so() {
    if !known() {
        return;
    }
    let Some((host, ve)) = host_and(true) else { return };
    assert!(big_packets(&host, &ve) > 0);
}

#[test]
fn big_pieces_pass_nowhere_else() {
    let Some((host, ve)) = host_and(false) else { return };
    assert_eq!(big_packets(&host, &ve), 0);
}
