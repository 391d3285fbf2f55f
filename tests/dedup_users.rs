//! Nobody ever gets what was meant for another: users who differ in one header and do all they can to be
//! taken for each other, at one URL and at one time.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{collections::BTreeSet, convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, body::Body, routing::get};
use buttress::{BoxError, Cache, DedupHandle, DedupLayer, Http, HttpExt, layer_api::ByMode};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use loopback::{AnyBody, Work, get_of, http1, read, serve, until};
use tokio::task::{JoinSet, yield_now};
use tokio_stream::StreamExt;
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

type Headers = &'static [(&'static str, &'static str)];

/// Who is asking: each is another user to a service that believes one of these headers.
const USERS: [Headers; 43] = [
    &[],
    &[("authorization", "alice")],
    &[("authorization", "bob")],
    &[("authorization", "ALICE")],
    &[("authorization", "")],
    &[("authorization", "alice"), ("authorization", "bob")],
    &[("authorization", "bob"), ("authorization", "alice")],
    &[("authorization", "alice, bob")],
    &[("authorization", "alice,bob")],
    &[("authorization", "alicecookiebob")],
    &[("cookie", "alice")],
    &[("cookie", "bob")],
    &[("cookie", "alice; bob")],
    &[("cookie", "bob; alice")],
    &[("cookie", "alice"), ("cookie", "bob")],
    &[("x-api-key", "alice")],
    &[("x-api-key", "bob")],
    &[("authorization", "alice"), ("cookie", "bob")],
    &[("authorization", "bob"), ("cookie", "alice")],
    &[("authorization", "alice"), ("x-api-key", "bob")],
    &[("cookie", "alice"), ("x-api-key", "bob")],
    &[("x-auth-token", "alice")],
    &[("x-forwarded-user", "alice")],
    &[("x-forwarded-host", "alice")],
    &[("x-original-url", "/alice")],
    // Names that no list of credentials has in full.
    &[("private-token", "alice")],
    &[("private-token", "bob")],
    &[("api-key", "alice")],
    &[("x-vault-token", "alice")],
    &[("x-forwarded-email", "alice")],
    &[("x-auth-request-email", "alice")],
    &[("x-auth-request-email", "bob")],
    &[("x-real-ip", "alice")],
    &[("baggage", "user=alice")],
    &[("x-never-heard-of", "alice")],
    // A service that goes by variables, as with CGI, takes one for the other.
    &[("x-api-key", "alice"), ("x_api_key", "bob")],
    &[("x_api_key", "alice"), ("cookie", "bob")],
    &[("x_forwarded_host", "bob")],
    // A proxy further on would drop the header.
    &[("connection", "keep-alive, cookie"), ("cookie", "alice")],
    &[("connection", "authorization"), ("authorization", "bob")],
    // A service that minds it would answer to another method.
    &[("x-http-method-override", "DELETE"), ("cookie", "alice")],
    &[("cache-control", "no-cache"), ("cookie", "alice")],
    &[("range", "bytes=0-1"), ("cookie", "bob")],
];

fn headers(user: Headers) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in user {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// What a service says that believes everything it is told, however it is written.
fn greeting(headers: &HeaderMap) -> String {
    let told = USERS.iter().flat_map(|user| user.iter().map(|(name, _)| name.replace('_', "-")));
    let names: BTreeSet<_> = told.collect();
    let values = |name: &String| {
        let same = headers.iter().filter(|(other, _)| other.as_str().replace('_', "-") == *name);
        same.map(|(_, value)| value).collect::<Vec<_>>()
    };
    let told: Vec<_> = names.iter().map(|name| format!("{name}: {:?}", values(name))).collect();
    told.join("\n")
}

/// Chance that is the same in every run.
#[derive(Clone, Copy)]
struct Chance(u64);

impl Chance {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        *all.get(self.below(all.len())).unwrap()
    }

    /// Lets others go first, a few times or not at all.
    async fn dawdle(&mut self) {
        for _ in 0..self.below(12) {
            yield_now().await;
        }
    }
}

