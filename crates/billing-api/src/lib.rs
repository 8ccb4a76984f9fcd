//! The gRPC services for the frontend and the auth service.

pub mod proto;
