//! One call at a time per key, in order or latest wins, as a tower layer.

#![cfg_attr(docsrs, feature(doc_cfg))]
