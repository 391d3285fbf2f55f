//! Hedged requests with a budget against slow responses, as a tower layer.

#![cfg_attr(docsrs, feature(doc_cfg))]
