mod dropping;
mod passing;
mod readiness;
mod rejecting;
mod signalling;
mod waking;
