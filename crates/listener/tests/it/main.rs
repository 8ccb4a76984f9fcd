//! What comes of connections, seen from outside: by raw bytes over real sockets.

mod bodies;
mod crowds;
mod endings;
mod silence;
mod world;
