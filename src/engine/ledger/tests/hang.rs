//! One VE whose files don't answer holds up no other.

use std::time::{Duration, Instant};

use crate::facade::Silent;
use crate::facade::tests::Heard;
use crate::manager::Sampler;
use crate::testing::{engine, fakes, host, id, order, started, with_ve};

/// What is read of the VE is a pipe that nobody writes to: whoever opens it waits, as for a disk that hangs.
#[test]
fn one_that_hangs_is_left_out_until_it_answers() {
    let host = host().make();
    with_ve(&host, &[]);
    started(&host);
    engine(&host).create(&order("web2", &[]), &Silent).unwrap();
    let pipe = host.dirs.ve(id(102)).join("traffic.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let heard = Heard::default();
    let mut sampler = Sampler::new(&host);
    let pass = sampler.pass(&heard, &|| {}).unwrap();
    assert_eq!((pass.measured, pass.failed), (1, 1));
    let began = Instant::now();
    for _ in 0..3 {
        fakes(&host).time.pass(60);
        let pass = sampler.pass(&heard, &|| {}).unwrap();
        assert_eq!((pass.measured, pass.failed), (1, 1));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "it is waited for once");
    let told = heard.notes();
    assert!(told.len() == 1 && told[0].contains("VE 102"), "{told:?}");
    std::fs::write(&pipe, r#"{"sums":[]}"#).unwrap();
    std::fs::remove_file(&pipe).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        // Those that don't run are looked at once an hour.
        fakes(&host).time.pass(3600);
        let pass = sampler.pass(&heard, &|| {}).unwrap();
        if (pass.measured, pass.failed) == (2, 0) {
            break;
        }
        assert!(Instant::now() < end, "{pass:?}");
    }
}
