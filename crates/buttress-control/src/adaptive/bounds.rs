/// The initial, the lowest and the highest limit.
///
/// The options may come in any order, so their combined meaning is decided when they are read. The
/// minimum is at least 1, the maximum at least the minimum, and the initial limit between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) initial: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl Bounds {
    pub(crate) const DEFAULT: Self = Self { initial: 20, min: 1, max: 1000 };

    pub(crate) fn start(self) -> u32 {
        self.keep(self.initial)
    }

    pub(crate) fn keep(self, limit: u32) -> u32 {
        let min = self.floor();
        limit.clamp(min, self.max.max(min))
    }

    pub(crate) fn keep_float(self, limit: f64) -> f64 {
        limit.clamp(f64::from(self.floor()), f64::from(self.keep(u32::MAX)))
    }

    pub(crate) fn floor(self) -> u32 {
        self.min.max(1)
    }
}
