//! Pasteway stands where `nova-api` stood.

pub mod command;
pub mod id;
pub mod message;
pub mod release;

pub mod config;
pub mod worker;

pub mod filter;

pub mod admin;

pub mod cli;
