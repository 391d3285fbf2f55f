//! `OrderLayer` around the routes of an axum router: writes of an account in the order of arrival, and a search box
//! whose latest query ends the older ones.
//!
//! Prints the answers of each part. The server and its clients speak over real sockets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    routing::{get, post},
};
use buttress::{BoxError, DeadlineLayer, HttpExt, OrderLayer};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinSet, yield_now},
};

/// Balances by account, and the latch that lets searches end.
#[derive(Clone)]
struct App {
    balances: Arc<Mutex<HashMap<String, i64>>>,
    searches: Arc<Semaphore>,
}

/// A read, a pause and a write. Two of them at once would lose an amount.
async fn deposit(State(app): State<App>, Path((account, amount)): Path<(String, i64)>) -> String {
    let balances = || app.balances.lock().unwrap_or_else(PoisonError::into_inner);
    let before = balances().get(&account).copied().unwrap_or_default();
    yield_now().await;
    let after = before + amount;
    balances().insert(account, after);
    after.to_string()
}

async fn search(State(app): State<App>, Path((_, query)): Path<(String, String)>) -> String {
    if let Ok(permit) = app.searches.acquire().await {
        permit.forget();
    }
    format!("results for {query}")
}

/// The second segment of the path: the account, or the session of the search box.
fn owner(request: &Request<Body>) -> Option<String> {
    request.uri().path().split('/').nth(2).map(str::to_owned)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let writes = OrderLayer::serial(owner).queue(64).named("writes").http();
    let typing = OrderLayer::latest(owner).named("typing").http();
    let (accounts, sessions) = (writes.handle(), typing.handle());
    let app = App { balances: Arc::default(), searches: Arc::new(Semaphore::new(0)) };
    let searches = Arc::clone(&app.searches);
    let router = Router::new()
        .route("/deposit/{account}/{amount}", post(deposit).layer(writes))
        .route("/search/{session}/{query}", get(search).layer(typing))
        // The deadline is outside, so that it bounds the wait for a turn too.
        .layer(DeadlineLayer::new(Duration::from_secs(30)).http())
        .with_state(app);

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let requests = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let send = |method: &str, path: String| {
            let request = Request::builder()
                .method(method)
                .uri(format!("http://{address}/{path}"))
                .body(Body::empty());
            let client = client.clone();
            async move {
                let response = client.request(request?).await?;
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                Ok::<_, BoxError>((status, String::from_utf8_lossy(&body).into_owned()))
            }
        };

        // Fifty deposits of 1 into one account, and one into another, all at once.
        let mut deposits = JoinSet::new();
        for _ in 0..50 {
            deposits.spawn(send("POST", "deposit/ann/1".to_owned()));
        }
        deposits.spawn(send("POST", "deposit/bob/7".to_owned()));
        let mut balances = Vec::new();
        while let Some(deposit) = deposits.join_next().await {
            let (status, balance) = deposit??;
            assert_eq!(status, StatusCode::OK);
            balances.push(balance.parse::<i64>()?);
        }
        balances.sort_unstable();
        let mut expected = (1..=50).chain([7]).collect::<Vec<_>>();
        expected.sort_unstable();
        assert_eq!(balances, expected, "an amount was lost");
        println!("deposits: {} answers, no amount lost", balances.len());

        // A user types. Each query ends the search before.
        let mut queries = JoinSet::new();
        let typed = ["b", "bu", "but"];
        for (superseded, query) in (0..).zip(typed) {
            queries.spawn(send("GET", format!("search/ann/{query}")));
            while sessions.calls() <= superseded || sessions.superseded() < superseded {
                yield_now().await;
            }
        }
        for _ in 1..typed.len() {
            let (status, _) =
                queries.join_next().await.ok_or("a query that is superseded")???;
            println!("an older query: {status}");
            assert_eq!(status, StatusCode::CONFLICT);
        }
        searches.add_permits(1);
        let (status, results) = queries.join_next().await.ok_or("the latest query")???;
        println!("the latest query: {status}, {results}");
        assert_eq!((status, results.as_str()), (StatusCode::OK, "results for but"));
        Ok::<_, BoxError>(())
    };
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        done = requests => done?,
    }
    println!(
        "superseded: {}, rejected for a full queue: {}",
        sessions.superseded(),
        accounts.full()
    );
    assert_eq!((sessions.superseded(), accounts.full(), accounts.keys()), (2, 0, 0));
    Ok(())
}
