//! Looking at many VEs at once.

use hostel_model::id::VeId;

/// So few VEs are looked at one after the other: starting a thread would take longer.
const FEW: usize = 16;

/// What `look` says of all these VEs, in order, each processor looking at its share of them.
pub fn each<T: Send>(ids: &[VeId], look: impl Fn(&[VeId]) -> Vec<T> + Sync) -> Vec<T> {
    let threads = || std::thread::available_parallelism().map_or(1, usize::from);
    let share = match ids.len() {
        few @ ..=FEW => few.max(1),
        many => many.div_ceil(threads()).max(FEW),
    };
    let mut rows = Vec::with_capacity(ids.len());
    std::thread::scope(|scope| {
        let mut shares = ids.chunks(share);
        let first = shares.next().unwrap_or_default();
        let look = &look;
        // Where the host has no thread to give, this one does it all.
        let others: Vec<_> = shares
            .map(|ids| {
                let work = move || look(ids);
                (ids, std::thread::Builder::new().spawn_scoped(scope, work).ok())
            })
            .collect();
        rows.extend(look(first));
        for (ids, other) in others {
            rows.extend(other.and_then(|t| t.join().ok()).unwrap_or_else(|| look(ids)));
        }
    });
    rows
}