/// Says who asks: at `/once`, at `/kept` for everybody whose request is the same for a while, at
/// `/slowly` in two chunks, and at `/gated` once `work` allows it.
fn greeter(work: Work) -> Router {
    let seed = |headers: &HeaderMap| Chance(headers.len() as u64 ^ greeting(headers).len() as u64);
    let once = async move |headers: HeaderMap| {
        seed(&headers).dawdle().await;
        greeting(&headers)
    };
    let kept = async move |headers: HeaderMap| {
        seed(&headers).dawdle().await;
        ([("cache-control", "public, max-age=600")], greeting(&headers))
    };
    let slowly = async move |headers: HeaderMap| {
        let (said, chance) = (greeting(&headers), seed(&headers));
        let (first, rest) = said.split_at(said.len() / 2);
        let chunks =
            [Bytes::copy_from_slice(first.as_bytes()), Bytes::copy_from_slice(rest.as_bytes())];
        let chunks = tokio_stream::iter(chunks).then(move |chunk| async move {
            Chance(chance.0).dawdle().await;
            Ok::<_, Infallible>(chunk)
        });
        Body::from_stream(chunks)
    };
    let gated = async move |headers: HeaderMap| {
        work.call().await;
        greeting(&headers)
    };
    let once = Router::new().route("/once", get(once)).route("/gated", get(gated));
    once.route("/kept", get(kept)).route("/slowly", get(slowly))
}

type Bare = Client<HttpConnector, Empty<Bytes>>;

fn bare() -> Bare {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A client, with or without a layer.
type Asker = BoxCloneSyncService<Request<Empty<Bytes>>, Response<AnyBody>, BoxError>;

fn asker<S, B>(client: S) -> Asker
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let any = |body: B| body.map_err(Into::into).boxed_unsync();
    BoxCloneSyncService::new(
        client.map_err(Into::into).map_response(move |response: Response<B>| response.map(any)),
    )
}

fn keep() -> DedupLayer<Http, ByMode, Cache> {
    DedupLayer::new().cache(Cache::from_headers()).http()
}

fn request(address: SocketAddr, path: &str, user: Headers) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = format!("http://{address}/{path}").parse().unwrap();
    *request.headers_mut() = headers(user);
    request
}

/// Ten thousand requests from forty tasks, each of which is everybody in turn.
async fn hammer(client: &Asker, address: SocketAddr) {
    let mut tasks = JoinSet::new();
    for task in 0..40 {
        let client = client.clone();
        tasks.spawn(async move {
            let mut chance = Chance(task);
            for _ in 0..250 {
                let user = chance.one_of(&USERS);
                let path = chance.one_of(&["once", "kept", "slowly"]);
                chance.dawdle().await;
                let response = client.clone().oneshot(request(address, path, user)).await.unwrap();
                chance.dawdle().await;
                assert_eq!(read(response).await, greeting(&headers(user)), "at {path}");
            }
        });
    }
    tasks.join_all().await;
}

