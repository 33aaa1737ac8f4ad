//! How readings and marks are written down, so that a version of Hostel understands what another has written.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::reading::Terms;

/// Lists of counters and levels: what another version doesn't have is unknown, and what it has more is passed over.
pub(super) mod list {
    use super::*;

    pub fn serialize<S: Serializer, const N: usize>(list: &[Option<u64>; N], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[Option<u64>; N], D::Error> {
        let mut list = [None; N];
        for (own, read) in list.iter_mut().zip(Vec::<Option<u64>>::deserialize(deserializer)?) {
            *own = read;
        }
        Ok(list)
    }
}

/// Terms that many hold, as if they were each one's own.
pub(super) mod shared {
    use super::*;

    pub fn serialize<S: Serializer>(terms: &Option<Arc<Terms>>, serializer: S) -> Result<S::Ok, S::Error> {
        terms.as_deref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Terms>>, D::Error> {
        Ok(Option::<Terms>::deserialize(deserializer)?.map(Arc::new))
    }
}
