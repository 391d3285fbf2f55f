//! Fallback responses for failed calls, as a tower layer.

#![cfg_attr(docsrs, feature(doc_cfg))]
