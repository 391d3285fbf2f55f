use std::sync::atomic::{AtomicU64, Ordering};

use super::{super::invalidations::ResourceGeneration, ValidFlag};

/// What decides whether an entry that has not expired may still be served.
///
/// The variants repeat small fields, because these then lie in the padding beside the tag. There may be very
/// many entries.
#[derive(Debug)]
pub(crate) enum Standing {
    /// No store has marked the entry.
    Plain {
        is_explicit: bool,
        resource_generation: ResourceGeneration,
        /// False once the key is invalidated. `None` if a store has made the entry.
        valid: Option<ValidFlag>,
    },
    /// A store has marked the entry.
    Stamped { is_explicit: bool, resource_generation: ResourceGeneration, stamp: Box<Stamp> },
}

/// The mark of a store.
#[derive(Debug)]
pub(crate) struct Stamp {
    bytes: [u8; 16],
    /// When the store told last that it has the entry. Nanoseconds since the entry arrived.
    #[cfg_attr(
        not(feature = "shared-cache"),
        expect(dead_code, reason = "a shared cache reads it")
    )]
    told: AtomicU64,
    /// As in `Plain`. Also set once a flight has accepted the entry of a store.
    valid: Option<ValidFlag>,
}

impl Standing {
    /// The standing of a new entry.
    ///
    /// An entry that a store makes again is of the first generation, so any invalidation of its resource
    /// forbids the entry. `be_valid_while` sets the generation for the result of a flight.
    pub(super) const fn made(is_explicit: bool) -> Self {
        Self::Plain { is_explicit, resource_generation: ResourceGeneration::FIRST, valid: None }
    }

    pub(super) fn set_stamp(&mut self, bytes: [u8; 16], told: u64) {
        let (is_explicit, resource_generation) = (self.is_explicit(), self.resource_generation());
        let valid = match self {
            Self::Plain { valid, .. } => valid.take(),
            Self::Stamped { stamp, .. } => stamp.valid.take(),
        };
        let stamp = Box::new(Stamp { bytes, told: AtomicU64::new(told), valid });
        *self = Self::Stamped { is_explicit, resource_generation, stamp };
    }

    pub(super) fn stamp(&self) -> Option<[u8; 16]> {
        match self {
            Self::Plain { .. } => None,
            Self::Stamped { stamp, .. } => Some(stamp.bytes),
        }
    }

    /// See [`Stamp::told`].
    #[cfg(feature = "shared-cache")]
    #[inline]
    pub(super) fn told(&self) -> Option<&AtomicU64> {
        match self {
            Self::Plain { .. } => None,
            Self::Stamped { stamp, .. } => Some(&stamp.told),
        }
    }

    #[inline]
    pub(super) const fn is_explicit(&self) -> bool {
        let (Self::Plain { is_explicit, .. } | Self::Stamped { is_explicit, .. }) = self;
        *is_explicit
    }

    #[inline]
    pub(super) const fn resource_generation(&self) -> ResourceGeneration {
        let (Self::Plain { resource_generation, .. } | Self::Stamped { resource_generation, .. }) =
            self;
        *resource_generation
    }

    pub(super) fn be_valid_while(&mut self, generation: ResourceGeneration, flag: ValidFlag) {
        match self {
            Self::Plain { resource_generation, valid, .. } => {
                (*resource_generation, *valid) = (generation, Some(flag));
            }
            Self::Stamped { resource_generation, stamp, .. } => {
                (*resource_generation, stamp.valid) = (generation, Some(flag));
            }
        }
    }

    #[inline]
    pub(super) fn is_valid(&self) -> bool {
        let valid = match self {
            Self::Plain { valid, .. } => valid,
            Self::Stamped { stamp, .. } => &stamp.valid,
        };
        valid.as_ref().is_none_or(|valid| valid.load(Ordering::Acquire))
    }
}
