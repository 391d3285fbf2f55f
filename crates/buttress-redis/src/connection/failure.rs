use std::{error::Error, fmt, sync::Arc, time::Duration};

use buttress_state::{StoreError, StoreErrorKind};
use redis::{RedisError, ServerError};

/// Why a command had no usable reply.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// No reply came in time.
    Timeout,
    /// There is no connection.
    NotConnected,
    /// The connection broke, or could not be made.
    Broken(Arc<str>),
    /// The server replied with an error. Nothing ran.
    Server { code: Box<str>, detail: Option<Box<str>> },
    /// The reply could not be understood.
    Corrupt,
}

impl Failure {
    /// Returns the failure that `error` of the client stands for.
    pub(super) fn from_client(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.code() {
            Some(code) => Self::server(code, error.detail()),
            None if matches!(
                error.kind(),
                redis::ErrorKind::Parse | redis::ErrorKind::UnexpectedReturnType
            ) =>
            {
                Self::Corrupt
            }
            // Neither text holds anything that was sent.
            None if error.is_io_error() => Self::Broken(error.to_string().into()),
            None => Self::Broken(error.category().into()),
        }
    }

    pub(super) fn from_server(error: &ServerError) -> Self {
        Self::server(error.code(), error.details())
    }

    fn server(code: &str, detail: Option<&str>) -> Self {
        // The text of other errors may repeat arguments, and thus data of users.
        let is_constant = CONSTANT.contains(&code);
        Self::Server { code: code.into(), detail: detail.filter(|_| is_constant).map(Into::into) }
    }

    /// Whether the server replied with the error of this code.
    pub(super) fn has_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Server { code, .. } if **code == *wanted)
    }

    /// Returns the address that a `MOVED` or an `ASK` names.
    #[cfg(feature = "cluster")]
    pub(super) fn redirection(&self) -> Option<&str> {
        match self {
            Self::Server { code, detail: Some(detail) } if REDIRECTIONS.contains(&&**code) => {
                detail.rsplit(' ').next()
            }
            _ => None,
        }
    }

    /// Whether another command on the same part of the store would fail too.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self.kind(), StoreErrorKind::Timeout | StoreErrorKind::Unavailable)
    }

    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Timeout => StoreErrorKind::Timeout,
            Self::NotConnected | Self::Broken(_) => StoreErrorKind::Unavailable,
            Self::Server { code, .. } if PART_IS_DOWN.contains(&&**code) => {
                StoreErrorKind::Unavailable
            }
            Self::Server { .. } => StoreErrorKind::Rejected,
            Self::Corrupt => StoreErrorKind::Corrupt,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let kind = failure.kind();
        let error = Self::new(kind);
        match &failure {
            Failure::Server { code, .. } if FORBIDDEN.contains(&&**code) => {
                error.after(FORBIDDEN_FOR).caused_by(failure)
            }
            Failure::Server { .. } | Failure::Broken(_) => error.caused_by(failure),
            _ => error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => f.write_str(why),
            Self::Server { code, detail: Some(detail) } => write!(f, "{code} {detail}"),
            Self::Server { code, detail: None } => f.write_str(code),
            _ => self.kind().fmt(f),
        }
    }
}

impl Error for Failure {}

/// Codes whose text holds no argument of a command.
const CONSTANT: [&str; 11] = [
    "ASK",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "OOM",
    "READONLY",
    "WRONGPASS",
];
/// The server is there, and the part of the cluster that holds the key is not.
const PART_IS_DOWN: [&str; 2] = ["CLUSTERDOWN", "MASTERDOWN"];
/// Only an operator changes these.
const FORBIDDEN: [&str; 3] = ["NOAUTH", "NOPERM", "WRONGPASS"];
const FORBIDDEN_FOR: Duration = Duration::from_secs(10);
/// Another server holds the slot.
#[cfg(feature = "cluster")]
const REDIRECTIONS: [&str; 2] = ["ASK", "MOVED"];
