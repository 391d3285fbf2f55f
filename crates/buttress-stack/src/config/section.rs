use std::time::Duration;

use buttress_control::Ratio;
use buttress_throttle::WithoutStore;

/// A part of a configuration: a value that may be left out, or a section of such values.
pub(crate) trait Setting: Sized {
    /// Whether anything is set.
    fn is_set(&self) -> bool;

    /// These values, and those of `base` where none is set.
    fn or(self, base: Self) -> Self;

    /// Shows the setting to `visitor` under this name.
    fn visit(&mut self, name: &'static str, visitor: &mut dyn Visitor);
}

/// A struct of settings, whose fields are its names in a file.
#[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "only files name settings"))]
pub(crate) trait Section {
    /// Shows each setting to `visitor`.
    fn visit_each(&mut self, visitor: &mut dyn Visitor);
}

/// Reads or changes the settings of a section by their names.
pub(crate) trait Visitor {
    fn section(&mut self, name: &'static str, section: &mut dyn Section);
    fn time(&mut self, name: &'static str, time: &mut Option<Duration>);
    fn number(&mut self, name: &'static str, number: &mut Option<u32>);
    fn share(&mut self, name: &'static str, share: &mut Option<Ratio>);
    fn shares(&mut self, name: &'static str, shares: &mut Option<Vec<Ratio>>);
    fn policy(&mut self, name: &'static str, policy: &mut Option<WithoutStore>);
}

/// Defines a section.
macro_rules! section {
    ($(#[$doc:meta])* $Section:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct $Section {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::config::Section for $Section {
            fn visit_each(&mut self, visitor: &mut dyn $crate::config::Visitor) {
                $($crate::config::Setting::visit(&mut self.$field, stringify!($field), visitor);)*
            }
        }

        impl $crate::config::Setting for $Section {
            fn is_set(&self) -> bool {
                false $(|| $crate::config::Setting::is_set(&self.$field))*
            }

            fn or(self, base: Self) -> Self {
                Self { $($field: $crate::config::Setting::or(self.$field, base.$field),)* }
            }

            fn visit(&mut self, name: &'static str, visitor: &mut dyn $crate::config::Visitor) {
                visitor.section(name, self);
            }
        }
    };
}

pub(super) use section;

/// A value that may be left out. `$visit` is the method of the visitor.
macro_rules! values {
    ($($type:ty => $visit:ident,)*) => {$(
        impl Setting for Option<$type> {
            fn is_set(&self) -> bool {
                self.is_some()
            }

            fn or(self, base: Self) -> Self {
                Self::or(self, base)
            }

            fn visit(&mut self, name: &'static str, visitor: &mut dyn Visitor) {
                visitor.$visit(name, self);
            }
        }
    )*};
}

values! {
    Duration => time,
    u32 => number,
    Ratio => share,
    Vec<Ratio> => shares,
    WithoutStore => policy,
}