/// The hammer proves nothing if nothing was shared. How much it shared depends on the machine, so sharing
/// is proved without haste: every user that can share does, with the others of the same key.
async fn prove_sharing(client: &Asker, address: SocketAddr, work: &Work, handle: &DedupHandle) {
    for user in USERS {
        let (hits, apart) = (handle.cache_hits(), handle.bypassed());
        for _ in 0..2 {
            let response = client.clone().oneshot(request(address, "kept", user)).await.unwrap();
            assert_eq!(read(response).await, greeting(&headers(user)));
        }
        let alone = handle.bypassed() - apart;
        assert!(alone == 2 || handle.cache_hits() > hits, "{user:?} is not given what is kept");
    }
    let mut calls = JoinSet::new();
    let (joined, before) = (handle.followers(), work.calls());
    for user in [USERS[1], USERS[10], USERS[15]] {
        for _ in 0..4 {
            let client = client.clone();
            calls.spawn(async move {
                let response = client.oneshot(request(address, "gated", user)).await.unwrap();
                assert_eq!(read(response).await, greeting(&headers(user)));
            });
        }
    }
    until(|| handle.waiters() == 12 && work.calls() - before == 3).await;
    work.allow(3);
    calls.join_all().await;
    assert_eq!(handle.followers() - joined, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_of_a_server_gets_its_own_response() {
    let (layer, work) = (keep(), Work::default());
    let address = serve(greeter(work.clone()).layer(layer.clone())).await.unwrap();
    let client = asker(bare());
    hammer(&client, address).await;
    until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
    prove_sharing(&client, address, &work, &layer.handle()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_of_a_client_gets_its_own_response() {
    let (layer, work) = (keep(), Work::default());
    let address = serve(greeter(work.clone())).await.unwrap();
    let client = asker(ServiceBuilder::new().layer(layer.clone()).service(bare()));
    hammer(&client, address).await;
    assert_eq!((layer.handle().in_flight(), layer.handle().waiters()), (0, 0));
    prove_sharing(&client, address, &work, &layer.handle()).await;
}

/// The answer depends on a header that is ignored, and says so.
#[tokio::test]
async fn each_tenant_gets_its_own_answer_where_the_server_says_vary() {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move |headers: HeaderMap| {
            work.call().await;
            let tenant = headers["x-tenant"].to_str().unwrap().to_owned();
            ([("vary", "X-Tenant"), ("cache-control", "public, max-age=600")], tenant)
        }
    };
    let http = Http::new().ignore_headers([HeaderName::from_static("x-tenant")]);
    let layer = DedupLayer::new().cache(Cache::from_headers()).http_with(http);
    let address = serve(Router::new().route("/", get(handler)).layer(layer.clone())).await.unwrap();
    for round in 1..=3 {
        let mut calls = JoinSet::new();
        for tenant in 0..20 {
            let mut request = get_of(address, "");
            request.headers_mut().insert("x-tenant", HeaderValue::from(tenant));
            calls.spawn(async move {
                let response: Response<Incoming> = http1().request(request).await.unwrap();
                assert_eq!(read(response).await, tenant.to_string());
            });
        }
        until(|| layer.handle().waiters() == 20).await;
        work.allow(20);
        calls.join_all().await;
        assert_eq!((work.calls(), layer.handle().cache_entries()), (20 * round, 0));
    }
    assert_eq!((layer.handle().leaders(), layer.handle().bypassed()), (3, 57));
}

/// A header of the server's own is part of the key without being named, so its `Vary` is safe.
#[tokio::test]
async fn each_tenant_shares_its_own_answer_where_the_server_says_vary() {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move |headers: HeaderMap| {
            work.call().await;
            let tenant = headers["x-tenant"].to_str().unwrap().to_owned();
            ([("vary", "X-Tenant"), ("cache-control", "public, max-age=600")], tenant)
        }
    };
    let layer = keep();
    let address = serve(Router::new().route("/", get(handler)).layer(layer.clone())).await.unwrap();
    let mut calls = JoinSet::new();
    for caller in 0..20 {
        let tenant = caller % 4;
        let mut request = get_of(address, "");
        request.headers_mut().insert("x-tenant", HeaderValue::from(tenant));
        request.headers_mut().insert("x-request-id", HeaderValue::from(caller));
        calls.spawn(async move {
            let response: Response<Incoming> = http1().request(request).await.unwrap();
            assert_eq!(read(response).await, tenant.to_string());
        });
    }
    until(|| layer.handle().waiters() == 20).await;
    work.allow(4);
    calls.join_all().await;
    assert_eq!((layer.handle().leaders(), layer.handle().followers()), (4, 16));
}

/// What is no header is no part of the key, and what a layer above has found out is none.
#[tokio::test]
async fn a_custom_key_tells_users_of_another_identity_apart() {
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct User(String);
    let layer = DedupLayer::keyed(|request: &Request<Body>| {
        let user = request.extensions().get::<User>()?.clone();
        Some((user, request.uri().clone()))
    });
    let layer = layer.cache(Cache::new(Duration::from_secs(60))).http();
    let handle = layer.handle();
    let handler = get(async |user: axum::Extension<User>| user.0.0.clone());
    let who = axum::middleware::from_fn(
        async |mut request: axum::extract::Request, next: axum::middleware::Next| {
            let user = request.headers()["x-user"].to_str().unwrap().to_owned();
            request.extensions_mut().insert(User(user));
            next.run(request).await
        },
    );
    let app = Router::new().route("/", handler).layer(layer).layer(who);
    let address = serve(app).await.unwrap();
    for _ in 0..3 {
        for user in ["alice", "bob"] {
            let mut request = get_of(address, "");
            request.headers_mut().insert("x-user", HeaderValue::from_static(user));
            let response = http1().request(request).await.unwrap();
            assert_eq!(read(response).await, user);
        }
    }
    assert_eq!((handle.leaders(), handle.cache_hits()), (2, 4));
}
