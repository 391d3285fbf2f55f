use tokio::task::yield_now;

/// Lets other tasks and the sockets run until `condition` holds, while paused time stands still.
///
/// A runtime whose time is paused jumps to its next timer once all tasks wait, also if they wait for
/// a socket. This future never waits, so the time moves only where the test advances it.
///
/// # Panics
/// If `condition` does not hold after a million rounds.
pub async fn until_at_this_time(mut condition: impl FnMut() -> bool) {
    let mut rounds = 0;
    while !condition() {
        rounds += 1;
        assert!(rounds < 1_000_000, "the condition does not hold");
        yield_now().await;
    }
}
