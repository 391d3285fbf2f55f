use std::fmt;

use buttress_core::{Measure, Metric, Reading};

use crate::{ClientConfig, Misfit, Misfits, ServerConfig, config::StackConfig};

mod backoff;
mod breaker;
mod fleet;
mod handles;
mod live;
mod shared_cache;
mod throttle;
mod unknown_sections;

pub(crate) use self::{
    breaker::BreakerControl,
    handles::Handles,
    live::{Live, Turns},
    throttle::ThrottleControl,
};

/// Writes what both handles have.
macro_rules! handle {
    ($(#[$doc:meta])* $Handle:ident, $Config:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $Handle(pub(crate) Live);

        impl $Handle {
            /// Returns the name of the preset, such as `client_for_http`.
            pub fn preset(&self) -> &'static str {
                self.0.preset
            }

            /// Returns the name of the stack, as [`named`](crate::Client::named) sets it.
            pub fn name(&self) -> &str {
                &self.0.name
            }

            /// Returns the present settings. In a file, they are a start for changes.
            ///
            /// A rule that is off has no settings, nor has an empty place.
            pub fn config(&self) -> $Config {
                StackConfig::of_client(self.0.handles.config())
            }

            /// Changes all settings to those of `config`, or none of them and returns all misfits.
            ///
            /// A setting that `config` leaves out goes back to the value that the program gave. So
            /// the result does not depend on what was applied before. Nothing is dropped, and no
            /// state is lost.
            ///
            /// Calls that run keep their deadlines. The other layers ask for their settings when
            /// they next decide, so a call that runs may be repeated or hedged by the new ones. The
            /// handle of each layer says more.
            ///
            /// If several threads apply, all settings are those of one of them when the last one
            /// returns.
            pub fn apply(&self, config: &$Config) -> Result<(), Misfits> {
                self.0.apply(&config.clone().into_client())
            }

            /// Returns all settings that contradict each other at present.
            pub fn misfits(&self) -> Vec<Misfit> {
                self.0.misfits()
            }
        }

        /// The numbers of all layers.
        impl Measure for $Handle {
            fn describe(&self, define: &mut dyn FnMut(&'static Metric)) {
                self.0.handles.describe(define);
            }

            fn measure(&self, read: &mut dyn FnMut(Reading<'_>)) {
                self.0.handles.measure(read);
            }
        }

        /// Prints the preset, the name and the present settings.
        impl fmt::Debug for $Handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Handle))
                    .field("preset", &self.preset())
                    .field("name", &self.name())
                    .field("config", &self.config())
                    .finish()
            }
        }
    };
}

handle! {
    /// The numbers and settings of a running [`Client`](crate::Client), of all its services together.
    ///
    /// ```
    /// use std::time::Duration;
    /// use buttress_stack::ClientConfig;
    ///
    /// let client = buttress_stack::client_for_http().named("payments");
    /// let handle = client.handle();
    /// let mut config = ClientConfig::default();
    /// config.retry.attempts = Some(2);
    /// handle.apply(&config).unwrap();
    /// assert_eq!(handle.config().retry.attempts, Some(2));
    ///
    /// config.attempt.timeout = Some(Duration::from_secs(60));
    /// let misfits = handle.apply(&config).unwrap_err();
    /// assert!(misfits.to_string().starts_with("attempt.timeout, deadline.timeout: An attempt may"));
    /// ```
    ClientHandle, ClientConfig
}

handle! {
    /// The numbers and settings of a running [`Server`](crate::Server), of all its services together.
    ServerHandle, ServerConfig
}
