//! Tests of the layers on a real redis-server.
//!
//! A package of its own, because the other tests need no client of Redis. Without redis-server the tests
//! name what they left out, and pass. With `CI` or `BUTTRESS_REQUIRE_REDIS` in the environment they fail.
