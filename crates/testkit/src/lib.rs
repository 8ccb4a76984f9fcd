//! What tests stand on: real servers, a database per test, a virtual host per test, fault proxies.
