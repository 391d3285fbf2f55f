//! A client whose settings come from a TOML file, and that takes a changed file while calls run.
//!
//! Prints what each change did, and the number of calls. None is lost. Ends by itself after 2 s.

#![expect(clippy::disallowed_methods, reason = "callers and the watch run as tasks")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    time::{Duration, SystemTime},
};

use buttress::{BoxError, ClientConfig, ClientHandle, client};
use tokio::time::{Instant, interval, sleep};
use tower::{Service, ServiceExt, service_fn};

const FIRST: &str = r#"
[deadline]
timeout = "2s"
[retry]
attempts = 3
backoff = { base = "20ms", max = "100ms" }
[concurrency]
limit = 64
[attempt]
timeout = "500ms"
"#;

/// Fewer attempts, and fewer calls at a time, with a queue.
const BETTER: &str = r#"
[deadline]
timeout = "2s"
[retry]
attempts = 2
backoff = { base = "5ms", max = "50ms" }
[concurrency]
limit = 8
queue = 100
[attempt]
timeout = "400ms"
"#;

/// Refused as a whole: a misspelt name, a number without a unit, and a zero.
const WRONG: &str = r#"
[deadline]
timeuot = "2s"
[retry]
attempts = 0
[attempt]
timeout = 400
"#;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let path = env::temp_dir().join(format!("buttress-reload-{}.toml", process::id()));
    fs::write(&path, FIRST)?;
    let config: ClientConfig = toml::from_str(FIRST)?;
    let client = client().named("squares").configure(&config)?;
    let service = client.service(service_fn(|row: u64| async move {
        sleep(Duration::from_millis(10)).await;
        Ok::<_, BoxError>(row * row)
    }));

    let calls = tokio::spawn(call_for(Duration::from_secs(2), service));
    let watch = tokio::spawn(watch(path.clone(), client.handle()));
    for text in [BETTER, WRONG, FIRST] {
        sleep(Duration::from_millis(450)).await;
        // A rename is one step. A reader of a file that is being written may see half of it.
        let draft = path.with_extension("draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, &path)?;
    }
    let calls = calls.await??;
    watch.abort();
    fs::remove_file(&path)?;
    println!("{calls} calls, all answered");
    Ok(())
}

/// Looks at the file four times a second, and applies a changed one.
async fn watch(path: PathBuf, handle: ClientHandle) {
    let mut seen = changed_at(&path);
    let mut ticks = interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        let now = changed_at(&path);
        if now == seen {
            continue;
        }
        seen = now;
        match reload(&path, &handle) {
            Ok(()) => println!("applied: {:?}", handle.config().retry),
            // The client goes on with the settings that it has.
            Err(error) => println!("refused, nothing changed:\n{error}"),
        }
    }
}

fn reload(path: &Path, handle: &ClientHandle) -> Result<(), BoxError> {
    let config: ClientConfig = toml::from_str(&fs::read_to_string(path)?)?;
    Ok(handle.apply(&config)?)
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Eight callers, each with one call after the other. Returns the number of calls, or the first failure.
async fn call_for<S>(time: Duration, service: S) -> Result<u64, BoxError>
where
    S: Service<u64, Response = u64, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let callers: Vec<_> = (0..8u64)
        .map(|caller| {
            let service = service.clone();
            let until = Instant::now() + time;
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < until {
                    let answer = service.clone().oneshot(caller).await?;
                    assert_eq!(answer, caller * caller);
                    calls += 1;
                }
                Ok::<u64, BoxError>(calls)
            })
        })
        .collect();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await??;
    }
    Ok(calls)
}
