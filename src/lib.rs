//! Pasteway stands where `nova-api` stood.

pub mod command;
pub mod id;
pub mod message;
pub mod network;
pub mod release;
pub mod telemetry;

pub mod metrics;

pub mod config;
pub mod worker;

pub mod filter;

pub mod proxy;

pub mod compile;

pub mod admin;

pub mod cli;
pub mod daemon;
