//! End-to-end tests: one binary that drives the real executable on port 0 and in temporary directories.

mod admin;
mod cli;
mod config;
mod dashboards;
mod http;
mod layers;
mod pipelines;
mod reload;
mod start;
mod stop;
mod support;
mod workers;
