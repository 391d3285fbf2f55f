//! A circuit breaker with gradual recovery, as a tower layer.

#![cfg_attr(docsrs, feature(doc_cfg))]
