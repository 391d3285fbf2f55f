//! The numbers of tower layers, for Prometheus, OpenTelemetry and other metrics systems.

#![cfg_attr(docsrs, feature(doc_cfg))]
