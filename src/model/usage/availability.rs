//! For how much of the time that it should have run a VE did.

use super::Time;
use super::sums::Sums;

/// In thousandths of a percent, rounded down: less than all never looks like all. Time in which it was stopped, paused or
/// suspended is time in which it shouldn't have run. `None`: there was no other.
pub fn availability(sums: &Sums) -> Option<u32> {
    let (ran, lost) = (sums.get(Time::Running.name()), sums.get(Time::Unknown.name()));
    let should = ran.checked_add(lost)?;
    u32::try_from(ran.checked_mul(100_000)?.checked_div(should)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[(&str, u128)]) -> Option<u32> {
        availability(&Sums(times.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()))
    }

    #[test]
    fn what_was_asked_for_is_no_loss() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("stopped_ns", 5), ("paused_ns", 7), ("suspended_ns", 1)]), None);
        assert_eq!(of(&[("running_ns", 3), ("stopped_ns", 5)]), Some(100_000));
        assert_eq!(of(&[("running_ns", 999), ("unknown_ns", 1)]), Some(99_900));
        assert_eq!(of(&[("unknown_ns", 1)]), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn only_all_is_all(ran in 0_u64.., lost in 1_u64..) {
            let part = of(&[("running_ns", ran.into()), ("unknown_ns", lost.into())]).unwrap();
            prop_assert!(part < 100_000);
            prop_assert_eq!(u128::from(part), u128::from(ran) * 100_000 / (u128::from(ran) + u128::from(lost)));
        }
    }
}
