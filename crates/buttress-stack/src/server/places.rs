use super::{Server, server};
use crate::{
    Misfit, Misfits, ServerConfig, ServerHandle,
    handle::Handles,
    place::{DeadlinePlace, Off, OrderPlace, ThrottlePlace},
};

/// Writes the three methods of each place, as for the client.
macro_rules! places {
    ($(
        $what:literal
        $place:ident $edit:ident $without:ident: $Place:ident, $Old:ident, $number:literal,
        [$($kept:ident)*] -> $Server:ty | $Empty:ty;
    )*) => {$(
        #[doc = concat!("Puts `layer` into the place of ", $what, ".")]
        pub fn $place<L: $Place>(self, layer: L) -> $Server {
            self.$edit(|_| layer)
        }

        #[doc = concat!("Changes the layer in the place of ", $what, ".")]
        pub fn $edit<L: $Place>(self, edit: impl FnOnce($Old) -> L) -> $Server {
            let layer = edit(self.$place).renamed(self.setup.name_of(stringify!($place)));
            let layer = self.setup.reseeded($number, layer);
            Server { $($kept: self.$kept,)* $place: layer, setup: self.setup.changed() }
        }

        #[doc = concat!("Empties the place of ", $what, ".")]
        pub fn $without(self) -> $Empty {
            self.$place(Off)
        }
    )*};
}

impl<D: DeadlinePlace, O: OrderPlace, T: ThrottlePlace> Server<D, O, T> {
    places! {
        "the deadline"
        deadline edit_deadline without_deadline: DeadlinePlace, D, 1,
        [order throttle] -> Server<L, O, T> | Server<Off, O, T>;

        "ordering by key"
        order edit_order without_order: OrderPlace, O, 3,
        [deadline throttle] -> Server<D, L, T> | Server<D, Off, T>;

        "the throttle"
        throttle edit_throttle without_throttle: ThrottlePlace, T, 7,
        [deadline order] -> Server<D, O, L> | Server<D, O, Off>;
    }

    /// Names the server and all its layers: `checkout` names the throttle `checkout.throttle`.
    /// Default: `"server"`.
    ///
    /// A layer that is put into a place later is named too.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.setup.name = name.into();
        let setup = self.setup;
        Self {
            deadline: self.deadline.renamed(setup.name_of("deadline")),
            order: self.order.renamed(setup.name_of("order")),
            throttle: self.throttle.renamed(setup.name_of("throttle")),
            setup,
        }
    }

    /// Makes the random numbers of the throttle repeatable. Default: a random seed.
    ///
    /// The throttle starts with fresh state.
    pub fn seed(mut self, seed: u64) -> Self {
        self.setup.seed = Some(seed);
        self.setup = self.setup.changed();
        Self { throttle: self.setup.reseeded(7, self.throttle), ..self }
    }

    /// Returns the handle of all layers: numbers and settings. See [`ServerHandle`].
    pub fn handle(&self) -> ServerHandle {
        ServerHandle(self.setup.live(Handles {
            deadline: self.deadline.handle(),
            order: self.order.handle(),
            throttle: self.throttle.handle(),
            ..Handles::default()
        }))
    }

    /// Returns all settings that contradict each other. The first service that the server makes
    /// reports them once for each name, as the event `stack.misfit`.
    pub fn misfits(&self) -> Vec<Misfit> {
        self.handle().misfits()
    }

    /// Applies `config` as [`ServerHandle::apply`] does. Clones share the settings.
    pub fn configure(self, config: &ServerConfig) -> Result<Self, Misfits> {
        self.handle().apply(config)?;
        Ok(self)
    }
}

impl ServerConfig {
    /// Returns the standard [`server`] with these settings, or all misfits.
    ///
    /// For a server with other layers, use [`Server::configure`].
    pub fn build(&self) -> Result<Server, Misfits> {
        server().configure(self)
    }
}
