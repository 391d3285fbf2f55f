mod future;
mod guard;
mod handle;
mod layer;
mod measurement;
mod service;
mod settings;

pub use self::{
    future::ResponseFuture,
    guard::MeterGuard,
    handle::{MeterHandle, MeterSnapshot},
    layer::MeterLayer,
    service::Meter,
};
