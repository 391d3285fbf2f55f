use std::sync::{Arc, atomic::Ordering};

#[cfg(feature = "shared-cache")]
use super::told::Told;
use super::{super::invalidations::ResourceGeneration, ValidFlag};

/// What decides whether an entry that has not expired may still be served.
///
/// The variants repeat small fields, because these then lie in the padding beside the tag. There may be very
/// many entries.
#[derive(Debug)]
pub(crate) enum Standing {
    /// A flight has made or accepted the entry.
    Flown {
        is_explicit: bool,
        resource_generation: ResourceGeneration,
        /// False once the key is invalidated.
        valid: ValidFlag,
    },
    /// Only expiry and its resource end the entry: a store has made the entry, or a user.
    Free { is_explicit: bool, resource_generation: ResourceGeneration },
    /// A store has marked the entry.
    Stamped { is_explicit: bool, resource_generation: ResourceGeneration, stamp: Box<Stamp> },
}

/// The mark of a store.
#[derive(Debug)]
pub(crate) struct Stamp {
    bytes: [u8; 16],
    /// When the store told last that it has the entry.
    #[cfg(feature = "shared-cache")]
    told: Told,
    /// As in `Flown`. `None` until a flight has accepted the entry.
    valid: Option<ValidFlag>,
}

impl Standing {
    /// The standing of a new entry.
    ///
    /// An entry that a store makes again is of the first generation, so any invalidation of its resource
    /// forbids the entry. `be_valid_while` sets the generation for the result of a flight.
    pub(super) const fn made(is_explicit: bool) -> Self {
        Self::Free { is_explicit, resource_generation: ResourceGeneration::FIRST }
    }

    pub(super) fn set_stamp(&mut self, bytes: [u8; 16]) {
        let (is_explicit, resource_generation) = (self.is_explicit(), self.resource_generation());
        let valid = match self {
            Self::Flown { valid, .. } => Some(Arc::clone(valid)),
            Self::Free { .. } => None,
            Self::Stamped { stamp, .. } => stamp.valid.take(),
        };
        let stamp = Box::new(Stamp {
            bytes,
            #[cfg(feature = "shared-cache")]
            told: Told::now(),
            valid,
        });
        *self = Self::Stamped { is_explicit, resource_generation, stamp };
    }

    pub(super) fn stamp(&self) -> Option<[u8; 16]> {
        self.mark().map(|stamp| stamp.bytes)
    }

    /// See [`Stamp::told`].
    #[cfg(feature = "shared-cache")]
    #[inline]
    pub(super) fn told(&self) -> Option<&Told> {
        self.mark().map(|stamp| &stamp.told)
    }

    #[inline]
    fn mark(&self) -> Option<&Stamp> {
        if let Self::Stamped { stamp, .. } = self { Some(stamp) } else { None }
    }

    #[inline]
    pub(super) const fn is_explicit(&self) -> bool {
        let (Self::Flown { is_explicit, .. }
        | Self::Free { is_explicit, .. }
        | Self::Stamped { is_explicit, .. }) = self;
        *is_explicit
    }

    #[inline]
    pub(super) const fn resource_generation(&self) -> ResourceGeneration {
        let (Self::Flown { resource_generation, .. }
        | Self::Free { resource_generation, .. }
        | Self::Stamped { resource_generation, .. }) = self;
        *resource_generation
    }

    pub(super) fn be_valid_while(&mut self, generation: ResourceGeneration, flag: ValidFlag) {
        if let Self::Stamped { resource_generation, stamp, .. } = self {
            (*resource_generation, stamp.valid) = (generation, Some(flag));
        } else {
            let is_explicit = self.is_explicit();
            *self = Self::Flown { is_explicit, resource_generation: generation, valid: flag };
        }
    }

    #[inline]
    pub(super) fn is_valid(&self) -> bool {
        let valid = match self {
            Self::Flown { valid, .. } => return valid.load(Ordering::Acquire),
            Self::Free { .. } => None,
            Self::Stamped { stamp, .. } => stamp.valid.as_ref(),
        };
        valid.is_none_or(|valid| valid.load(Ordering::Acquire))
    }
}
