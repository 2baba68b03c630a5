//! Which shard keeps a channel's log.
//!
//! Invariant: the function never changes. A channel that moved to another
//! shard would leave its messages behind.

use confab_protocol::ChannelId;

/// Most shards a cluster can be initialised with.
pub const SHARDS_MAX: u16 = 256;

/// The shard of a channel, below `shards`.
///
/// FNV-1a over the id's bytes (Fowler, Noll, Vo; 64 bits), then the finaliser
/// of MurmurHash3, because FNV's low bits alone depend on the input's low bits
/// only, then the remainder. `shards` of 0 counts as 1.
#[must_use]
pub fn shard_of(channel: &ChannelId, shards: u16) -> u16 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = channel.as_str().bytes().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    let shard = mixed(hash) % u64::from(shards.max(1));
    u16::try_from(shard).expect("the remainder is below a u16")
}

const fn mixed(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::shard_of;
    use confab_protocol::{ChannelId, DepartmentId};

    /// These values are written on disks: a channel must never move.
    #[test]
    fn a_channel_keeps_its_shard_for_ever() {
        let shard = |text: &str, shards| shard_of(&ChannelId::new(text).unwrap(), shards);
        let found: Vec<u16> = ["general-company", "dept-sales", "project-x", "dm-a-b"]
            .into_iter()
            .flat_map(|text| [shard(text, 4), shard(text, 256)])
            .collect();
        assert_eq!(found, [0, 12, 2, 46, 2, 230, 2, 30]);
        assert_eq!(shard("general-company", 1), 0);
        assert_eq!(shard("general-company", 0), 0);
    }

    /// Ids that differ in their last character only still spread.
    #[test]
    fn channels_spread_evenly() {
        let mut counts = [0u32; 4];
        for number in 0..4_000 {
            let department = DepartmentId::new(&format!("d{number}")).unwrap();
            counts[usize::from(shard_of(&ChannelId::department(&department), 4))] += 1;
        }
        assert!(
            counts.iter().all(|count| (900..1_100).contains(count)),
            "{counts:?}"
        );
    }
}
