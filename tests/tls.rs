//! What becomes of a call whose TLS handshake fails.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress::{Backoff, BoxError, Classify, HttpExt, RetryLayer, Verdict, http_grpc::Http};
use http::{Request, Response, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connect, Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use loopback::{AnyBody, background, listen, nothing};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
        server::WebPkiClientVerifier,
        version::{TLS12, TLS13},
    },
};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

#[tokio::test]
async fn an_untrusted_certificate_is_permanent() {
    let server = Server::new(&[&TLS13]).answering().await;
    let (verdict, text) = server.ask(trusting(&[], &[&TLS13])).await;
    assert_eq!(verdict, Verdict::Permanent, "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_permanent() {
    let server = Server::new(&[&TLS13]).of("elsewhere.example").answering().await;
    let (verdict, text) = server.ask(trusting(&[server.certificate()], &[&TLS13])).await;
    assert_eq!(verdict, Verdict::Permanent, "{text}");
    assert!(text.contains("NotValidForName"), "{text}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_without_a_protocol_in_common_is_permanent() {
    let server = Server::new(&[&TLS13]).answering().await;
    let (verdict, text) = server.ask(trusting(&[server.certificate()], &[&TLS12])).await;
    assert_eq!(verdict, Verdict::Permanent, "{text}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_permanent() {
    let server = Server::new(&[&TLS13]).saying(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let (verdict, text) = server.ask(trusting(&[server.certificate()], &[&TLS13])).await;
    assert_eq!(verdict, Verdict::Permanent, "{text}");
    assert_eq!(server.connections(), 1);
}

/// With TLS 1.3 the client learns it when it has sent its request.
#[tokio::test]
async fn a_client_without_the_certificate_it_needs_is_permanent() {
    for version in [&TLS12, &TLS13] {
        let server = Server::new(&[version]).asking_for_certificates().answering().await;
        let (verdict, text) = server.ask(trusting(&[server.certificate()], &[version])).await;
        assert_eq!(verdict, Verdict::Permanent, "{text}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_during_the_handshake_was_never_processed() {
    for linger in [Linger::Close, Linger::Reset] {
        let server = Server::new(&[&TLS13]).breaking(linger).await;
        let (verdict, text) = server.ask(trusting(&[server.certificate()], &[&TLS13])).await;
        assert_eq!(verdict, Verdict::NeverProcessed, "{text}");
        assert!(server.connections() > 1, "it is tried again");
    }
}

#[tokio::test]
async fn a_trusted_server_answers() {
    let server = Server::new(&[&TLS13]).answering().await;
    let config = trusting(&[server.certificate()], &[&TLS13]);
    let client = client(connector(server.address, config));
    assert_eq!(client.oneshot(post()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_channel_of_tonic_calls_an_untrusted_server_once() {
    let server = Server::new(&[&TLS13]).answering().await;
    assert_eq!(server.call(trusting(&[], &[&TLS13])).await, 1);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_channel_of_tonic_calls_a_server_that_wants_another_certificate_once() {
    let server = Server::new(&[&TLS13]).asking_for_certificates().answering().await;
    assert_eq!(server.call(trusting(&[server.certificate()], &[&TLS13])).await, 1);
}

#[derive(Clone, Copy)]
enum Linger {
    Close,
    Reset,
}

/// A server to be, with a certificate that it signed itself.
struct Server {
    key: CertifiedKey<rcgen::KeyPair>,
    versions: Vec<&'static SupportedProtocolVersion>,
    wants_certificates: bool,
}

impl Server {
    fn new(versions: &[&'static SupportedProtocolVersion]) -> Self {
        let key = generate_simple_self_signed([HOST.to_owned()]).unwrap();
        Self { key, versions: versions.to_vec(), wants_certificates: false }
    }

    fn of(self, name: &str) -> Self {
        Self { key: generate_simple_self_signed([name.to_owned()]).unwrap(), ..self }
    }

    fn asking_for_certificates(self) -> Self {
        Self { wants_certificates: true, ..self }
    }

    fn config(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_protocol_versions(&self.versions);
        let builder = if self.wants_certificates {
            let roots = Arc::new(roots(&[self.key.cert.der().clone()]));
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key =
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.signing_key.serialize_der()));
        builder.with_single_cert(vec![self.key.cert.der().clone()], key).unwrap()
    }

    /// Serves HTTP/1 over TLS.
    async fn answering(self) -> Running {
        let acceptor = TlsAcceptor::from(Arc::new(self.config()));
        self.run(move |socket| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(socket).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
            }
        })
        .await
    }

    async fn saying(self, bytes: &'static [u8]) -> Running {
        self.run(async move |mut socket| {
            socket.write_all(bytes).await?;
            tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.map(drop)
        })
        .await
    }

    /// Breaks each connection once it has heard something.
    async fn breaking(self, linger: Linger) -> Running {
        self.run(move |socket| async move {
            socket.readable().await?;
            match linger {
                Linger::Reset => socket.set_zero_linger(),
                // What has been read is not reset.
                Linger::Close => socket.try_read(&mut [0; 4096]).map(drop),
            }
        })
        .await
    }

    async fn run<F>(self, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Running
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let (address, listener) = listen().await.unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        background(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                background(serve(socket));
            }
        });
        Running { address, connections, certificate: self.key.cert.der().clone() }
    }
}

/// A server that runs.
struct Running {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    certificate: CertificateDer<'static>,
}

impl Running {
    fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The verdict on a `POST` to it that was tried up to three times, and the error's text.
    async fn ask(&self, config: ClientConfig) -> (Verdict, String) {
        let client = client(connector(self.address, config));
        let stack = ServiceBuilder::new().layer(retry()).service(client);
        let error = BoxError::from(stack.oneshot(post()).await.unwrap_err());
        let seed = Classify::<_, Response<AnyBody>, BoxError>::seed(&Http::new(), &post());
        let outcome = Err::<&Response<AnyBody>, _>(&error);
        let verdict = Classify::<Request<AnyBody>, _, _>::classify(&Http::new(), &seed, outcome);
        (verdict, format!("{error:?}"))
    }

    /// How many attempts a call of tonic takes.
    async fn call(&self, mut config: ClientConfig) -> usize {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let channel = Endpoint::from_static("https://localhost")
            .connect_with_connector_lazy(connector(self.address, config));
        let layer = retry();
        let stack = ServiceBuilder::new().layer(layer.clone()).service(channel);
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("idempotency-key", "\"17\"".parse().unwrap());
        HealthClient::new(stack).check(request).await.unwrap_err();
        usize::try_from(layer.handle().retries()).unwrap() + 1
    }
}

fn retry() -> RetryLayer<Http> {
    RetryLayer::new(3).backoff(Backoff::constant(Duration::from_millis(1))).http()
}

fn roots(trusted: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    roots
}

fn trusting(
    trusted: &[CertificateDer<'static>],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots(trusted))
        .with_no_client_auth()
}

fn post() -> Request<AnyBody> {
    Request::post(format!("https://{HOST}/")).body(nothing()).unwrap()
}

fn client<C>(connector: C) -> Client<C, AnyBody>
where
    C: Connect + Clone,
{
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector)
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Tls>> + Send>>;

/// Connects to `address` whatever it is asked for, and wraps errors as hyper-rustls does.
fn connector(
    address: SocketAddr,
    config: ClientConfig,
) -> impl Service<Uri, Response = Tls, Error = io::Error, Future = Connecting> + Clone + Send + Sync
{
    let connector = TlsConnector::from(Arc::new(config));
    service_fn(move |_: Uri| -> Connecting {
        let connector = connector.clone();
        Box::pin(async move {
            let socket = TcpStream::connect(address).await?;
            let name = ServerName::try_from(HOST).unwrap();
            let stream = connector.connect(name, socket).await.map_err(io::Error::other)?;
            Ok(Tls(TokioIo::new(stream)))
        })
    })
}

/// A connection as hyper-util's client wants it.
struct Tls(TokioIo<TlsStream<TcpStream>>);

impl Connection for Tls {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

const HOST: &str = "localhost";
