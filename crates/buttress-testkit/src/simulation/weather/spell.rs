use std::time::Duration;

/// A part of the simulation in which the weather is different.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spell {
    from: Duration,
    to: Duration,
    kind: SpellKind,
}

#[derive(Clone, Copy, Debug)]
enum SpellKind {
    Outage,
    Silence,
    Brownout(f64),
}

impl Spell {
    pub(super) const fn outage(from: Duration, to: Duration) -> Self {
        Self { from, to, kind: SpellKind::Outage }
    }

    pub(super) const fn silence(from: Duration, to: Duration) -> Self {
        Self { from, to, kind: SpellKind::Silence }
    }

    pub(super) const fn brownout(from: Duration, to: Duration, factor: f64) -> Self {
        Self { from, to, kind: SpellKind::Brownout(factor) }
    }

    pub(super) fn covers(&self, since: Duration) -> bool {
        (self.from..self.to).contains(&since)
    }

    pub(super) const fn is_outage(&self) -> bool {
        matches!(self.kind, SpellKind::Outage)
    }

    pub(super) const fn is_silence(&self) -> bool {
        matches!(self.kind, SpellKind::Silence)
    }

    /// Returns the product of the factors of `spells`.
    pub(super) fn factor<'a>(spells: impl Iterator<Item = &'a Self>) -> f64 {
        let factors = spells.filter_map(|spell| match spell.kind {
            SpellKind::Brownout(factor) => Some(factor),
            SpellKind::Outage | SpellKind::Silence => None,
        });
        factors.product()
    }
}
