use buttress_core::StoreKey;
use buttress_state::Slot;
use sha2::{Digest, Sha256};

/// The place of a key in the fleet's store: the bytes by which all processes name it.
///
/// The name of the layer's instance is a part of them, so layers with different names share nothing.
#[derive(Debug)]
pub(super) struct Place {
    group: Box<[u8]>,
    key: Box<[u8]>,
}

impl Place {
    pub(super) fn new<K: StoreKey>(instance: &str, key: &K, resource: Option<u64>) -> Self {
        let mut bytes = Vec::new();
        (instance, key).write(&mut bytes);
        Self { group: group(instance, key, resource), key: bytes.into() }
    }

    pub(super) fn slot(&self) -> Slot<'_> {
        Slot::new(&self.group, &self.key)
    }

    pub(super) fn group(&self) -> &[u8] {
        &self.group
    }

    /// The hash that a value carries, by which a value under the name of another key is found out.
    pub(super) fn key_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.key).into()
    }
}

/// The bytes of what is invalidated together with a key: its resource, or the key alone.
pub(super) fn group<K: StoreKey>(instance: &str, key: &K, resource: Option<u64>) -> Box<[u8]> {
    if let Some(resource) = resource {
        return resource_group(instance, resource);
    }
    let mut bytes = Vec::new();
    (instance, 0_u8, key).write(&mut bytes);
    bytes.into()
}

/// The bytes of a resource.
pub(super) fn resource_group(instance: &str, resource: u64) -> Box<[u8]> {
    let mut bytes = Vec::new();
    (instance, 1_u8, resource).write(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_differ_in_instance_key_and_resource() {
        let place = Place::new("dedup", &7_u32, None);
        assert_eq!(place.slot(), Place::new("dedup", &7_u32, None).slot());
        assert_ne!(place.slot().key, Place::new("other", &7_u32, None).slot().key);
        assert_ne!(place.slot().key, Place::new("dedup", &8_u32, None).slot().key);
        let of_resource = Place::new("dedup", &7_u64, Some(7));
        assert_ne!(of_resource.group(), Place::new("dedup", &7_u64, None).group());
        assert_eq!(of_resource.group(), &*resource_group("dedup", 7));
        assert_eq!(of_resource.group(), Place::new("dedup", &8_u64, Some(7)).group());
    }
}
