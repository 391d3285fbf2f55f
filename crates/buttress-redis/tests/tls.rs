//! A server that speaks TLS only.
#![cfg(feature = "tls")]

mod support;

use std::{fs, time::Duration};

use buttress_redis::Redis;
use buttress_state::{Ask, CellRate, QuotaStore};
use support::{PATIENT, Proxy, Server, eventually};

#[tokio::test]
async fn client_with_a_root_certificate_uses_tls() {
    let directory = std::env::temp_dir().join(format!("buttress-tls-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let pem = certified.cert.pem();
    fs::write(&certificate, &pem).unwrap();
    fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let port = support::server::free_port();
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
    ];
    let Some(_server) = Server::start_with("TLS", &options).await else { return };
    let url = format!("rediss://localhost:{port}");
    let certificates =
        redis::TlsCertificates { client_tls: None, root_cert: Some(pem.into_bytes()) };
    let client = redis::Client::build_with_tls(&*url, certificates).unwrap();
    let redis = Redis::from_client(client, "shop").unwrap().time_limit(PATIENT);
    eventually("a connection", async || redis.snapshot().is_connected).await;
    let rate = CellRate::new(Duration::from_secs(3600), 10);
    let grant = redis.quotas().acquire(Ask::new(b"key", &[rate], 3)).await.unwrap();
    assert_eq!(grant.granted, 3);

    // Without the certificate the server is not trusted, however often the client dials.
    let proxy = Proxy::to(port).await;
    let stranger = Redis::open(format!("rediss://localhost:{}", proxy.port), "shop").unwrap();
    eventually("three dials", async || proxy.accepted() >= 3).await;
    assert_eq!(stranger.snapshot().connections, 0);
    fs::remove_dir_all(&directory).unwrap();
}
