//! Ready-made stacks of tower layers for clients and servers.

#![cfg_attr(docsrs, feature(doc_cfg))]
