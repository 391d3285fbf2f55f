use std::{fmt, time::Duration};

use buttress_state::StoreSnapshot;
use redis::{Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::{
    OpenError, RedisFlights, RedisQuotas, connection::Connection, flights::Knowledge, names::Names,
};

/// A Redis or Valkey server, or a cluster of them, that processes share.
///
/// Clones, quotas and flights share one connection, or one for each server of a cluster. The last of
/// them closes the connection.
#[derive(Clone)]
pub struct Redis {
    connection: Connection,
    names: Names,
    knowledge: Knowledge,
    time_limit: Duration,
}

impl Redis {
    /// Creates a client of the server at `url`, which uses only names of `namespace`.
    ///
    /// Only reads the URL: the server may be away. With a runtime the client begins to dial in the
    /// background. Otherwise the first operation does so.
    ///
    /// `url` is `redis://[[user]:password@]host[:port][/database]`, or `rediss://` for TLS with the
    /// feature `tls`. `namespace` is 1 to 64 characters of `[a-z0-9._-]`.
    pub fn open(url: impl AsRef<str>, namespace: &str) -> Result<Self, OpenError> {
        let names = Names::new(namespace)?;
        let client = client_of(info_of(url.as_ref())?)?;
        let connection = Connection::one(client, &names);
        Ok(Self::new(connection, names))
    }

    /// Creates a client of the cluster to which the servers at `urls` belong.
    ///
    /// The other servers are learned from those of `urls`. User, password and TLS of the first URL
    /// hold for all.
    #[cfg(feature = "cluster")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cluster")))]
    pub fn open_cluster<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        namespace: &str,
    ) -> Result<Self, OpenError> {
        let names = Names::new(namespace)?;
        let infos = urls.into_iter().map(|url| info_of(url.as_ref()));
        let infos = infos.collect::<Result<Vec<_>, _>>()?;
        let is_cluster = |info: &ConnectionInfo| {
            info.redis_settings().db() == 0
                && !matches!(info.addr(), redis::ConnectionAddr::Unix(_))
        };
        if infos.is_empty() || !infos.iter().all(is_cluster) {
            return Err(OpenError::Cluster);
        }
        let seeds = infos.into_iter().map(client_of).collect::<Result<_, _>>()?;
        let connection = Connection::cluster(seeds, &names);
        Ok(Self::new(connection, names))
    }

    /// Creates a client with the address, the credentials and the TLS settings of `client`.
    ///
    /// The protocol is always RESP3. Example: a client certificate, by `redis::Client::build_with_tls`.
    #[expect(clippy::needless_pass_by_value, reason = "the settings pass over to this client")]
    pub fn from_client(client: Client, namespace: &str) -> Result<Self, OpenError> {
        let names = Names::new(namespace)?;
        let client = client_of(client.get_connection_info().clone())?;
        let connection = Connection::one(client, &names);
        Ok(Self::new(connection, names))
    }

    /// Sets the time limit of one operation. Default: 25 ms.
    ///
    /// Set at least 3 × the 99th percentile of the round trip. Less than 1 ms counts as 1 ms, and
    /// more than 1 hour as 1 hour. Quotas and flights made before keep theirs.
    ///
    /// Probes of the connection have the longest limit so far. So open a client of its own for
    /// operations that may take much longer.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit.clamp(SHORTEST_LIMIT, LONGEST_LIMIT);
        self.connection.start(self.time_limit);
        self
    }

    /// Returns the rates that processes share.
    pub fn quotas(&self) -> RedisQuotas {
        RedisQuotas::new(self.connection.clone(), self.names.clone(), self.time_limit)
    }

    /// Returns the values and locks that processes share.
    pub fn flights(&self) -> RedisFlights {
        let knowledge = self.knowledge.clone();
        RedisFlights::new(self.connection.clone(), self.names.clone(), knowledge, self.time_limit)
    }

    /// Waits until the store is connected, for however long that takes. Ready at once if it is.
    ///
    /// Use it before a process reports that it is ready, with a time limit around it. Without it the
    /// first operations may fail, because opening a client does not wait.
    ///
    /// ```no_run
    /// # use std::time::Duration; use buttress_redis::Redis;
    /// # async fn start(redis: Redis) {
    /// let is_connected = tokio::time::timeout(Duration::from_secs(1), redis.connected()).await.is_ok();
    /// # }
    /// ```
    pub async fn connected(&self) {
        self.connection.connected().await;
    }

    /// Returns the present numbers of the connection and of all operations on it.
    pub fn snapshot(&self) -> StoreSnapshot {
        self.connection.snapshot()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.names.namespace()
    }

    fn new(connection: Connection, names: Names) -> Self {
        connection.start(DEFAULT_LIMIT);
        let knowledge = Knowledge::new(&names);
        Self { connection, names, knowledge, time_limit: DEFAULT_LIMIT }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("namespace", &self.names)
            .field("time_limit", &self.time_limit)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

fn info_of(url: &str) -> Result<ConnectionInfo, OpenError> {
    url.into_connection_info().map_err(|_| OpenError::Url)
}

/// The settings that a store needs, whatever the URL says.
fn client_of(info: ConnectionInfo) -> Result<Client, OpenError> {
    if !info.addr().is_supported() {
        return Err(OpenError::Url);
    }
    #[cfg(feature = "tls")]
    install_crypto(&info);
    let settings = info.redis_settings().clone();
    let settings = settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let tcp = tcp.set_user_timeout(USER_TIMEOUT);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    Client::open(info).map_err(|_| OpenError::Url)
}

/// The client of the engine panics without a process-wide provider of cryptography.
#[cfg(feature = "tls")]
fn install_crypto(info: &ConnectionInfo) {
    let is_tls = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
    if is_tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

const DEFAULT_LIMIT: Duration = Duration::from_millis(25);
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);
const LONGEST_LIMIT: Duration = Duration::from_secs(3600);
/// Sent data that is not acknowledged for this time closes the connection.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(1);
