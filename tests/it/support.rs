//! Test harness: `TestApp`, its users, and their view of the server.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod answer;
pub mod app;
pub mod cluster;
pub mod connection;
pub mod database;
pub mod mailbox;
pub mod people;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod secrets;
pub mod sender;
pub mod settings;
pub mod source;
pub mod statements;

pub use answer::Answer;
pub use app::TestApp;
pub use cluster::Cluster;
pub use connection::Connection;
pub use mailbox::Mailbox;
pub use people::Person;
pub use receiver::Receiver;
pub use redis::Redis;
