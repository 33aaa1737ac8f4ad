//! Settings that are not as they were.

/// What the kernel wouldn't take back, in a line that isn't too long.
pub(super) fn not_taken(of: &str, settings: &[String]) -> Option<String> {
    const SHOWN: usize = 5;
    let mut list = settings.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if settings.len() > SHOWN {
        list += &format!(" and {} more", settings.len() - SHOWN);
    }
    (!settings.is_empty()).then(|| format!("settings of its {of} that the kernel wouldn't take back: {list}"))
}
